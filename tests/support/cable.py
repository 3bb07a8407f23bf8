"""A TCP proxy on loopback that a test can cut: the wire between a gateway and a server."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class Cable:
    """Carries bytes to a target until it is cut.

    Args:
        target: ``HOST:PORT``.
    """

    def __init__(self, target: str) -> None:
        self._host, _, port = target.rpartition(":")
        self._port = int(port)
        self._writers: set[asyncio.StreamWriter] = set()
        self._carriers: set[asyncio.Task[None]] = set()
        self._is_cut = False
        self._server: asyncio.Server | None = None
        self.num_cut = 0

    @property
    def address(self) -> str:
        """Where it is reached."""
        assert self._server is not None
        return f"127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    async def open(self) -> None:
        self._server = await asyncio.start_server(self._carry, "127.0.0.1", 0)

    async def close(self) -> None:
        self.cut()
        if self._server is not None:
            self._server.close()
        await asyncio.gather(*self._carriers, return_exceptions=True)

    def cut(self) -> None:
        """Break what is connected and let nobody connect."""
        self._is_cut = True
        for writer in tuple(self._writers):
            self.num_cut += 1
            writer.transport.abort()

    def mend(self) -> None:
        """Let everybody connect again."""
        self._is_cut = False

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._is_cut:
            writer.transport.abort()
            return
        carrier = asyncio.current_task()
        assert carrier is not None
        self._carriers.add(carrier)
        carrier.add_done_callback(self._carriers.discard)
        with contextlib.suppress(OSError):
            there, back = await asyncio.open_connection(self._host, self._port)
            ours = {writer, back}
            self._writers |= ours
            try:
                await asyncio.gather(_copy(reader, back), _copy(there, writer))
            finally:
                self._writers -= ours
                for one in ours:
                    one.transport.abort()


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(1 << 16):
            writer.write(data)
            await writer.drain()
    writer.transport.abort()


@asynccontextmanager
async def cable(target: str) -> AsyncIterator[Cable]:
    """A cable for the length of a ``with`` block."""
    found = Cable(target)
    await found.open()
    try:
        yield found
    finally:
        await found.close()
