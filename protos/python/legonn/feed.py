"""Audio that is pushed: what a microphone's callback or a user interface writes, a stream reads.

    feed = legonn.Feed()
    for event in client.stream(feed):      # in one thread
        ...
    feed.send(chunk); feed.flush(); feed.end()   # in another

``AsyncFeed`` is the same for asyncio, inside one event loop.
"""

from __future__ import annotations

import asyncio
import queue
from collections.abc import AsyncIterator, Iterator
from enum import Enum


class Control(Enum):
    """A wish about an open stream, sent among its audio; ``stream`` takes them between chunks.

    Attributes:
        FLUSH: A final for all audio so far, now; the stream goes on.
        KEEP_ALIVE: Nothing but a sign of life.
        CANCEL_SEGMENT: Drop the open segment: no final comes, but the notice CANCELLED.
    """

    FLUSH = "flush"
    KEEP_ALIVE = "keep alive"
    CANCEL_SEGMENT = "cancel segment"


Item = bytes | Control
"""What a stream takes: LINEAR16 chunks, and wishes between them."""

MAX_WAITING = 300
"""Chunks that wait in a feed: 30 s of the usual 100 ms."""


class Feed:
    """A bounded queue of audio between two threads; iterate over it once.

    Args:
        max_waiting: Chunks that may wait; ``send`` blocks when so many do.
    """

    def __init__(self, max_waiting: int = MAX_WAITING) -> None:
        self._items: queue.Queue[Item | None] = queue.Queue(max_waiting)

    def send(self, item: Item, *, timeout_s: float | None = None) -> bool:
        """Add a chunk or a wish, waiting for room; False if there was none in time."""
        try:
            self._items.put(item, timeout=timeout_s)
        except queue.Full:
            return False
        return True

    def flush(self) -> None:
        """Ask for a final of all audio so far."""
        self.send(Control.FLUSH)

    def cancel_segment(self) -> None:
        """Drop what is being said."""
        self.send(Control.CANCEL_SEGMENT)

    def keep_alive(self) -> None:
        """Show that somebody is here."""
        self.send(Control.KEEP_ALIVE)

    def end(self) -> None:
        """No more audio comes."""
        self._items.put(None)

    def __iter__(self) -> Iterator[Item]:
        while (item := self._items.get()) is not None:
            yield item


class AsyncFeed:
    """``Feed`` for asyncio: made, filled and read in one event loop."""

    def __init__(self, max_waiting: int = MAX_WAITING) -> None:
        self._items: asyncio.Queue[Item | None] = asyncio.Queue(max_waiting)

    async def send(self, item: Item) -> None:
        """Add a chunk or a wish, waiting for room."""
        await self._items.put(item)

    async def flush(self) -> None:
        """Ask for a final of all audio so far."""
        await self.send(Control.FLUSH)

    async def cancel_segment(self) -> None:
        """Drop what is being said."""
        await self.send(Control.CANCEL_SEGMENT)

    async def keep_alive(self) -> None:
        """Show that somebody is here."""
        await self.send(Control.KEEP_ALIVE)

    async def end(self) -> None:
        """No more audio comes."""
        await self._items.put(None)

    async def __aiter__(self) -> AsyncIterator[Item]:
        while (item := await self._items.get()) is not None:
            yield item
