"""When each word was said, and how sure the rows are of it.

The best CTC path that reads exactly the given tokens (Viterbi, also called forced alignment) says
which rows each token stands on. CTC emits late and briefly, so a word is given half a row before
its first row and a row after its last, as far as its neighbours leave room. Resolution is a row.
Text has no times: its rows stand for source tokens.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from legonn_core.interface.vocabulary import Vocabulary
from legonn_core.search.hypothesis import Word


@dataclass(frozen=True, slots=True, eq=False)
class Alignment:
    """Rows of N tokens.

    Attributes:
        first_rows: (N,) row at which each token begins, never decreasing.
        last_rows: (N,) row at which it ends, inclusive.
        confidences: (N,) geometric mean of the token's probability over its rows, in [0, 1].
    """

    first_rows: NDArray[np.int64]
    last_rows: NDArray[np.int64]
    confidences: NDArray[np.float64]


def align(tokens: Sequence[int], log_probs: NDArray[np.float32], *, blank: int = 0) -> Alignment:
    """Find the most probable rows of each token.

    Args:
        tokens: N vocabulary ids without blanks.
        log_probs: (U, V) finite natural logarithms.
        blank: Class of the CTC blank.

    Returns:
        Rows inside 0..U-1. If the tokens do not fit into U rows, they are spread evenly and nothing
        is claimed for them (confidence 0).
    """
    count, num_rows = len(tokens), len(log_probs)
    ids = np.asarray(tokens, np.int64)
    repeats = int(np.count_nonzero(ids[1:] == ids[:-1]))
    if count == 0 or num_rows < count + repeats:
        rows = np.minimum(np.arange(count) * num_rows // max(count, 1), max(num_rows - 1, 0))
        return Alignment(rows, rows, np.zeros(count))
    labels = np.full(2 * count + 1, blank, np.int64)
    labels[1::2] = ids
    path = _viterbi(log_probs[:, labels].astype(np.float64), labels)
    token_of_row = np.where(path % 2 == 1, path // 2, -1)
    first = np.searchsorted(path, 2 * np.arange(count) + 1, side="left")
    last = np.searchsorted(path, 2 * np.arange(count) + 1, side="right") - 1
    said = np.flatnonzero(token_of_row >= 0)
    owners = token_of_row[said]
    sums = np.bincount(owners, log_probs[said, ids[owners]], minlength=count)
    return Alignment(first, last, np.minimum(np.exp(sums / (last - first + 1)), 1.0))


def align_words(
    tokens: Sequence[int],
    log_probs: NDArray[np.float32],
    *,
    times_ms: NDArray[np.int32],
    row_ms: float,
    vocabulary: Vocabulary,
    first_position: int = 0,
) -> tuple[Word, ...]:
    """Cut tokens into words with times and confidences.

    Args:
        tokens: Vocabulary ids without blanks.
        log_probs: (U, V) finite natural logarithms of the segment's rows.
        times_ms: (U,) centre of each row from the segment's start.
        row_ms: Duration of a row; 0 for text, whose words then have times 0.
        vocabulary: Says where words begin.
        first_position: Index of row 0 in the segment.

    Returns:
        One a word; times never decrease and lie between 0 and the end of the last row. A word's
        confidence is its least sure token's.
    """
    found = align(tokens, log_probs, blank=vocabulary.blank)
    ranges = vocabulary.words(tokens)
    starts, ends = _word_times(found, ranges, times_ms, row_ms)
    return tuple(
        Word(
            text=vocabulary.text(tokens[begin:stop]),
            start_ms=start,
            end_ms=end,
            confidence=float(found.confidences[begin:stop].min()),
            num_tokens=stop - begin,
            last_position=first_position + int(found.last_rows[stop - 1]),
        )
        for (begin, stop), start, end in zip(ranges, starts, ends, strict=True)
    )


def _viterbi(emitted: NDArray[np.float64], labels: NDArray[np.int64]) -> NDArray[np.int64]:
    """Best monotone path through 2N+1 states (blanks at even ones), ties to the later start.

    Args:
        emitted: (U, 2N+1) natural log of each state's class in each row.
        labels: (2N+1,) class of each state.

    Returns:
        (U,) state of each row, never decreasing.
    """
    num_rows, num_states = emitted.shape
    may_skip = np.zeros(num_states, bool)  # over a blank, unless it parts two equal tokens
    may_skip[3::2] = labels[3::2] != labels[1:-2:2]
    choices = np.full((3, num_states), -np.inf)
    steps = np.zeros((num_rows, num_states), np.int8)
    best = np.full(num_states, -np.inf)
    best[:2] = emitted[0, :2]
    for row in range(1, num_rows):
        choices[0] = best
        choices[1, 1:] = best[:-1]
        choices[2, 2:] = np.where(may_skip[2:], best[:-2], -np.inf)
        steps[row] = choices.argmax(axis=0)
        best = choices.max(axis=0) + emitted[row]
    state = num_states - 1 if best[-1] >= best[-2] else num_states - 2
    path = np.empty(num_rows, np.int64)
    for row in range(num_rows - 1, -1, -1):
        path[row] = state
        state -= int(steps[row, state])
    return path


def _word_times(
    found: Alignment,
    ranges: Sequence[tuple[int, int]],
    times_ms: NDArray[np.int32],
    row_ms: float,
) -> tuple[list[int], list[int]]:
    """Start and end of each word in ms."""
    if row_ms <= 0 or not len(times_ms) or not ranges:
        return [0] * len(ranges), [0] * len(ranges)
    limit = int(times_ms[-1] + row_ms / 2)
    firsts = times_ms[found.first_rows[[begin for begin, _ in ranges]]]
    lasts = times_ms[found.last_rows[[stop - 1 for _, stop in ranges]]]
    starts = np.clip(firsts - row_ms / 2, 0, limit).astype(int)
    ends = np.clip(lasts + row_ms, 0, limit).astype(int)
    ends[:-1] = np.minimum(ends[:-1], starts[1:])
    return starts.tolist(), np.maximum(starts, ends).tolist()
