"""Versions leave Triton servers that other gateways may use as well: the last one unloads.

Gateways do not know of each other. But whoever uses a module asks it something at least once a
probe interval, and a server counts calls: a module whose count stands still is used by nobody. A
gateway that dies stops asking, so nothing has to be given back by it.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Coroutine
from typing import Any

from legonn_core.errors import LegonnError
from legonn_server.backends.triton_endpoint import TritonEndpoint
from legonn_server.backends.triton_options import TritonOptions

QUIET_PROBES = 3
"""A module that nobody called for so many probe intervals is used by no gateway."""

LOOKS = 3
"""How often an unload looks before it is left to go on beside: our own last calls count too."""

Spawn = Callable[[Coroutine[Any, Any, None]], "asyncio.Task[None]"]


class Departures:
    """See the module's docstring.

    Args:
        options: How often modules are probed.
        spawn: Does something beside, until the fleet stops.
    """

    def __init__(self, options: TritonOptions, spawn: Spawn) -> None:
        self._options = options
        self._spawn = spawn
        self._tasks: dict[str, set[asyncio.Task[None]]] = {}

    async def leave(self, endpoint: TritonEndpoint, model: str, *, looks: int = LOOKS) -> bool:
        """Unload a model as soon as nobody calls it.

        Returns:
            False if somebody does at every look; the model is loaded then.

        Raises:
            LegonnError: If the server does not answer.
        """
        before = await endpoint.num_calls(model)
        for _ in range(looks):
            await asyncio.sleep(QUIET_PROBES * self._options.probe_interval_seconds)
            count = await endpoint.num_calls(model)
            if count == before:
                await endpoint.unload(model)
                return True
            before = count
        return False

    def leave_at_last(self, endpoint: TritonEndpoint, model: str) -> None:
        """Go on looking beside until nobody calls it, or ``stay`` is told."""
        task = self._spawn(self._look_on(endpoint, model))
        tasks = self._tasks.setdefault(model, set())
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    def stay(self, model: str) -> None:
        """It is wanted again, on all servers."""
        for task in self._tasks.pop(model, set()):
            task.cancel()

    async def _look_on(self, endpoint: TritonEndpoint, model: str) -> None:
        is_gone = False
        while not is_gone:
            await asyncio.sleep(self._options.probe_interval_seconds)
            with contextlib.suppress(LegonnError):
                is_gone = endpoint.is_up and await self.leave(endpoint, model, looks=1)
