"""Marginals: what from_dense keeps, what it refuses, and what dense gives back."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from legonn_core.errors import EncodingMismatch, NonFiniteMarginals
from legonn_core.interface.marginals import Marginals


def rows(seed: int, shape: tuple[int, int], sharpness: float = 3.0) -> NDArray[np.float32]:
    logits = np.random.default_rng(seed).normal(size=shape) * sharpness
    return (logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))).astype(np.float32)


def keep(log_probs: NDArray[np.float32], k: int, **options: int) -> Marginals:
    times = np.arange(len(log_probs)) * 80
    return Marginals.from_dense(log_probs, k, times_ms=times, fingerprint="f", **options)


def test_keeps_the_most_probable_classes_in_order_and_the_blank() -> None:
    log_probs = rows(1, (50, 40))
    kept = keep(log_probs, 5)
    exact = np.argsort(-log_probs, axis=1, kind="stable")
    assert (kept.ids[:, :4] == exact[:, :4]).all()
    assert (kept.ids == 0).any(axis=1).all()
    assert (np.diff(kept.log_probs, axis=1) <= 0).all()
    assert np.exp(kept.log_probs).sum(axis=1) + kept.tail == pytest.approx(1.0, abs=1e-5)


def test_ties_go_to_the_lower_id() -> None:
    flat = np.full((2, 10), -np.log(10), np.float32)
    assert keep(flat, 4).ids.tolist() == [[0, 1, 2, 3]] * 2
    assert keep(flat, 4, blank=9).ids.tolist() == [[0, 1, 2, 9]] * 2


def test_dense_restores_listed_classes_and_spreads_the_tail() -> None:
    log_probs = rows(2, (20, 30))
    assert keep(log_probs, 30).dense(30) == pytest.approx(log_probs, abs=1e-6)
    kept = keep(log_probs, 6)
    dense = kept.dense(30)
    assert np.exp(dense).sum(axis=1) == pytest.approx(1.0, abs=1e-5)
    assert np.isfinite(dense).all()
    taken = np.take_along_axis(dense, kept.ids.astype(np.int64), axis=1)
    assert (taken == kept.log_probs).all()


def test_dense_refuses_a_smaller_vocabulary() -> None:
    with pytest.raises(EncodingMismatch, match="class 29"):
        keep(rows(3, (5, 30)), 30).dense(29)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_refuses_values_that_are_not_finite(value: float) -> None:
    log_probs = rows(4, (5, 10))
    log_probs[3, 7] = value
    with pytest.raises(NonFiniteMarginals, match="row 3"):
        keep(log_probs, 4)


def test_refuses_rows_that_do_not_sum_to_one() -> None:
    log_probs = rows(5, (5, 10))
    log_probs[2] += 0.01
    with pytest.raises(NonFiniteMarginals, match="row 2"):
        keep(log_probs, 4)


@pytest.mark.parametrize(("k", "blank"), [(0, 0), (3, 10), (3, -1)])
def test_refuses_nonsense_arguments(k: int, blank: int) -> None:
    with pytest.raises(ValueError, match="classes"):
        keep(rows(6, (5, 10)), k, blank=blank)


def test_slices_join_again() -> None:
    whole = keep(rows(7, (9, 12)), 4, first_position=3)
    parts = [whole.slice(0, 2), whole.slice(2, 2), whole.slice(2, 99)]
    assert [part.first_position for part in parts] == [3, 5, 5]
    joined = Marginals.concatenate(parts)
    assert joined.first_position == 3
    assert joined.end_position == 12
    for name in ("ids", "log_probs", "tail", "times_ms"):
        assert (getattr(joined, name) == getattr(whole, name)).all()


def test_blocks_with_gaps_or_differences_do_not_join() -> None:
    whole = keep(rows(8, (9, 12)), 4)
    with pytest.raises(ValueError, match="no blocks"):
        Marginals.concatenate([])
    with pytest.raises(ValueError, match="ends before row 2"):
        Marginals.concatenate([whole.slice(0, 2), whole.slice(3, 5)])
    stranger = Marginals.empty(4, fingerprint="g", first_position=9)
    with pytest.raises(EncodingMismatch, match="vocabulary"):
        Marginals.concatenate([whole, stranger])


def test_log_probs_of_one_class() -> None:
    log_probs = rows(9, (9, 12))
    assert keep(log_probs, 3).log_probs_of(0) == pytest.approx(log_probs[:, 0], abs=1e-6)
    assert (keep(log_probs, 3).log_probs_of(50) == np.log(1e-12)).all()
    assert len(Marginals.empty(3, fingerprint="f").log_probs_of(0)) == 0


def test_shapes_are_checked() -> None:
    whole = keep(rows(10, (4, 12)), 3)
    with pytest.raises(ValueError, match="beside ids"):
        Marginals(whole.ids, whole.log_probs[:, :2], whole.tail, whole.times_ms, 0, "f")
    with pytest.raises(ValueError, match="4 rows"):
        Marginals(whole.ids, whole.log_probs, whole.tail[:2], whole.times_ms, 0, "f")
