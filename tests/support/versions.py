"""Second versions of modules, good ones and bad ones, and waiting for what they come to."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace

from legonn_core.runtime.messages import ModuleDescription, ModuleRef
from legonn_server.backends.fake import fake_modules
from legonn_server.pools.module_manager import ModuleManager
from legonn_server.routing.routes import Modality, RouteKey, route_key
from legonn_server.routing.swap import VersionState

SPEECH_KEY: RouteKey = route_key(Modality.SPEECH, "en", "en")


def fake_version(name: str, version: str, **changes: object) -> ModuleDescription:
    """Another version of a module of the fake backend."""
    (found,) = (one for one in fake_modules() if one.ref.name == name)
    return replace(found, ref=ModuleRef(name, version), **changes)


async def eventually(condition: Callable[[], bool], *, seconds: float = 30.0) -> None:
    """Wait until something is so; generous, for a busy machine.

    Raises:
        TimeoutError: If it does not come to be.
    """
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.01)


async def state_reached(
    modules: ModuleManager, ref: ModuleRef, state: VersionState, *, seconds: float = 30.0
) -> None:
    """Wait until a version is in a state."""

    def is_there() -> bool:
        return any(one.ref == ref and one.state is state for one in modules.versions)

    await eventually(is_there, seconds=seconds)
