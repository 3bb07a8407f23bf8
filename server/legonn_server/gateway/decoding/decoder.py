"""The gateway's side of decoding: an ``AudioDecoder`` for each stream, from one ``Decoders``."""

from __future__ import annotations

import asyncio
import socket
import sys
from collections.abc import AsyncIterator
from types import TracebackType
from typing import Self

import numpy as np
from numpy.typing import NDArray

from legonn_core.errors import BadAudio, LimitExceeded, Unavailable
from legonn_server.gateway.decoding.formats import MARK_BYTES, Container, recognize
from legonn_server.gateway.decoding.frames import HEADER, MAX_PAYLOAD, Kind, pack, unpack_header

Samples = NDArray[np.float32]

READY_WITHIN_S = 60.0
"""FFmpeg's libraries may have to come from a slow disk."""

SILENT_WITHIN_S = 60.0
"""A reader that neither gives nor asks for so long is ended: it may be stopped, not only busy."""


class AudioDecoder:
    """One file on its way to samples; use it in an ``async with`` block.

    Attributes:
        sample_rate_hertz: 0 until the first samples.
    """

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.sample_rate_hertz = 0
        self._reader = reader
        self._writer = writer

    async def feed(self, content: bytes) -> AsyncIterator[Samples]:
        """The samples that the next bytes complete; mono, in pieces of at most a few seconds.

        Raises:
            BadAudio: If this is no such file, or a damaged one.
        """
        for start in range(0, len(content), MAX_PAYLOAD):
            async for samples in self._ask(Kind.DATA, content[start : start + MAX_PAYLOAD]):
                yield samples

    async def finish(self) -> AsyncIterator[Samples]:
        """The rest, after the last byte; errors as ``feed``."""
        async for samples in self._ask(Kind.END):
            yield samples

    async def _ask(self, kind: Kind, payload: bytes = b"") -> AsyncIterator[Samples]:
        """Send, then take what comes until the reader wants more or is done."""
        try:
            self._writer.write(pack(kind, payload))
            await self._writer.drain()
            while True:
                async with asyncio.timeout(SILENT_WITHIN_S):
                    found, content = await self._message()
                match found:
                    case Kind.RATE:
                        self._take_rate(int(content))
                    case Kind.SAMPLES:
                        yield np.frombuffer(content, "<f4")
                    case Kind.BAD:
                        raise BadAudio(content.decode())
                    case Kind.HUNGRY | Kind.DONE:
                        return
        except (TimeoutError, asyncio.IncompleteReadError, ConnectionError, ValueError):
            # A ValueError is a message that no reader of ours writes: a file took it over.
            raise BadAudio("the file could not be read: its reader gave up on it") from None

    async def _message(self) -> tuple[Kind, bytes]:
        kind, length = unpack_header(await self._reader.readexactly(HEADER.size))
        return kind, await self._reader.readexactly(length)

    def _take_rate(self, rate: int) -> None:
        if not 1_000 <= rate <= 384_000:
            raise BadAudio(f"a sample rate of {rate} Hz")
        self.sample_rate_hertz = rate

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        # A reader whose socket is closed ends itself with its next word; a stopped one never speaks
        # and holds no more than its memory limit.
        self._writer.close()


class Decoders:
    """Makes decoders; the process that forks their readers starts with the first of them."""

    def __init__(self) -> None:
        self._nursery: asyncio.subprocess.Process | None = None
        self._control: socket.socket | None = None
        self._starting = asyncio.Lock()

    async def open(self, container: Container) -> AudioDecoder:
        """A decoder for one file.

        Raises:
            Unavailable: If no reader can be had.
        """
        ours, theirs = socket.socketpair()
        with theirs:
            try:
                control = await self._running()
                socket.send_fds(control, [b"f"], [theirs.fileno()])
            except (OSError, TimeoutError) as error:
                ours.close()
                await self.stop()
                raise Unavailable("compressed audio cannot be read now") from error
        reader, writer = await asyncio.open_connection(sock=ours)
        writer.write(pack(Kind.OPEN, container.name.encode()))
        return AudioDecoder(reader, writer)

    async def whole(
        self, content: bytes, *, max_seconds: float, container: Container | None = None
    ) -> tuple[Samples, int]:
        """Read a whole file.

        Args:
            content: All of it.
            max_seconds: A longer one is refused.
            container: What it is said to be; None goes by its first bytes.

        Returns:
            (N,) samples in [-1, 1] and the sample rate in Hz.

        Raises:
            BadAudio: If the file is damaged or of another format.
            LimitExceeded: If it is longer than ``max_seconds``.
        """
        kind = container or recognize(content[:MARK_BYTES])
        if kind is None:
            raise BadAudio("the file cannot be read: send WAV, FLAC, Ogg, WebM or MP3")
        parts: list[Samples] = []
        total = 0
        async with await self.open(kind) as decoder:
            for pieces in (decoder.feed(content), decoder.finish()):
                async for samples in pieces:
                    parts.append(samples)
                    total += len(samples)
                    if total > max_seconds * decoder.sample_rate_hertz:
                        raise LimitExceeded(f"more than {max_seconds:g} s of audio in one file")
        if not total:
            raise BadAudio("the audio is empty")
        return np.concatenate(parts), decoder.sample_rate_hertz

    async def _running(self) -> socket.socket:
        async with self._starting:
            if self._nursery is None or self._nursery.returncode is not None:
                await self.stop()
                self._control, theirs = socket.socketpair()
                with theirs:
                    self._nursery = await asyncio.create_subprocess_exec(
                        *(sys.executable, "-m", "legonn_server.gateway.decoding.nursery"),
                        stdin=theirs.fileno(),
                        stdout=asyncio.subprocess.DEVNULL,
                    )
                self._control.setblocking(False)
                loop = asyncio.get_running_loop()
                async with asyncio.timeout(READY_WITHIN_S):
                    if await loop.sock_recv(self._control, 1) != b"r":
                        raise OSError("the process that reads compressed audio did not start")
            assert self._control is not None
            return self._control

    async def stop(self) -> None:
        """End the process that forks; readers at work end with their streams."""
        if self._control is not None:
            self._control.close()
            self._control = None
        if self._nursery is not None:
            if self._nursery.returncode is None:
                self._nursery.terminate()
            await self._nursery.wait()
            self._nursery = None
