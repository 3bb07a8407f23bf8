"""The codec's round trip stays inside its stated loss."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from legonn_core.interface import codec
from legonn_core.interface.marginals import Marginals


@settings(max_examples=100, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    rows=st.integers(0, 12),
    num_classes=st.integers(2, 50),
    k=st.integers(1, 12),
    sharpness=st.floats(0.0, 12.0),
    stride=st.integers(0, 500),
)
def test_round_trip(
    seed: int, rows: int, num_classes: int, k: int, sharpness: float, stride: int
) -> None:
    logits = np.random.default_rng(seed).normal(size=(rows, num_classes)) * sharpness
    log_probs = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
    sent = Marginals.from_dense(
        log_probs.astype(np.float32),
        k,
        times_ms=stride * np.arange(rows),
        fingerprint="0123456789abcdef",
        first_position=seed % 1000,
    )
    data = codec.encode(sent)
    got = codec.decode(data)
    assert (got.ids == sent.ids).all()
    assert (got.times_ms == sent.times_ms).all()
    assert (got.first_position, got.fingerprint) == (sent.first_position, sent.fingerprint)
    mass = np.exp(got.log_probs.astype(np.float64)).sum(axis=1) + got.tail
    assert np.allclose(mass, 1.0, atol=1e-5)
    heard = sent.log_probs >= -15.9
    assert (np.abs(got.log_probs - sent.log_probs)[heard] <= codec.LOG_LOSS).all()
    apart = np.abs(np.exp(got.log_probs) - np.exp(sent.log_probs)).sum(axis=1)
    assert ((apart + np.abs(got.tail - sent.tail)) / 2 <= codec.VARIATION_LOSS).all()
    assert codec.encode(sent) == data
