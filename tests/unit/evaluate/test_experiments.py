from __future__ import annotations

import numpy as np
import pytest

from legonn_core.evaluate.experiments import settled_at
from legonn_core.evaluate.pipeline import Wire
from legonn_core.evaluate.reading import read_off, said_again


@pytest.mark.parametrize(
    ("shown", "expected"),
    [
        ([["a"], ["a", "b"], ["a", "b", "c"]], [0, 1, 2]),
        ([["x"], ["a"], ["a", "b"]], [1, 2]),
        ([["a", "b"], ["a", "c"], ["a", "b"]], [0, 2]),  # taken back once: only then settled
        ([[], [], []], []),
        ([], []),
    ],
)
def test_a_word_settles_when_nothing_before_it_changes_any_more(shown, expected):
    assert settled_at(shown) == expected


def test_a_cascade_says_the_text_again():
    tokens = (3, 3, 7, 1)
    rows = said_again(tokens, 9)
    assert read_off(rows) == tokens
    np.testing.assert_allclose(np.exp(rows).sum(axis=1), 1.0, rtol=1e-5)


def test_the_wire_keeps_what_it_says():
    logits = np.random.default_rng(0).standard_normal((4, 9)).astype(np.float32) * 2
    rows = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
    whole = Wire(0, is_coded=False).carry(rows, fingerprint="x")
    assert whole.ids.shape == (4, 9)
    np.testing.assert_allclose(whole.dense(9), rows, atol=1e-5)
    few = Wire(3).carry(rows, fingerprint="x")
    assert few.ids.shape == (4, 3)
    assert str(Wire(3)) == "top 3, 8-bit" and str(Wire(0, is_coded=False)) == "top all, float"
