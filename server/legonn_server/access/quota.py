"""How much a tenant may use, and what is left of it: token buckets as values.

A bucket may go below zero: what costs more than it holds passes when it is full, and what comes
next waits longer. So a long recording is not refused for ever, and over a minute the rate holds.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from legonn_server.access.identity import Priority

_MINUTE_S = 60.0


@dataclass(frozen=True, slots=True)
class TenantQuota:
    """What one tenant may use of one gateway; 0 is no limit.

    Attributes:
        max_streams: Calls open at once, speech and text together.
        audio_seconds_per_minute: Audio sent. An open stream above it is read more slowly, a new
            call is refused.
        characters_per_minute: Text sent, likewise.
        priority: ``bulk`` leaves the last quarter of all places to ``interactive`` callers.
    """

    max_streams: int = 0
    audio_seconds_per_minute: float = 0.0
    characters_per_minute: float = 0.0
    priority: Priority = Priority.INTERACTIVE

    def __post_init__(self) -> None:
        for name in ("max_streams", "audio_seconds_per_minute", "characters_per_minute"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} must not be negative, not {getattr(self, name)}")


@dataclass(frozen=True, slots=True)
class TokenBucket:
    """A level that costs lower and time raises.

    Attributes:
        rate: Tokens a second; 0 is no limit.
        capacity: The highest level: what may be used at once after a pause.
        level: Tokens at ``at``; below zero is debt.
        at: Seconds on a clock that only grows.
    """

    rate: float
    capacity: float
    level: float
    at: float

    @classmethod
    def a_minute(cls, amount: float, *, now: float) -> TokenBucket:
        """A full bucket of so much a minute; a sixth of it may be used at once."""
        capacity = amount / 6
        return cls(amount / _MINUTE_S, capacity, capacity, now)

    def filled(self, now: float) -> TokenBucket:
        """The bucket of a later moment."""
        level = min(self.capacity, self.level + (now - self.at) * self.rate)
        return replace(self, level=level, at=max(now, self.at))

    def taken(self, cost: float, now: float) -> TokenBucket:
        """The bucket after a cost, whatever its level."""
        full = self.filled(now)
        return replace(full, level=full.level - cost) if self.rate else full

    def wait_s(self, cost: float, now: float) -> float:
        """Seconds until so much may be taken; 0 if now. A cost above the capacity asks for all."""
        if not self.rate:
            return 0.0
        missing = min(cost, self.capacity) - self.filled(now).level
        return max(0.0, missing / self.rate)
