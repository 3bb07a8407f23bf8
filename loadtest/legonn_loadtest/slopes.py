"""Whether something grows: a straight line through samples over time, with its error.

Ordinary least squares. Samples of one process are not independent (memory goes in steps, a swap
lasts many samples), so the usual error is widened by the residuals' autocorrelation of lag one, r:
n of them count as n·(1 − r)/(1 + r).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

T_95 = 2.0
"""Standard errors of a 95 % interval, near enough for more than twenty samples."""


@dataclass(frozen=True, slots=True)
class Slope:
    """A fitted line.

    Attributes:
        per_hour: Growth, in the unit of the samples.
        error: Its standard error.
        mean: Of the samples.
        num_samples: How many there are.
    """

    per_hour: float
    error: float
    mean: float
    num_samples: int

    @property
    def grows(self) -> bool:
        """Whether zero growth lies below the 95 % interval."""
        return self.per_hour - T_95 * self.error > 0


def slope(seconds: Sequence[float], values: Sequence[float]) -> Slope:
    """Fit a line.

    Raises:
        ValueError: With fewer than three samples, or all at one moment.
    """
    if len(seconds) != len(values) or len(values) < 3:
        raise ValueError("a slope takes at least three samples, each with its time")
    times, found = np.asarray(seconds, float), np.asarray(values, float)
    centred = times - times.mean()
    spread = float(centred @ centred)
    if spread == 0.0:
        raise ValueError("all samples are of one moment")
    rate = float(centred @ found) / spread
    rest = found - found.mean() - rate * centred
    power = float(rest @ rest)
    error = math.sqrt(power / (len(found) - 2) / spread)
    if power:
        kept = min(max(float(rest[1:] @ rest[:-1]) / power, 0.0), 0.99)
        error *= math.sqrt((1.0 + kept) / (1.0 - kept))
    return Slope(3600.0 * rate, 3600.0 * error, float(found.mean()), len(found))
