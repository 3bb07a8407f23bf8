"""CTC prefix search against the sum over all paths, against ctc_loss, and under any split."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from legonn_core.interface.marginals import Marginals
from legonn_core.search.prefix import PrefixSearch, log_add

EXACT = PrefixSearch(beam=10_000, min_prob=0.0)


def marginals(seed: int, shape: tuple[int, int], k: int | None = None) -> Marginals:
    logits = np.random.default_rng(seed).normal(size=shape) * 2
    log_probs = (logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))).astype(np.float32)
    return Marginals.from_dense(
        log_probs, k or shape[1], times_ms=np.arange(shape[0]) * 80, fingerprint="f"
    )


def collapse(path: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(label for label, _ in itertools.groupby(path) if label)


def first_rows(path: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(u for u, c in enumerate(path) if c and (u == 0 or path[u - 1] != c))


def all_paths(log_probs: NDArray[np.float32]) -> dict[tuple[int, ...], float]:
    rows, classes = log_probs.shape
    found = {}
    for path in itertools.product(range(classes), repeat=rows):
        found[path] = math.fsum(log_probs[range(rows), path].astype(float).tolist())
    return found


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), rows=st.integers(1, 5), classes=st.integers(2, 4))
def test_equals_the_sum_over_all_paths(seed: int, rows: int, classes: int) -> None:
    block = marginals(seed, (rows, classes))
    paths = all_paths(block.dense(classes))
    masses: dict[tuple[int, ...], float] = {}
    for path, score in paths.items():
        masses[collapse(path)] = masses.get(collapse(path), 0.0) + math.exp(score)
    state = EXACT.advance(EXACT.start(), block)
    assert {entry.tokens for entry in state.entries} == set(masses)
    for entry in state.entries:
        assert math.exp(entry.score) == pytest.approx(masses[entry.tokens], rel=1e-9)
    best = EXACT.best(state)
    assert best.tokens == max(masses, key=lambda tokens: masses[tokens])
    into = {path: score for path, score in paths.items() if collapse(path) == best.tokens}
    assert best.positions == first_rows(max(into, key=lambda path: into[path]))


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_mass_of_a_prefix_is_what_ctc_loss_says(seed: int) -> None:
    block = marginals(seed, (7, 4))
    log_probs = torch.from_numpy(block.dense(4)).double()[:, None]
    state = EXACT.advance(EXACT.start(), block)
    for entry in state.entries[:20]:
        if not entry.tokens:
            continue
        loss = torch.nn.functional.ctc_loss(
            log_probs,
            torch.tensor([entry.tokens]),
            torch.tensor([7]),
            torch.tensor([len(entry.tokens)]),
            reduction="sum",
        )
        assert -entry.score == pytest.approx(float(loss), abs=1e-6)
    assert sum(math.exp(entry.score) for entry in state.entries) == pytest.approx(1.0, abs=1e-5)


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    cuts=st.lists(st.integers(0, 20), max_size=6),
    beam=st.integers(1, 6),
)
def test_any_split_gives_the_same_bits(seed: int, cuts: list[int], beam: int) -> None:
    search = PrefixSearch(beam=beam)
    block = marginals(seed, (20, 30), k=8)
    whole = search.advance(search.start(), block)
    state = search.start()
    for start, stop in itertools.pairwise([0, *sorted(cuts), 20]):
        state = search.advance(state, block.slice(start, stop))
    assert state == whole


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_positions_rise_and_belong_to_tokens(seed: int) -> None:
    search = PrefixSearch()
    best = search.best(search.advance(search.start(), marginals(seed, (25, 12), k=5)))
    assert len(best.positions) == len(best.tokens)
    assert all(a < b for a, b in itertools.pairwise(best.positions))
    assert not best.positions or 0 <= best.positions[0] <= best.positions[-1] < 25


def test_a_gap_is_refused() -> None:
    search = PrefixSearch()
    with pytest.raises(ValueError, match="seen 0 rows"):
        search.advance(search.start(), marginals(0, (5, 4)).slice(1, 5))


@pytest.mark.parametrize(("beam", "min_prob"), [(0, 0.1), (4, 1.0), (4, -0.1)])
def test_nonsense_settings_are_refused(beam: int, min_prob: float) -> None:
    with pytest.raises(ValueError, match="beam"):
        PrefixSearch(beam=beam, min_prob=min_prob)


def test_log_add() -> None:
    assert log_add(-math.inf, -math.inf) == -math.inf
    assert log_add(-math.inf, -1.0) == log_add(-1.0, -math.inf) == -1.0
    assert log_add(math.log(0.2), math.log(0.3)) == pytest.approx(math.log(0.5))
