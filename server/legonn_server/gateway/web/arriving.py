"""How long a request's body may take to arrive: a caller that trickles bytes holds memory."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from legonn_core.errors import DeadlineMissed


@asynccontextmanager
async def arriving(seconds: float) -> AsyncIterator[None]:
    """Read a body for the length of a ``with`` block.

    Raises:
        DeadlineMissed: If it lasts longer than so many seconds.
    """
    try:
        async with asyncio.timeout(seconds):
            yield
    except TimeoutError:
        raise DeadlineMissed(f"the body did not arrive within {seconds:g} s") from None
