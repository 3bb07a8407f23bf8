"""Other versions beside those in service: with a part of the sessions, or unheard.

A session is on one side of a trial for ever, by a hash of its id, so nobody hears the versions
change back and forth. Which side that is depends on nothing else: every gateway agrees.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from itertools import pairwise

from legonn_core.runtime.messages import ModuleRef

SHARES = 10_000


@dataclass(frozen=True, slots=True)
class CanaryBands:
    """Limits that a trial keeps beside the versions in service.

    Attributes:
        max_error_percent: Failed segments in a hundred beyond those of the versions in service.
        max_latency_ratio: Time to a final by that of the versions in service.
        max_blank_difference: Of the share of blank rows, where the trial's card names no band.
    """

    max_error_percent: float = 2.0
    max_latency_ratio: float = 1.5
    max_blank_difference: float = 0.15

    def __post_init__(self) -> None:
        if not 0 <= self.max_error_percent <= 100:
            raise ValueError("max_error_percent lies in [0, 100]")
        if not self.max_latency_ratio >= 1:
            raise ValueError("max_latency_ratio is at least 1")
        if not 0 <= self.max_blank_difference <= 1:
            raise ValueError("max_blank_difference lies in [0, 1]")


@dataclass(frozen=True, slots=True)
class CanaryPlan:
    """A trial with a growing share of the sessions.

    Attributes:
        encoder: On trial.
        decoder: On trial; one of both may be the one in service.
        steps: Sessions in a hundred, one step after the other.
        hold_seconds: Least time on a step.
        min_segments: Least segments of the trial on a step.
        bands: When it is given up.
    """

    encoder: ModuleRef
    decoder: ModuleRef
    steps: tuple[int, ...] = (1, 10, 50, 100)
    hold_seconds: float = 60.0
    min_segments: int = 30
    bands: CanaryBands = CanaryBands()

    def __post_init__(self) -> None:
        is_growing = all(low < high for low, high in pairwise(self.steps))
        if not self.steps or not is_growing or self.steps[0] < 0 or self.steps[-1] > 100:
            raise ValueError("steps are percentages in [0, 100], each above the one before")
        if not 0 <= self.hold_seconds <= 86_400:
            raise ValueError("hold_seconds lies in [0, 86400]")
        if not 1 <= self.min_segments <= 1_000_000:
            raise ValueError("min_segments lies in [1, 1000000]")


@dataclass(frozen=True, slots=True)
class ShadowPlan:
    """Versions that hear copies of segments and are compared."""

    encoder: ModuleRef
    decoder: ModuleRef
    percent: int = 100

    def __post_init__(self) -> None:
        if not 0 <= self.percent <= 100:
            raise ValueError("percent lies in [0, 100]")


def is_within(session_id: str, percent: float, *, salt: str) -> bool:
    """Whether a session belongs to the first ``percent`` of all.

    Growing ``percent`` keeps everybody who was inside.

    Args:
        session_id: The session.
        percent: 0 to 100.
        salt: Makes trials of different routes independent.
    """
    digest = hashlib.sha256(f"{salt}\n{session_id}".encode()).digest()
    return int.from_bytes(digest[:8], "big") % SHARES < percent * SHARES / 100
