"""Bodies of calls that are JSON, read within bounds."""

from __future__ import annotations

from starlette.requests import Request

from legonn_core.errors import LimitExceeded
from legonn_server.gateway.web.arriving import arriving

MAX_REQUEST_BYTES = 4 << 20


async def body_of(request: Request, *, seconds: float) -> bytes:
    """The body of a request.

    Raises:
        LimitExceeded: If it is too large.
        DeadlineMissed: If it does not arrive within so many seconds.
    """
    content = bytearray()
    async with arriving(seconds):
        async for piece in request.stream():
            content += piece
            if len(content) > MAX_REQUEST_BYTES:
                raise LimitExceeded(f"a body of more than {MAX_REQUEST_BYTES} bytes")
    return bytes(content)
