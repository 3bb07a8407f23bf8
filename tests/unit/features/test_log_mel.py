from __future__ import annotations

import numpy as np
import pytest
import torch

from legonn_core.features.log_mel import (
    FLOOR,
    HISTORY,
    HOP,
    NUM_MELS,
    SAMPLE_RATE,
    WINDOW,
    LogMel,
)
from tests.support.tiny import speech

log_mel = LogMel()
nothing = torch.zeros(1, HISTORY)


def frames(samples: np.ndarray) -> torch.Tensor:
    return log_mel(torch.from_numpy(samples)[None], nothing)[0][0]


def test_a_frame_every_hop():
    found, history = log_mel(torch.zeros(2, 7 * HOP), nothing.expand(2, -1))
    assert found.shape == (2, 7, NUM_MELS)
    assert history.shape == (2, HISTORY)


def test_silence_is_the_floor():
    assert (frames(np.zeros(5 * HOP, np.float32)) == (FLOOR + 4.0) / 4.0).all()


def test_samples_that_are_no_whole_hops_are_refused():
    with pytest.raises(ValueError, match="161 samples are not whole hops of 160"):
        log_mel(torch.zeros(1, 161), nothing)


def test_a_tone_lights_its_bin():
    steps = np.arange(20 * HOP) / SAMPLE_RATE
    low, high = (
        frames((0.5 * np.sin(2 * np.pi * hertz * steps)).astype(np.float32))[5:].mean(0).argmax()
        for hertz in (300, 3000)
    )
    assert low < 10 < 40 < high


def test_frames_equal_a_plain_computation():
    samples = speech(30 * HOP, seed=3)
    padded = np.concatenate([np.zeros(HISTORY), samples]).astype(np.float64)
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(WINDOW) / WINDOW)
    cut = np.stack([padded[i * HOP : i * HOP + WINDOW] for i in range(30)]) * window
    power = np.abs(np.fft.rfft(cut)) ** 2 @ log_mel.filters.double().numpy()
    expected = (np.maximum(np.log10(np.maximum(power, 1e-10)), FLOOR) + 4.0) / 4.0
    assert np.abs(frames(samples).numpy() - expected).max() < 1e-4


def test_later_samples_change_no_frame():
    samples = speech(10 * HOP)
    before = frames(samples)
    samples[6 * HOP :] = 0.9
    torch.testing.assert_close(frames(samples)[:6], before[:6], atol=1e-6, rtol=0)
