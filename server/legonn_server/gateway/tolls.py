"""What a call pays while it runs: of its tenant's quotas, and for messages that bring little.

A caller that owes is read more slowly: the wait is a pause in reading, which HTTP/2 or TCP hands
back to its sender. Nothing is dropped and no open stream is ended.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from legonn_server.access.quota import TokenBucket
from legonn_server.access.tenants import Tenants
from legonn_server.gateway.doorkeeper import current_identity
from legonn_server.telemetry.metrics import Metrics

SMALL_MESSAGE_MS = 10.0
SMALL_MESSAGE_CHARACTERS = 16.0
SMALL_MESSAGE_BYTES = 32.0
"""What a message brings at least to cost nothing: of audio, of text, of a compressed file."""


class Toll:
    """The account of one call.

    Args:
        tenants: The book of all tenants.
        metrics: Where waits are counted.
        small_messages_per_second: Rate of messages that bring nothing; twice as many at once.
        clock: Seconds that only grow.
    """

    def __init__(
        self,
        tenants: Tenants,
        metrics: Metrics,
        *,
        small_messages_per_second: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._tenants = tenants
        self._metrics = metrics
        self._clock = clock
        self._tenant = current_identity.get().tenant
        burst = 2 * small_messages_per_second
        self._messages = TokenBucket(small_messages_per_second, burst, burst, clock())

    def require_audio(self, seconds: float = 0.0) -> None:
        """Refuse the call if the tenant must wait before so much audio, or any.

        Raises:
            TenantAudio: With the wait.
        """
        self._tenants.require_audio(self._tenant, seconds, now=self._clock())

    def require_characters(self, count: int = 0) -> None:
        """Refuse the call if the tenant must wait before so much text, or any.

        Raises:
            TenantCharacters: With the wait.
        """
        self._tenants.require_characters(self._tenant, count, now=self._clock())

    def note_audio(self, seconds: float) -> float:
        """Take audio from the quota; gives the seconds to wait before more is read."""
        return self._tenants.take_audio(self._tenant, seconds, now=self._clock())

    def note_characters(self, count: int) -> float:
        """Take text from the quota; gives the seconds to wait before more is read."""
        return self._tenants.take_characters(self._tenant, count, now=self._clock())

    async def pay(self, owed_s: float, kind: str, *, share: float = 1.0) -> None:
        """Hold the reader back.

        Args:
            owed_s: What ``note_…`` gave.
            kind: ``audio`` or ``characters``.
            share: What the message brought, of what makes it cost nothing; 1 and more is free.
        """
        if share < 1.0:
            now = self._clock()
            self._messages = self._messages.taken(1.0 - share, now)
            small_s = self._messages.wait_s(0.0, now)
            if small_s > owed_s:
                owed_s, kind = small_s, "small_messages"
        if owed_s > 0.0:
            self._metrics.held_back.labels(kind).inc(owed_s)
            await asyncio.sleep(owed_s)
