"""When a failed call is tried again, and after how long: policy without a clock of its own.

Only what the server's error model allows is retried (``LegonnError.retry``): a server that is gone,
drains or is full. The wait is drawn anew each time between nothing and a bound that doubles (full
jitter), so that the clients of a server that died do not come back in step.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import dataclass

from legonn.errors import DeadlineMissed, LegonnError, Retry


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How patient a client is.

    Attributes:
        attempts: Tries of a call, or of a stream until a server accepts it.
        resume_for_s: How long a stream that was accepted looks for a server to go on with.
        base_s: Bound of the first wait, in seconds; it doubles with each failure.
        cap_s: Largest bound.
    """

    attempts: int = 4
    resume_for_s: float = 30.0
    base_s: float = 0.1
    cap_s: float = 3.0

    def __post_init__(self) -> None:
        if self.attempts < 1 or min(self.resume_for_s, self.base_s, self.cap_s) < 0:
            raise ValueError("attempts are at least 1, and times not below 0")


STEADY_S = 5.0
"""A stream that went so long was well, also if nothing was said in it."""

NO_RETRIES = RetryPolicy(attempts=1, resume_for_s=0.0)
"""For callers who would rather know at once."""


class Retries:
    """The failures of one call or stream so far.

    Args:
        policy: How patient to be.
        clock: Seconds that only grow.
        dice: A number in [0, 1) each time it is called.
    """

    def __init__(
        self,
        policy: RetryPolicy,
        *,
        clock: Callable[[], float] = time.monotonic,
        dice: Callable[[], float] = random.random,
    ) -> None:
        self._policy = policy
        self._clock = clock
        self._dice = dice
        self._num_failures = 0
        self._failing_since = 0.0
        self._accepted_at = 0.0
        self._is_open = False

    def accepted(self) -> None:
        """A server took the stream."""
        self._is_open = True
        self._accepted_at = self._clock()

    def progressed(self) -> None:
        """The stream brought something for good: what fails now is a new trouble."""
        self._num_failures = 0

    def delay_s(self, error: LegonnError, *, was_accepted: bool = False) -> float | None:
        """How long to wait before the next try; None gives up.

        Args:
            error: Why this try failed.
            was_accepted: Whether the server had taken this very try; then "too much" is said of the
                stream itself, and another try would end in the same way.
        """
        if error.retry is Retry.NEVER or isinstance(error, DeadlineMissed):
            return None
        if error.retry is Retry.LATER and was_accepted:
            return None
        now = self._clock()
        if was_accepted and now - self._accepted_at >= STEADY_S:
            self._num_failures = 0
        if self._num_failures == 0:
            self._failing_since = now
        self._num_failures += 1
        bound = min(self._policy.cap_s, self._policy.base_s * 2 ** min(self._num_failures - 1, 30))
        wait = self._dice() * bound + (error.retry_after_s or 0.0)
        if self._is_open:
            patience = self._failing_since + self._policy.resume_for_s
            return wait if now + wait <= patience else None
        return wait if self._num_failures < self._policy.attempts else None
