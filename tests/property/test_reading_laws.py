"""Laws of stable prefixes (they only grow) and of alignments (they are monotone and the best)."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from legonn_core.interface.vocabulary import Vocabulary
from legonn_core.search.alignment import align, align_words
from legonn_core.search.hypothesis import DecodedText, Word
from legonn_core.search.stability import StablePrefix

VOCABULARY = Vocabulary("toy/1", ("<blank>", "\u2581a", "\u2581b", "c", "d", "\u2581"))
TOKENS = st.lists(st.integers(1, 5), max_size=8).map(tuple)


def hypothesis_of(tokens: tuple[int, ...], num_rows: int) -> DecodedText:
    """Tokens spread over rows, cut into words."""
    words = tuple(
        Word(
            text=VOCABULARY.text(tokens[start:stop]),
            start_ms=0,
            end_ms=0,
            confidence=1.0,
            num_tokens=stop - start,
            last_position=stop * num_rows // (len(tokens) + 1),
        )
        for start, stop in VOCABULARY.words(tokens)
    )
    return DecodedText(tokens, VOCABULARY.text(tokens), 0.0, 1.0, words)


def log_probs_of(seed: int, rows: int, classes: int = 6) -> NDArray[np.float32]:
    logits = np.random.default_rng(seed).normal(size=(rows, classes)) * 2
    return (logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))).astype(np.float32)


@settings(max_examples=200, deadline=None)
@given(readings=st.lists(TOKENS, max_size=8), hold=st.integers(0, 3), step=st.integers(1, 9))
def test_what_is_believed_only_grows(readings: list[tuple[int, ...]], hold: int, step: int) -> None:
    stable, before = StablePrefix(hold_rows=hold), None
    for index, tokens in enumerate(readings):
        num_rows = step * (index + 1)
        reading = hypothesis_of(tokens, num_rows)
        grown = stable.agree(reading, num_rows=num_rows)
        assert grown.tokens[: len(stable.tokens)] == stable.tokens
        assert grown.text.startswith(stable.text)
        assert grown.text == VOCABULARY.text(grown.tokens)
        if grown.tokens != stable.tokens:
            assert before is not None
            assert reading.tokens[: len(grown.tokens)] == grown.tokens
            assert before[: len(grown.tokens)] == grown.tokens
            assert grown.last_position <= num_rows - 1 - hold
        stable, before = grown, tokens


def test_agreement_by_example() -> None:
    stable = StablePrefix(hold_rows=2)
    assert (stable.text, stable.last_position) == ("", -1)
    stable = stable.agree(hypothesis_of((1, 3, 2), 8), num_rows=8)
    assert stable.tokens == ()
    stable = stable.agree(hypothesis_of((1, 3, 2, 4), 20), num_rows=20)
    assert stable.text == "ac"  # "b" became "bd"
    stable = stable.agree(hypothesis_of((1, 3, 2, 4, 1), 30), num_rows=30)
    assert stable.text == "ac bd"
    contrary = stable.agree(hypothesis_of((2, 2, 2), 40), num_rows=40)
    contrary = contrary.agree(hypothesis_of((2, 2, 2), 50), num_rows=50)
    assert contrary.tokens == stable.tokens


def test_a_negative_hold_is_refused() -> None:
    with pytest.raises(ValueError, match="hold_rows"):
        StablePrefix(hold_rows=-1)


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), tokens=TOKENS, rows=st.integers(0, 30))
def test_words_are_monotone_and_inside(seed: int, tokens: tuple[int, ...], rows: int) -> None:
    words = align_words(
        tokens,
        log_probs_of(seed, rows),
        times_ms=(40 + 80 * np.arange(rows)).astype(np.int32),
        row_ms=80.0,
        vocabulary=VOCABULARY,
        first_position=7,
    )
    assert sum(word.num_tokens for word in words) == len(tokens)
    assert " ".join(word.text for word in words if word.text) == VOCABULARY.text(tokens)
    marks = [mark for word in words for mark in (word.start_ms, word.end_ms)]
    assert marks == sorted(marks)
    assert not marks or 0 <= marks[0] <= marks[-1] <= 80 * rows
    assert all(0.0 <= word.confidence <= 1.0 for word in words)
    positions = [word.last_position for word in words]
    assert positions == sorted(positions)
    assert all(7 <= position < max(7 + rows, 8) for position in positions)


@settings(max_examples=30, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    tokens=st.lists(st.integers(1, 2), min_size=1, max_size=3).map(tuple),
)
def test_alignment_is_the_best_path(seed: int, tokens: tuple[int, ...]) -> None:
    log_probs = log_probs_of(seed, 6, 3)
    found = align(tokens, log_probs)
    scores = {}
    for path in itertools.product(range(3), repeat=6):
        if tuple(label for label, _ in itertools.groupby(path) if label) == tokens:
            scores[path] = float(log_probs[range(6), path].astype(np.float64).sum())
    best = max(scores, key=lambda path: scores[path])
    drawn = np.zeros(6, np.int64)
    for token, first, last in zip(tokens, found.first_rows, found.last_rows, strict=True):
        drawn[first : last + 1] = token
    assert tuple(drawn.tolist()) == best
    row_probs = np.exp(log_probs[found.first_rows[0] : found.last_rows[0] + 1, tokens[0]])
    assert found.confidences[0] == pytest.approx(float(np.prod(row_probs)) ** (1 / len(row_probs)))


def test_text_has_no_times() -> None:
    words = align_words(
        (1, 3, 2),
        log_probs_of(0, 9),
        times_ms=np.repeat(np.arange(3), 3).astype(np.int32),
        row_ms=0.0,
        vocabulary=VOCABULARY,
    )
    assert [(word.text, word.start_ms, word.end_ms) for word in words] == [
        ("ac", 0, 0),
        ("b", 0, 0),
    ]


def test_times_of_peaks() -> None:
    log_probs = np.full((20, 5), np.log(0.01), np.float32)
    log_probs[:, 0] = np.log(0.96)
    for row, token in [(5, 1), (6, 3), (7, 2)]:
        log_probs[row] = np.log(0.01)
        log_probs[row, token] = np.log(0.96)
    words = align_words(
        (1, 3, 2),
        log_probs,
        times_ms=(40 + 80 * np.arange(20)).astype(np.int32),
        row_ms=80.0,
        vocabulary=VOCABULARY,
    )
    assert [(word.start_ms, word.end_ms) for word in words] == [(400, 560), (560, 680)]
    assert [word.last_position for word in words] == [6, 7]
    assert words[0].confidence == pytest.approx(0.96)
