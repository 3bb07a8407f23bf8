"""What waits to be written to one caller: finals never drop, unsent partials give way to newer."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Generic, TypeVar

from legonn_core.errors import QueueFull
from legonn_server.session.commands import EmitPartial
from legonn_server.session.text_messages import EmitTextPartial

T = TypeVar("T")
_PARTIALS = (EmitPartial, EmitTextPartial)


class Outbox(Generic[T]):
    """A bounded queue of one stream.

    Args:
        max_waiting: A caller that lets more than this wait is too slow and is refused.
    """

    def __init__(self, max_waiting: int = 1_000) -> None:
        self._waiting: deque[T] = deque()
        self._is_filled = asyncio.Event()
        self._max_waiting = max_waiting

    def put(self, command: T) -> None:
        """Add one; a partial behind an unsent partial takes its place.

        Raises:
            QueueFull: If the caller does not read.
        """
        last = self._waiting[-1] if self._waiting else None
        if isinstance(command, _PARTIALS) and isinstance(last, _PARTIALS):
            self._waiting.pop()
        if len(self._waiting) >= self._max_waiting:
            raise QueueFull("the caller reads too slowly: too many answers wait")
        self._waiting.append(command)
        self._is_filled.set()

    def __len__(self) -> int:
        return len(self._waiting)

    def clear(self) -> None:
        """Forget what waits."""
        self._waiting.clear()

    async def get(self) -> T:
        """Take the oldest, waiting for one if need be."""
        while not self._waiting:
            self._is_filled.clear()
            await self._is_filled.wait()
        return self._waiting.popleft()
