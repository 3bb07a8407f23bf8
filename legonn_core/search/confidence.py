"""How sure a reading is, as a probability that holds: curves, and how far they are off.

A word's raw confidence is read off the marginals (``alignment.py``). It orders words well, but of
words with 0.7 not seven in ten need be right: a logistic curve with two parameters for each encoder
brings it there (Platt 1999). The curve rises, so the order of words stays.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_EDGE = 1e-4
"""Nearer to 0 and 1 nothing is claimed."""

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class ConfidenceCurve:
    """From raw to calibrated confidence: logistic of ``scale`` · logit(raw) + ``offset``."""

    scale: float = 1.0
    offset: float = 0.0

    def __post_init__(self) -> None:
        if not (self.scale > 0 and math.isfinite(self.scale) and math.isfinite(self.offset)):
            raise ValueError(f"scale={self.scale} must be above 0, offset={self.offset} a number")

    def apply(self, raw: float) -> float:
        """The calibrated confidence, in [0, 1]; the identity curve changes nothing."""
        if self.scale == 1.0 and self.offset == 0.0:
            return raw
        return float(_logistic(self.scale * _logit(np.array(raw)) + self.offset))


def fit_curve(raw: Sequence[float], is_right: Sequence[bool]) -> ConfidenceCurve:
    """The curve under which what was right is most probable (Newton's method, slightly held).

    Args:
        raw: Raw confidences of words.
        is_right: Whether each was right; both answers must occur.

    Raises:
        ValueError: If there is nothing to fit.
    """
    right = np.asarray(is_right, np.float64)
    if not 0 < right.sum() < len(right):
        raise ValueError("a curve needs words that are right and words that are wrong")
    inputs = np.stack([_logit(np.asarray(raw, np.float64)), np.ones(len(right))], axis=1)
    weights = np.array([1.0, 0.0])
    for _ in range(50):
        guess = _logistic(inputs @ weights)
        gradient = inputs.T @ (guess - right) + 1e-3 * weights
        curvature = (inputs * (guess * (1 - guess))[:, None]).T @ inputs + 1e-3 * np.eye(2)
        step = np.linalg.solve(curvature, gradient)
        weights = weights - step
        if np.abs(step).max() < 1e-9:
            break
    return ConfidenceCurve(scale=max(float(weights[0]), 1e-3), offset=float(weights[1]))


@dataclass(frozen=True, slots=True)
class Bin:
    """Words of similar confidence: how many, how sure on average, and the share that was right."""

    count: int
    confidence: float
    accuracy: float


def reliability(
    confidences: Sequence[float], is_right: Sequence[bool], *, bins: int = 10
) -> tuple[Bin, ...]:
    """Words by confidence in equal steps; empty steps are left out."""
    sure, right = np.asarray(confidences, np.float64), np.asarray(is_right, np.float64)
    place = np.minimum((sure * bins).astype(int), bins - 1)
    return tuple(
        Bin(int(here.sum()), float(sure[here].mean()), float(right[here].mean()))
        for number in range(bins)
        if (here := place == number).any()
    )


def calibration_error(found: Sequence[Bin]) -> float:
    """Expected calibration error: mean distance of confidence and accuracy over words."""
    total = sum(one.count for one in found)
    return sum(one.count * abs(one.confidence - one.accuracy) for one in found) / max(total, 1)


def _logit(probability: Floats) -> Floats:
    inside = np.clip(probability, _EDGE, 1.0 - _EDGE)
    result: Floats = np.log(inside / (1.0 - inside))
    return result


def _logistic(value: Floats) -> Floats:
    result: Floats = 1.0 / (1.0 + np.exp(-value))
    return result
