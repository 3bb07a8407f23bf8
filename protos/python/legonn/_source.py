"""A session's items as the messages of whichever stream asks for them, blocking and asyncio."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable, Iterator
from contextlib import suppress

from legonn import _channel
from legonn._session import SessionLog
from legonn.feed import Item
from legonn.streams import Event
from legonn.v1 import speech_service_pb2

ACCEPTED_WITHIN_S = 2.0
"""How long audio waits for the server's first word."""


class Source:
    """The items of a session as messages, whichever stream asks for them.

    gRPC takes messages in a thread of its own, and the thread of a lost stream may still wait for a
    chunk while the next stream is open: what it gets is kept in the log, for the next to send.
    """

    def __init__(self, log: SessionLog, chunks: Iterator[Item]) -> None:
        self._log = log
        self._chunks = chunks
        self._log_lock = threading.Lock()
        self._chunks_lock = threading.Lock()
        self._cancel: Callable[[], object] | None = None
        self.kept = _channel.Kept()
        self.is_accepted = False

    def requests(self) -> Iterator[speech_service_pb2.StreamingRecognizeRequest]:
        """The messages of the next stream."""
        self.is_accepted = False
        with self._log_lock:
            config, stream = self._log.begin()
        return self._messages(config, stream)

    def _messages(
        self, config: speech_service_pb2.StreamingRecognizeRequest, stream: int
    ) -> Iterator[speech_service_pb2.StreamingRecognizeRequest]:
        yield config
        while True:
            with self._log_lock:
                request = self._log.take(stream)
                is_over = request is None and self._log.is_over(stream)
            if request is not None:
                yield request
            elif is_over:
                return
            else:
                self._pull(stream)

    def _pull(self, stream: int) -> None:
        """Wait for the next chunk; one thread at a time."""
        with self._chunks_lock:
            with self._log_lock:
                if self._log.has_more(stream) or self._log.is_over(stream):
                    return
            item: Item | None = None
            with self.kept:
                item = next(self._chunks, None)
            with self._log_lock, self.kept:
                if item is None or self.kept.error:
                    self._log.is_finished = True
                else:
                    self._log.add(item)
            if self.kept.error and self._cancel:
                self._cancel()

    def receive(self, response: speech_service_pb2.StreamingRecognizeResponse) -> Event | None:
        """A message of the server as an event."""
        self.is_accepted = True
        with self._log_lock:
            return self._log.receive(response)

    def started(self, cancel: Callable[[], object]) -> None:
        """The call runs, and this ends it; the chunks may have failed already."""
        self._cancel = cancel
        if self.kept.error:
            cancel()


class AsyncSource:
    """``Source`` for asyncio.

    The chunks are taken in a task of the session: gRPC cancels the task of a lost stream, and an
    async generator that is cancelled while it waits for a chunk would be over.
    """

    def __init__(self, log: SessionLog, chunks: Iterable[Item] | AsyncIterable[Item]) -> None:
        self._log = log
        self._chunks = _each(chunks)
        self._wanted = asyncio.Event()
        self._arrived = asyncio.Event()
        self._cancel: Callable[[], object] | None = None
        self._accepted = asyncio.Event()
        self.kept = _channel.Kept()

    @property
    def is_accepted(self) -> bool:
        """Whether the server took the newest stream."""
        return self._accepted.is_set()

    async def pump(self) -> None:
        """Take a chunk whenever one is wanted, until there are no more."""
        with self.kept:
            while not self._log.is_finished:
                await self._wanted.wait()
                self._wanted.clear()
                item = await anext(self._chunks, None)
                if item is None:
                    self._log.is_finished = True
                else:
                    self._log.add(item)
                self._arrived.set()
        if self.kept.error:
            self._log.is_finished = True
            self._arrived.set()
            if self._cancel:
                self._cancel()

    def requests(self) -> AsyncIterator[speech_service_pb2.StreamingRecognizeRequest]:
        """The messages of the next stream."""
        self._accepted.clear()
        config, stream = self._log.begin()
        return self._messages(config, stream)

    async def _messages(
        self, config: speech_service_pb2.StreamingRecognizeRequest, stream: int
    ) -> AsyncIterator[speech_service_pb2.StreamingRecognizeRequest]:
        yield config
        # A refusal that meets a write in flight is reported by gRPC as an internal error. A server
        # that never says "started" gets its audio all the same.
        with suppress(TimeoutError):
            await asyncio.wait_for(self._accepted.wait(), ACCEPTED_WITHIN_S)
        while True:
            request = self._log.take(stream)
            if request is not None:
                yield request
            elif self._log.is_over(stream):
                return
            else:
                self._arrived.clear()
                self._wanted.set()
                await self._arrived.wait()

    def receive(self, response: speech_service_pb2.StreamingRecognizeResponse) -> Event | None:
        """A message of the server as an event."""
        self._accepted.set()
        return self._log.receive(response)

    def started(self, cancel: Callable[[], object]) -> None:
        """The call runs, and this ends it; the chunks may have failed already."""
        self._cancel = cancel
        if self.kept.error:
            cancel()


async def _each(chunks: Iterable[Item] | AsyncIterable[Item]) -> AsyncIterator[Item]:
    if isinstance(chunks, AsyncIterable):
        async for chunk in chunks:
            yield chunk
        return
    for chunk in chunks:
        yield chunk
        await asyncio.sleep(0)  # a long file must not keep the loop from everybody else
