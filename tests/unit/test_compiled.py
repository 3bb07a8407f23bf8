from __future__ import annotations

import numba
import numpy as np
import pytest

from legonn_core.compiled import compiled, compiled_loosely


def count_up(limit: int) -> float:
    total = 0.0
    for i in range(limit):
        total += i
    return total


@pytest.mark.parametrize("decorator", [compiled, compiled_loosely])
def test_code_is_compiled_where_it_cannot_be_kept(decorator, monkeypatch):
    real = numba.njit

    def readonly(*args, cache: bool = False, **options):
        if cache:
            raise RuntimeError("cannot cache function: no locator available")
        return real(*args, **options)

    monkeypatch.setattr(numba, "njit", readonly)
    made = decorator(count_up)
    assert made(10) == 45.0
    assert len(made.signatures) == 1


def test_infinities_keep_their_meaning_in_loose_sums():
    @compiled_loosely
    def highest(values):
        top = -np.inf
        for i in range(len(values)):
            top = max(top, values[i])
        return np.isfinite(top), top

    assert highest(np.array([-np.inf, -np.inf])) == (False, -np.inf)
    assert highest(np.array([-np.inf, 2.0])) == (True, 2.0)
