"""Simulated marginals are distributions, and the clean ones read the text they were made from."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from legonn_core.interface.vocabulary import Vocabulary
from legonn_core.train.simulate import SimulatedBatch, Simulator, confusion_table
from tests.support.tiny import NUM_CLASSES

TOKENS = ("<blank>", *(f"▁{a}{b}" for a, b in itertools.product("bdgkst", "aeiouy")), "a", "b", "c")
TABLE = confusion_table(Vocabulary("toy/1", TOKENS), neighbours=12)
UNIGRAM = np.r_[0.0, np.ones(len(TOKENS) - 1)]

sequences = st.lists(
    st.lists(st.integers(1, NUM_CLASSES - 1), min_size=1, max_size=20).map(tuple),
    min_size=1,
    max_size=4,
)


def simulated(
    seed: int, batch: list[tuple[int, ...]], *, max_rows: int = 500, clean: bool = False
) -> SimulatedBatch:
    return Simulator(TABLE, UNIGRAM, seed=seed)(batch, max_rows=max_rows, clean=clean)


def test_confusions_are_near_and_never_blank_or_the_class_itself():
    assert len(TOKENS) == NUM_CLASSES
    assert TABLE.shape == (NUM_CLASSES, 12)
    assert not (np.arange(NUM_CLASSES)[:, None] == TABLE).any()
    assert not (TABLE[1:] == 0).any()
    nearest = TOKENS[TABLE[TOKENS.index("▁ba"), 0]]
    assert nearest.startswith("▁b") or nearest.endswith("a")


@settings(max_examples=60)
@given(seed=st.integers(0, 10_000), batch=sequences, clean=st.booleans())
def test_rows_are_distributions(seed: int, batch: list[tuple[int, ...]], clean: bool) -> None:
    found = simulated(seed, batch, clean=clean)
    assert found.targets == batch
    assert found.ids.shape == found.probs.shape
    assert found.ids.shape[1] % 16 == 0
    assert (found.ids >= 0).all()
    assert (found.ids < NUM_CLASSES).all()
    assert (found.probs >= 0).all()
    mass = found.probs.sum(axis=2) + found.tail
    for row, length in enumerate(found.lengths.tolist()):
        assert np.allclose(mass[row, :length], 1.0, atol=1e-4)
        assert not mass[row, length:].any()


@settings(max_examples=60)
@given(seed=st.integers(0, 10_000), batch=sequences)
def test_clean_marginals_read_their_sequence(seed: int, batch: list[tuple[int, ...]]) -> None:
    found = simulated(seed, batch, clean=True)
    for row, (target, length) in enumerate(zip(batch, found.lengths.tolist(), strict=True)):
        dense = np.zeros((length, NUM_CLASSES))
        rows = np.repeat(np.arange(length), found.ids.shape[2])
        np.add.at(dense, (rows, found.ids[row, :length].ravel()), found.probs[row, :length].ravel())
        path = dense.argmax(axis=1).tolist()
        assert tuple(c for c, _ in itertools.groupby(path) if c) == target


@given(seed=st.integers(0, 10_000), max_rows=st.integers(1, 40))
def test_no_more_rows_than_the_decoder_reads(seed: int, max_rows: int) -> None:
    assert simulated(seed, [(3,) * 30], max_rows=max_rows).lengths.max() <= max_rows


def test_the_same_seed_gives_the_same_rows():
    batch = [(1, 2, 3), (4, 4)]
    one, other = simulated(5, batch), simulated(5, batch)
    assert (one.probs == other.probs).all()
    assert (one.ids == other.ids).all()


def test_corruption_keeps_most_of_what_was_said():
    """Single sequences may be mostly wrong; over many of them the rates and no more are."""
    found = simulated(0, [tuple(range(1, 30))] * 500)
    heard = [
        len({*row[:length, 0].tolist()} & {*range(1, 30)}) / 29
        for row, length in zip(found.ids, found.lengths.tolist(), strict=True)
    ]
    assert np.mean(heard) == pytest.approx(0.88, abs=0.015)
