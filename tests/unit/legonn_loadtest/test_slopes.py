from __future__ import annotations

import numpy as np
import pytest

from legonn_loadtest.slopes import slope

TIMES = np.arange(0.0, 600.0, 2.0)


def test_a_line_is_found_with_its_error():
    found = slope(TIMES, 5.0 + TIMES / 3600.0)
    assert found.per_hour == pytest.approx(1.0)
    assert found.error == pytest.approx(0.0, abs=1e-9)
    assert found.grows


@pytest.mark.parametrize("true", [0.0, 30.0, -30.0])
def test_the_interval_holds_the_truth(true: float):
    dice = np.random.default_rng(1)
    inside = 0
    for _ in range(200):
        found = slope(TIMES, true * TIMES / 3600.0 + dice.normal(0.0, 2.0, len(TIMES)))
        inside += abs(found.per_hour - true) < 2 * found.error
    assert 180 <= inside <= 199


def test_samples_that_cling_to_one_another_widen_it():
    dice = np.random.default_rng(2)
    fresh = dice.normal(0.0, 1.0, len(TIMES))
    clinging = np.repeat(dice.normal(0.0, 1.0, len(TIMES) // 10), 10)
    assert slope(TIMES, clinging).error > 2 * slope(TIMES, fresh).error


def test_what_stands_still_does_not_grow():
    assert not slope(TIMES, np.full(len(TIMES), 7.0)).grows


@pytest.mark.parametrize(("times", "values"), [([0, 1], [1, 2]), ([1, 1, 1], [1, 2, 3]), ([1], [])])
def test_too_little_is_said(times: list[float], values: list[float]):
    with pytest.raises(ValueError, match="samples"):
        slope(times, values)
