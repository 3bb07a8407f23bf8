"""Who is told of changes of modules and routes, each at its own pace."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from legonn_core.runtime.messages import ModuleRef
from legonn_server.routing.swap import VersionState

MAX_WAITING = 256


@dataclass(frozen=True, slots=True)
class Happening:
    """One thing that happened.

    Attributes:
        ref: The version, or None for the routes.
        state: Its state now; None for the routes.
        text: For people.
        elapsed_s: Time in the state before.
    """

    ref: ModuleRef | None
    state: VersionState | None
    text: str
    elapsed_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Change:
    """What a watcher is told.

    Attributes:
        number: Of the state that it leads to.
        is_lost: Earlier changes were dropped, because the watcher was too slow: look anew.
        has_routes: Whether the routes are others.
    """

    number: int
    happening: Happening
    has_routes: bool = False
    is_lost: bool = False


class Watchers:
    """Bounded queues of all who watch."""

    def __init__(self) -> None:
        self.number = 1
        self._queues: set[asyncio.Queue[Change]] = set()

    def tell(self, happening: Happening, *, has_routes: bool = False) -> None:
        """Something happened."""
        self.number += 1
        change = Change(self.number, happening, has_routes)
        for queue in self._queues:
            if queue.full():
                while not queue.empty():
                    queue.get_nowait()
                queue.put_nowait(Change(self.number, happening, has_routes=True, is_lost=True))
            else:
                queue.put_nowait(change)

    @contextmanager
    def watching(self) -> Iterator[asyncio.Queue[Change]]:
        """Changes from now on, for the length of a ``with`` block."""
        queue: asyncio.Queue[Change] = asyncio.Queue(MAX_WAITING)
        self._queues.add(queue)
        try:
            yield queue
        finally:
            self._queues.discard(queue)
