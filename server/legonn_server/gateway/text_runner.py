"""Runs one text machine: reads events, has segments translated, keeps its alarm, writes answers.

Segments are translated side by side, one call each; a newer call of a segment ends the older one,
so that nothing is decoded that nobody waits for.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

from legonn_core.errors import (
    BackendDown,
    BrokenInvariant,
    InternalFault,
    LegonnError,
    ModuleDraining,
    StateLost,
)
from legonn_server.gateway.outbox import Outbox
from legonn_server.pools.module_manager import Pair
from legonn_server.session import events as e
from legonn_server.session import text_messages as t
from legonn_server.session.commands import Fail
from legonn_server.session.promises import Promise, TextPromiseGuard
from legonn_server.session.table import State
from legonn_server.session.text_machine import TextMachine

Emit = Callable[[t.TextCommand], Awaitable[None]]
Read = Callable[[t.ReadText, Pair], Awaitable[t.TextReading]]


class TextRunner:
    """See the module's docstring.

    Args:
        machine: The session; events of the caller come through ``run``.
        read: Translates the text of a command.
        find_pair: The modules for a new segment, by the routes of that moment.
        max_pending: Characters that may wait for their final before the reader stops.
        max_unsent: Answers that may wait for a caller who does not read.
        is_retired: Whether one of some module versions left memory.
        on_broken: Told each promise that an answer would have broken.
    """

    def __init__(
        self,
        machine: TextMachine,
        *,
        read: Read,
        find_pair: Callable[[], Pair],
        max_pending: int,
        max_unsent: int = 1_000,
        is_retired: Callable[..., bool] = lambda *_: False,
        on_broken: Callable[[Promise], None] = lambda _: None,
    ) -> None:
        self._machine = machine
        self._translate = read
        self._find_pair = find_pair
        self._max_pending = max_pending
        self._is_retired = is_retired
        self._on_broken = on_broken
        self._guard = TextPromiseGuard()
        self._outbox: Outbox[t.TextCommand] = Outbox(max_unsent)
        self._changed = asyncio.Event()
        self._calls: dict[int, asyncio.Task[None]] = {}
        self._group = asyncio.TaskGroup()
        self._reading: asyncio.Task[None] | None = None
        self._is_draining = False

    async def run(self, events: AsyncIterator[t.TextEvent], emit: Emit) -> None:
        """Live until everything is written, the stream fails, or the caller leaves.

        Raises:
            LegonnError: Why the stream cannot go on, possibly inside an ExceptionGroup.
        """
        async with self._group as group:
            self._reading = group.create_task(self._read(events))
            waking = group.create_task(self._wake())
            await self._write(emit)
            for task in (self._reading, waking, *self._calls.values()):
                task.cancel()

    def drain(self) -> None:
        """Take no more text: finals for what is here, then ``ModuleDraining``."""
        self._is_draining = True
        if self._reading is not None:
            self._reading.cancel()
        if self._machine.state is State.STREAMING:
            self._receive(e.InputEnded())

    async def _read(self, events: AsyncIterator[t.TextEvent]) -> None:
        async for event in events:
            self._guard.hear(event)
            self._receive(event)
            while self._machine.backlog > self._max_pending:
                self._changed.clear()
                await self._changed.wait()
        self._receive(e.InputEnded())

    def _receive(self, event: t.TextEvent) -> None:
        for command in self._machine.receive(event):
            if isinstance(command, t.ReadText):
                self._start(command)
            else:
                self._outbox.put(command)
        self._changed.set()

    def _start(self, command: t.ReadText) -> None:
        older = self._calls.get(command.ticket.segment)
        if older is not None:
            older.cancel()
        task = self._group.create_task(self._attempt(command))
        self._calls[command.ticket.segment] = task
        task.add_done_callback(lambda _: self._forget(command.ticket.segment, task))

    def _forget(self, segment: int, task: asyncio.Task[None]) -> None:
        if self._calls.get(segment) is task:
            del self._calls[segment]

    async def _attempt(self, command: t.ReadText) -> None:
        """One call; what concerns this text alone or may be mended becomes an event."""
        try:
            pair = self._pair(command)
            reading = await self._translate(command, pair)
        except (BackendDown, StateLost) as error:
            self._receive(t.TextLost(command.ticket, error))
        except InternalFault:
            raise
        except LegonnError as error:
            self._receive(t.TextRefused(command.ticket, error))
        else:
            now = asyncio.get_running_loop().time()
            self._receive(t.TextRead(command.ticket, reading, now))

    def _pair(self, command: t.ReadText) -> Pair:
        """The segment's own modules, or those in service if it has none or they left memory."""
        encoder, decoder = command.encoder, command.decoder
        if encoder is None or decoder is None or self._is_retired(encoder.ref, decoder.ref):
            return self._find_pair()
        return Pair(encoder, decoder)

    async def _wake(self) -> None:
        """Tell the machine when its time has come."""
        loop = asyncio.get_running_loop()
        while True:
            due = self._machine.next_due
            self._changed.clear()
            try:
                async with asyncio.timeout_at(due):
                    await self._changed.wait()
            except TimeoutError:
                self._receive(t.Ticked(loop.time()))

    async def _write(self, emit: Emit) -> None:
        while True:
            command = await self._outbox.get()
            if isinstance(command, Fail):
                if isinstance(command.error, BrokenInvariant):
                    self._on_broken(Promise.INTERNAL)
                raise command.error
            if isinstance(command, t.CloseText) and self._is_draining:
                raise ModuleDraining("the server is about to stop; finals up to here are complete")
            promise = self._guard.broken(command)
            if promise is not None:
                self._on_broken(promise)
                raise BrokenInvariant(f"an answer would have broken the promise {promise.value}")
            await emit(command)
            if isinstance(command, t.CloseText):
                return
