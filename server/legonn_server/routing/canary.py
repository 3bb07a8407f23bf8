"""How a trial goes: a pure judge of two sides, by confidence intervals.

The versions in service and those on trial are measured at the same time, on sessions that a hash
divided. A limit is broken when the 95 % interval of what was measured lies wholly beyond it: then
the trial is given up at once. A step is passed when its time and its number of segments are over
and nothing is broken. Nothing here reads a clock.

Sources: Newcombe (1998), method 10, for the difference of two proportions; Welch's interval for the
difference of two means, with the normal quantile, since sides have tens of segments.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from enum import Enum

from legonn_server.routing.trials import CanaryBands, CanaryPlan

Z = 1.96
"""Normal quantile of a two-sided 95 % interval."""

MIN_SEGMENTS = 8
"""Fewer on a side say nothing."""


class Verdict(Enum):
    """What is to be done with a trial."""

    STAY = "stay"
    ADVANCE = "advance"
    PROMOTE = "promote"
    ABORT = "abort"


@dataclass(frozen=True, slots=True)
class Outcome:
    """How one segment ended.

    Attributes:
        is_error: It failed for a reason that is the server's.
        latency_s: From its end to its final; None if it has none.
        blank_share: Of its rows; None if it has none.
    """

    is_error: bool = False
    latency_s: float | None = None
    blank_share: float | None = None


@dataclass(slots=True)
class Mean:
    """Running mean and variance (Welford)."""

    count: int = 0
    mean: float = 0.0
    squares: float = 0.0

    def add(self, value: float) -> None:
        """One more value."""
        self.count += 1
        step = value - self.mean
        self.mean += step / self.count
        self.squares += step * (value - self.mean)

    @property
    def error_squared(self) -> float:
        """Variance of the mean; infinite below two values."""
        if self.count < 2:
            return math.inf
        return self.squares / (self.count - 1) / self.count


@dataclass(slots=True)
class Side:
    """What was measured of one pair of versions."""

    segments: int = 0
    errors: int = 0
    log_latency: Mean = field(default_factory=Mean)
    blank: Mean = field(default_factory=Mean)

    def add(self, outcome: Outcome) -> None:
        """One more segment."""
        self.segments += 1
        self.errors += outcome.is_error
        if outcome.latency_s is not None:
            self.log_latency.add(math.log(max(outcome.latency_s, 1e-3)))
        if outcome.blank_share is not None:
            self.blank.add(outcome.blank_share)


class Trial:
    """One trial from its first share to its end.

    Args:
        plan: Steps and limits.
        now: When it begins, in seconds of the caller's clock.
        blank_band: What the card of the encoder on trial promises; None if it names no band.

    Attributes:
        step: Index of the share in force.
    """

    def __init__(
        self, plan: CanaryPlan, now: float, *, blank_band: tuple[float, float] | None = None
    ) -> None:
        self._plan = plan
        self._band = blank_band
        self._since = now
        self.step = 0
        self._on_step = 0
        self._old, self._new = Side(), Side()

    @property
    def percent(self) -> int:
        """Sessions in a hundred that meet the trial."""
        return self._plan.steps[self.step]

    def add(self, outcome: Outcome, *, is_trial: bool) -> None:
        """A segment of one of the sides ended."""
        (self._new if is_trial else self._old).add(outcome)
        self._on_step += is_trial

    def judge(self, now: float) -> Verdict:
        """What is to be done now; ADVANCE and PROMOTE are for the caller to carry out."""
        if self.broken():
            return Verdict.ABORT
        is_held = now - self._since >= self._plan.hold_seconds
        if not is_held or self._on_step < self._plan.min_segments:
            return Verdict.STAY
        if self.step + 1 < len(self._plan.steps):
            return Verdict.ADVANCE
        return Verdict.PROMOTE if self.percent == 100 else Verdict.STAY

    def advance(self, now: float) -> None:
        """Go to the next share."""
        self.step += 1
        self._since = now
        self._on_step = 0

    def broken(self) -> str:
        """The limit that is broken, for people; empty if none is."""
        new, old, bands = self._new, self._old, self._plan.bands
        if new.segments < MIN_SEGMENTS:
            return ""
        return _errors(new, old, bands) or _latency(new, old, bands) or self._blank(new, old, bands)

    def _blank(self, new: Side, old: Side, bands: CanaryBands) -> str:
        """The share of blank rows: against the card's band, else against the other side."""
        if new.blank.count < MIN_SEGMENTS:
            return ""
        if self._band is not None:
            margin = Z * math.sqrt(new.blank.error_squared)
            low, high = self._band
            if new.blank.mean - margin > high or new.blank.mean + margin < low:
                return (
                    f"{new.blank.mean:.2f} of the rows are blank, the card promises"
                    f" {low:.2f} to {high:.2f}"
                )
            return ""
        if old.blank.count < MIN_SEGMENTS:
            return ""
        difference = new.blank.mean - old.blank.mean
        margin = Z * math.sqrt(new.blank.error_squared + old.blank.error_squared)
        if abs(difference) - margin > bands.max_blank_difference:
            return f"the share of blank rows differs by {difference:+.2f} from the one in service"
        return ""

    @property
    def status(self) -> str:
        """For people."""
        return (
            f"step {self.step + 1} of {len(self._plan.steps)}, {self._new.segments} segments on"
            f" trial ({self._new.errors} failed) beside {self._old.segments}"
            f" ({self._old.errors} failed)"
        )


def _errors(new: Side, old: Side, bands: CanaryBands) -> str:
    """Newcombe's interval of the difference; without the other side, that of the trial alone."""
    low_new, _ = wilson(new.errors, new.segments)
    if old.segments < MIN_SEGMENTS:
        low, rate = low_new, new.errors / new.segments
    else:
        _, high_old = wilson(old.errors, old.segments)
        rate_new, rate_old = new.errors / new.segments, old.errors / old.segments
        rate = rate_new - rate_old
        low = rate - math.hypot(rate_new - low_new, high_old - rate_old)
    if 100 * low > bands.max_error_percent:
        return f"{100 * rate:.1f} % more segments fail than with the versions in service"
    return ""


def _latency(new: Side, old: Side, bands: CanaryBands) -> str:
    """The ratio of geometric means, by Welch's interval of the difference of logarithms."""
    if min(new.log_latency.count, old.log_latency.count) < MIN_SEGMENTS:
        return ""
    difference = new.log_latency.mean - old.log_latency.mean
    margin = Z * math.sqrt(new.log_latency.error_squared + old.log_latency.error_squared)
    if difference - margin > math.log(bands.max_latency_ratio):
        return f"finals take {math.exp(difference):.2f} times as long"
    return ""


def wilson(count: int, total: int) -> tuple[float, float]:
    """Wilson's 95 % interval of a proportion."""
    if total == 0:
        return 0.0, 1.0
    rate, z2 = count / total, Z * Z
    centre = (rate + z2 / (2 * total)) / (1 + z2 / total)
    spread = Z * math.sqrt(rate * (1 - rate) / total + z2 / (4 * total * total)) / (1 + z2 / total)
    return max(0.0, centre - spread), min(1.0, centre + spread)
