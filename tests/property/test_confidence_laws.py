"""Curves that make confidences hold, and how far they are off."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from legonn_core.search.confidence import (
    Bin,
    ConfidenceCurve,
    calibration_error,
    fit_curve,
    reliability,
)

PROBABILITIES = st.floats(0.0, 1.0)


def drawn(curve: ConfidenceCurve, count: int = 4_000) -> tuple[list[float], list[bool]]:
    """Raw confidences of words that are right as often as ``curve`` says."""
    dice = np.random.default_rng(5)
    raw = dice.uniform(0.02, 0.98, count)
    right = dice.uniform(size=count) < [curve.apply(float(one)) for one in raw]
    return raw.tolist(), right.tolist()


def test_a_fit_finds_the_curve_and_takes_the_error_away():
    truth = ConfidenceCurve(0.5, -0.8)
    raw, right = drawn(truth)
    found = fit_curve(raw, right)
    assert found.scale == pytest.approx(truth.scale, abs=0.08)
    assert found.offset == pytest.approx(truth.offset, abs=0.1)
    before = calibration_error(reliability(raw, right))
    after = calibration_error(reliability([found.apply(one) for one in raw], right))
    assert before > 0.15 and after < 0.03


@given(st.floats(0.1, 3.0), st.floats(-3.0, 3.0), PROBABILITIES, PROBABILITIES)
def test_a_curve_keeps_the_order_and_stays_a_probability(scale, offset, first, second):
    curve = ConfidenceCurve(scale, offset)
    low, high = sorted((first, second))
    assert 0.0 <= curve.apply(low) <= curve.apply(high) <= 1.0


@given(PROBABILITIES)
def test_the_identity_changes_nothing(raw):
    assert ConfidenceCurve().apply(raw) == raw


def test_bins_count_and_error_is_the_mean_distance():
    found = reliability([0.05, 0.95, 0.95, 1.0], [False, True, True, False])
    assert found == (Bin(1, 0.05, 0.0), Bin(3, pytest.approx(29 / 30), pytest.approx(2 / 3)))
    assert calibration_error(found) == pytest.approx((0.05 + 3 * 0.3) / 4)
    assert calibration_error(()) == 0.0


def test_nonsense_is_refused():
    with pytest.raises(ValueError, match="wrong"):
        fit_curve([0.5, 0.6], [True, True])
    with pytest.raises(ValueError, match="scale"):
        ConfidenceCurve(0.0, 1.0)
