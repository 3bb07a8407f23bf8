"""CTC prefix scores: how probable is it that the rows begin with these tokens?

Label-synchronous, over whole segments: the state of a token sequence is its forward variables over
all rows, and one more token costs one scan over them. Source: Hori, Watanabe & Hershey 2017,
Algorithm 2; the recursion over rows is written as a cumulative sum in the log domain, so numpy runs
it without a Python loop. R segments go through it together, the shorter ones padded with rows in
which nothing is likely.

Forward variables are float64 logarithms. The score of a next token is a sum over rows of products
of probabilities, so it is a matrix product: what has been read is scaled to its largest value, and
since no class is less probable than 1e-37 in any row, float32 loses none of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ids = NDArray[np.int64]

_LEAST = 1e-37
_PADDING = -60.0
"""Natural log of every class in a row beyond a segment's end: low, and differences stay finite."""


def class_rows(log_probs: NDArray[np.float32]) -> NDArray[np.float32]:
    """Probabilities (V, U) of (U, V) natural logarithms: the rows of one class lie together."""
    return np.maximum(np.exp(np.ascontiguousarray(log_probs.T)), np.float32(_LEAST))


@dataclass(frozen=True, slots=True, eq=False)
class ForwardState:
    """Forward variables of K token sequences in each of R segments.

    Attributes:
        token: (R, K, U+1) natural log of the mass of paths over the first u rows that read exactly
            the sequence and end in its last token.
        blank: (R, K, U+1) the same for paths that end in blank (or are empty).
        last: (R, K) last token of each sequence, -1 where it is empty.
    """

    token: Floats
    blank: Floats
    last: Ids

    def select(self, parents: Ids) -> ForwardState:
        """Sequences ``parents`` (R, K') of each segment, in that order."""
        segments = np.arange(len(parents))[:, None]
        return ForwardState(
            self.token[segments, parents],
            self.blank[segments, parents],
            self.last[segments, parents],
        )

    def segments(self, indices: Sequence[int]) -> ForwardState:
        """The segments at ``indices``, in that order."""
        chosen = list(indices)
        return ForwardState(self.token[chosen], self.blank[chosen], self.last[chosen])

    def padded(self, num_rows: int) -> ForwardState:
        """The same over more, or fewer, rows of padding."""
        more = num_rows + 1 - self.token.shape[2]
        if more <= 0:
            return ForwardState(
                self.token[:, :, : num_rows + 1], self.blank[:, :, : num_rows + 1], self.last
            )
        width = ((0, 0), (0, 0), (0, more))
        return ForwardState(
            np.pad(self.token, width, constant_values=-np.inf),
            np.pad(self.blank, width, constant_values=-np.inf),
            self.last,
        )


@dataclass(frozen=True, slots=True, eq=False)
class Continuations:
    """What scoring a next token needs of a state.

    Attributes:
        begins: (R, K, U) mass of paths after which a token may begin in row u, by ``scale``.
        scale: (R, K) natural log.
        repeated: (R, K) natural log of the score of the last token once more.
        last: (R, K) that token.
    """

    begins: NDArray[np.float32]
    scale: Floats
    repeated: Floats
    last: Ids


class CtcPrefixScorer:
    """Prefix scores over the rows of R segments.

    Args:
        segments: (V, U) probabilities of each, from ``class_rows``; U may differ.
        blank: Class of the CTC blank.
    """

    def __init__(self, segments: Sequence[NDArray[np.float32]], *, blank: int = 0) -> None:
        self._segments = tuple(segments)
        self._lengths = np.array([segment.shape[1] for segment in segments], np.int64)
        self.num_rows = int(self._lengths.max(initial=0))
        self._blank_sums = np.zeros((len(segments), 1, self.num_rows + 1))
        logs = self._logs(np.full((len(segments), 1), blank, np.int64))
        self._blank_sums[:, :, 1:] = logs.cumsum(axis=2)

    def start(self, width: int) -> ForwardState:
        """``width`` empty sequences a segment."""
        shape = (len(self._segments), width, self.num_rows + 1)
        return ForwardState(
            token=np.full(shape, -np.inf),
            blank=np.broadcast_to(self._blank_sums, shape).copy(),
            last=np.full(shape[:2], -1, np.int64),
        )

    def continuations(self, state: ForwardState) -> Continuations:
        """Prepare to score tokens behind ``state``."""
        after_any = np.logaddexp(state.token[:, :, :-1], state.blank[:, :, :-1])
        top = after_any.max(axis=2, initial=-np.inf)
        scale = np.where(np.isfinite(top), top, 0.0)
        begins = np.exp(after_any - scale[:, :, None]).astype(np.float32)
        after_blank = state.blank[:, :, :-1] + self._logs(np.maximum(state.last, 0))
        # Nothing is said in padding: a neighbour's rows must not make a repetition possible.
        is_padding = np.arange(self.num_rows) >= self._lengths[:, None]
        after_blank = np.where(is_padding[:, None], -np.inf, after_blank)
        return Continuations(begins, scale, _log_sum(after_blank), state.last)

    def scores(self, continuations: Continuations, candidates: Ids) -> Floats:
        """Natural log of the probability that the rows begin with a sequence and one more token.

        Args:
            continuations: Of K sequences a segment.
            candidates: (R, K, C) the next token, C choices for each sequence.

        Returns:
            (R, K, C); -inf where the rows are too few.
        """
        count, width, choices = candidates.shape
        emitted = np.zeros((count, width * choices, self.num_rows), np.float32)
        for index, segment in enumerate(self._segments):
            emitted[index, :, : segment.shape[1]] = segment[candidates[index].ravel()]
        emitted = emitted.reshape(count, width, choices, self.num_rows)
        mass = (emitted @ continuations.begins[..., None])[..., 0]
        return _finished(mass, continuations, candidates)

    def shared_scores(
        self, continuations: Continuations, candidates: Ids, emitted: NDArray[np.float32]
    ) -> Floats:
        """The same for tokens that all sequences of a segment may go on with.

        Args:
            continuations: Of K sequences a segment.
            candidates: (R, C) tokens.
            emitted: (R, C, U) their probabilities, from ``rows_of``.

        Returns:
            (R, K, C).
        """
        mass = continuations.begins @ emitted.transpose(0, 2, 1)
        return _finished(mass, continuations, candidates[:, None, :])

    def rows_of(self, candidates: Ids) -> NDArray[np.float32]:
        """(R, C, U) probabilities of the classes ``candidates`` (R, C), zero in padding."""
        emitted = np.zeros((*candidates.shape, self.num_rows), np.float32)
        for index, segment in enumerate(self._segments):
            emitted[index, :, : segment.shape[1]] = segment[candidates[index]]
        return emitted

    def extend(self, state: ForwardState, tokens: Ids) -> ForwardState:
        """Append one token, ``tokens`` (R, K), to each sequence."""
        repeats = (tokens == state.last)[:, :, None]
        begin = np.where(repeats, state.blank, np.logaddexp(state.token, state.blank))[:, :, :-1]
        never = np.full((*tokens.shape, 1), -np.inf)
        sums = np.zeros((*tokens.shape, self.num_rows + 1))
        np.cumsum(self._logs(tokens), axis=2, out=sums[:, :, 1:])
        # token[u] = (token[u-1] + begin[u]) · emitted[u], and so for blank: a sum over the row at
        # which the run began, each term discounted by what was emitted since
        runs = sums[:, :, 1:] + np.logaddexp.accumulate(begin - sums[:, :, :-1], axis=2)
        token = np.concatenate([never, runs], axis=2)
        blanks = self._blank_sums
        gaps = np.logaddexp.accumulate(token[:, :, :-1] - blanks[:, :, :-1], axis=2)
        blank = np.concatenate([never, blanks[:, :, 1:] + gaps], axis=2)
        return ForwardState(token, blank, tokens)

    def totals(self, state: ForwardState) -> Floats:
        """(R, K) natural log of the probability that all rows read exactly the sequence."""
        ends = np.arange(len(self._lengths)), slice(None), self._lengths
        result: Floats = np.logaddexp(state.token[ends], state.blank[ends])
        return result

    def _logs(self, tokens: Ids) -> Floats:
        """(R, K, U) natural logarithms of the classes ``tokens`` (R, K)."""
        logs = np.full((*tokens.shape, self.num_rows), _PADDING)
        for index, segment in enumerate(self._segments):
            logs[index, :, : segment.shape[1]] = np.log(segment[tokens[index]])
        return logs


def _log_sum(logs: Floats) -> Floats:
    """Log of the sum of exponentials over the last axis; -inf of nothing."""
    top = logs.max(axis=-1, initial=-np.inf)
    shift = np.where(np.isfinite(top), top, 0.0)
    with np.errstate(divide="ignore"):
        result: Floats = shift + np.log(np.exp(logs - shift[..., None]).sum(axis=-1))
    return result


def _finished(mass: NDArray[np.float32], continuations: Continuations, candidates: Ids) -> Floats:
    with np.errstate(divide="ignore"):
        scores = np.log(mass.astype(np.float64)) + continuations.scale[:, :, None]
    repeats = candidates == continuations.last[:, :, None]
    return np.where(repeats, continuations.repeated[:, :, None], scores)
