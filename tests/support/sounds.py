"""Sounds in which nobody speaks, made from a seed: noises, and music with a beat."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

RATE_HERTZ = 16_000
Samples = NDArray[np.float32]
_MAJOR = 2.0 ** (np.array([0, 2, 4, 5, 7, 9, 11, 12]) / 12)


def _loud(samples: NDArray[np.float64], level: float) -> Samples:
    peak = float(np.abs(samples).max(initial=1e-9))
    return (level / peak * samples).astype(np.float32)


def white(seconds: float, *, level: float, seed: int = 7) -> Samples:
    """Hiss: the same power at every frequency."""
    return _loud(np.random.default_rng(seed).standard_normal(int(seconds * RATE_HERTZ)), level)


def pink(seconds: float, *, level: float, seed: int = 7) -> Samples:
    """Rumble: power falls with frequency, as in most rooms; swells four times a second."""
    count = int(seconds * RATE_HERTZ)
    spectrum = np.fft.rfft(np.random.default_rng(seed).standard_normal(count))
    spectrum /= np.sqrt(np.maximum(np.arange(len(spectrum)), 1))
    times = np.arange(count) / RATE_HERTZ
    return _loud(np.fft.irfft(spectrum, count) * (1.2 + np.sin(8 * np.pi * times)), level)


def music(seconds: float, *, level: float, beat_s: float = 0.4, seed: int = 7) -> Samples:
    """Two voices of plucked strings over a drum."""
    dice, count = np.random.default_rng(seed), int(seconds * RATE_HERTZ)
    found = np.zeros(count)
    for beat in range(int(seconds / beat_s)):
        start = int(beat * beat_s * RATE_HERTZ)
        times = np.arange(min(int(1.5 * beat_s * RATE_HERTZ), count - start)) / RATE_HERTZ
        for octave in (1.0, 0.5):
            tone = 330.0 * octave * dice.choice(_MAJOR)
            for harmonic in range(1, 7):
                part = np.sin(2 * np.pi * tone * harmonic * times) / harmonic
                found[start : start + len(times)] += part * np.exp(-3 * times)
        drum = min(2_000, count - start)
        hit = dice.standard_normal(drum) * np.exp(-np.arange(drum) / 400)
        found[start : start + drum] += 0.5 * hit
    return _loud(found, level)


def silence(seconds: float, *, level: float = 0.0) -> Samples:
    """Nothing at all, or the last bit of a microphone."""
    return white(seconds, level=level) if level else np.zeros(int(seconds * RATE_HERTZ), np.float32)
