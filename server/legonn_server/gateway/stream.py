"""Runs one session machine: reads events, carries out commands, writes answers.

Three tasks share the machine and nothing else: the reader stops while too much audio waits, the
worker has one backend call in flight, the writer hands emissions to the caller. Whatever ends the
stream, its slots are given back.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field, replace
from time import perf_counter

from legonn_core.errors import (
    BackendDown,
    BrokenInvariant,
    InternalFault,
    LegonnError,
    ModuleDraining,
    StateLost,
    UnknownModule,
)
from legonn_core.runtime.messages import DecodedText, DecodeKind, SlotRef
from legonn_server.gateway.arrivals import Arrivals
from legonn_server.gateway.outbox import Outbox
from legonn_server.pools.decoder_pool import DecoderPool
from legonn_server.pools.encoder_pool import EncoderPool
from legonn_server.pools.module_manager import Pair
from legonn_server.pools.outcomes import Outcomes, SegmentRecord
from legonn_server.pools.pins import Pins
from legonn_server.session import commands as c
from legonn_server.session import events as e
from legonn_server.session.endpoint import EndReason
from legonn_server.session.machine import SessionMachine
from legonn_server.session.promises import Promise, PromiseGuard
from legonn_server.session.table import State
from legonn_server.telemetry.flicker import TailWords
from legonn_server.telemetry.metrics import Metrics
from legonn_server.telemetry.traces import current_trace

Emit = Callable[[c.Command], Awaitable[None]]
_WORK = (c.OpenSlot, c.EncodeChunk, c.DecodeSegment, c.CloseSlot)
_MAX_FLUSHES = 64


@dataclass(frozen=True, slots=True)
class Workers:
    """Those who carry out what machines command.

    Attributes:
        suspects: Held for each call of a segment with which an engine died: two of them never run
            together, so that the innocent one is not blamed a second time.
        pins: Who uses which module version.
        outcomes: Told how segments ended.
    """

    encoders: EncoderPool
    decoders: DecoderPool
    metrics: Metrics
    suspects: asyncio.Lock = field(default_factory=asyncio.Lock)
    pins: Pins = field(default_factory=Pins)
    outcomes: Outcomes = field(default_factory=Outcomes)


class StreamRunner:
    """See the module's docstring.

    Args:
        machine: The session; events of the caller come through ``run``.
        workers: Who does the work.
        find_pair: The modules for a new segment, by the routes of that moment.
        max_pending_s: Audio that may wait before the reader stops.
        max_unsent: Answers that may wait for a caller who does not read.
        present: What is shown of a hypothesis.
    """

    def __init__(
        self,
        machine: SessionMachine,
        workers: Workers,
        *,
        find_pair: Callable[[], Pair],
        max_pending_s: float,
        max_unsent: int = 1_000,
        present: Callable[[DecodedText], DecodedText] = lambda one: one,
    ) -> None:
        self._machine = machine
        self._workers = workers
        self._find_pair = find_pair
        self._max_pending_s = max_pending_s
        self._present = present
        self._work: asyncio.Queue[c.Command] = asyncio.Queue()
        self._outbox: Outbox[c.Command] = Outbox(max_unsent)
        self._credit = asyncio.Event()
        self._slots: set[SlotRef] = set()
        self._pinned: tuple[int, Pair] | None = None
        self._record = SegmentRecord(workers.outcomes)
        self._reading: asyncio.Task[None] | None = None
        self._is_draining = False
        self._is_cut = False
        self._has_partials = False
        self._is_shown = False
        self._final_asked = 0.0
        # Of flushes whose finals are to come; those that find nothing to end have none.
        self._flushed_at: deque[float] = deque(maxlen=_MAX_FLUSHES)
        self._arrivals = Arrivals()
        self._guard = PromiseGuard()
        self._tail_words = TailWords(workers.metrics)

    @property
    def backlog_s(self) -> float:
        """Seconds of audio received and not yet given to the encoder."""
        return self._machine.backlog_s

    @property
    def num_unsent(self) -> int:
        """Answers that wait for the caller to read."""
        return len(self._outbox)

    @property
    def ring_bytes(self) -> int:
        """Audio kept to be played again."""
        return self._machine.held_bytes

    @property
    def has_segment(self) -> bool:
        """Whether a slot is held."""
        return bool(self._slots)

    async def run(self, events: AsyncIterator[e.Event], emit: Emit) -> None:
        """Live until everything is written, the stream fails, or the caller leaves.

        Raises:
            LegonnError: Why the stream cannot go on, possibly inside an ExceptionGroup.
        """
        try:
            async with asyncio.TaskGroup() as group:
                self._reading = group.create_task(self._read(events))
                working = group.create_task(self._carry_out())
                await self._write(emit)
                self._reading.cancel()
                working.cancel()
        finally:
            self._unpin()
            for slot in tuple(self._slots):
                await self._close(slot)

    def drain(self, *, grace_s: float) -> None:
        """Hand the session on: at once in a pause, else when the final of what is said is out.

        The caller is told, and takes the session up elsewhere from its last final; nothing after
        that was promised to it. A caller who ended its audio gets all of its answers here.
        """
        if self._is_draining or self._machine.state is State.DRAINING:
            return
        self._is_draining = True
        if self._machine.state is State.STREAMING:
            self._outbox.put(c.EmitDraining(grace_s))
        if not self._is_in_segment:
            self.end(_leaving(), drops_unsent=False)

    def cut(self) -> None:
        """The grace is over: no more audio, a final for what is here, then ``ModuleDraining``."""
        if self._is_draining and self._machine.state is State.STREAMING:
            self._is_cut = True
            if self._reading is not None:
                self._reading.cancel()
            self._receive(e.InputEnded())

    @property
    def _hands_on(self) -> bool:
        """Whether a final just written is the last word here; not if the caller is done anyway."""
        is_at_boundary = self._machine.state is State.STREAMING and not self._is_shown
        return self._is_draining and is_at_boundary

    @property
    def _is_in_segment(self) -> bool:
        """Whether text was shown whose final is not out; without partials, whether one may come."""
        return self._is_shown if self._has_partials else bool(self._slots)

    def end(self, error: LegonnError, *, drops_unsent: bool = True) -> None:
        """End the stream with an error; what still waits to be written is not, unless wished."""
        if self._reading is not None:
            self._reading.cancel()
        if drops_unsent:
            self._outbox.clear()
        self._outbox.put(c.Fail(error))

    async def _read(self, events: AsyncIterator[e.Event]) -> None:
        async for event in events:
            match event:
                case e.AudioReceived(samples):
                    self._arrivals.add(len(samples), perf_counter())
                case e.Flushed():
                    self._flushed_at.append(perf_counter())
                case e.Opened(interim_results=wished):
                    self._has_partials = wished
            self._guard.hear(event)
            self._receive(event)
            while (
                self._machine.backlog_s > self._max_pending_s
                or self._machine.num_marks > _MAX_FLUSHES
            ):
                self._credit.clear()
                await self._credit.wait()
        self._receive(e.InputEnded())

    def _receive(self, event: e.Event) -> None:
        for command in self._machine.receive(event):
            if isinstance(command, c.EmitFinal) and self._pinned is not None:
                self._record.finished(
                    command.hypotheses[0].text, perf_counter() - self._final_asked
                )
            if isinstance(command, _WORK):
                self._work.put_nowait(command)
            else:
                if isinstance(command, (c.EmitPartial, c.EmitFinal, c.EmitCancelled)):
                    self._is_shown = isinstance(command, c.EmitPartial)
                self._outbox.put(command)
        if self._pinned is not None and self._machine.open_segment != self._pinned[0]:
            self._unpin()
        self._credit.set()

    async def _write(self, emit: Emit) -> None:
        while True:
            command = await self._outbox.get()
            if isinstance(command, c.Fail):
                if isinstance(command.error, BrokenInvariant):
                    self._count_broken(Promise.INTERNAL)
                raise command.error
            if isinstance(command, c.CloseStream) and self._is_cut:
                raise _leaving()
            self._keep_promises(command)
            started = perf_counter()
            await emit(command)
            self._count(command)
            self._trace(command, started)
            if isinstance(command, c.CloseStream):
                return
            if isinstance(command, c.EmitFinal) and self._hands_on:
                raise _leaving()

    def _keep_promises(self, command: c.Command) -> None:
        promise = self._guard.broken(command)
        if promise is not None:
            self._count_broken(promise)
            raise BrokenInvariant(f"an answer would have broken the promise {promise.value}")

    def _count_broken(self, promise: Promise) -> None:
        self._workers.metrics.invariant_violations.labels(promise.value).inc()

    def _trace(self, written: c.Command, started: float) -> None:
        """Note what was written in the call's trace, if it has one."""
        trace = current_trace.get()
        if trace is None:
            return
        trace.stage("write", started, message=type(written).__name__.removeprefix("Emit"))
        if isinstance(written, c.EmitFinal):
            trace.segment(written.segment_index, replays=written.replays)

    def _count(self, written: c.Command) -> None:
        metrics = self._workers.metrics
        now = perf_counter()
        match written:
            case c.EmitPartial(stable_text=stable, tail_text=tail, end_sample=end):
                self._tail_words.partial(stable, tail)
                came = self._arrivals.completed(end)
                if came is not None:
                    metrics.partial_latency.observe(now - came)
            case c.EmitFinal(reason=reason, hypotheses=hypotheses):
                self._tail_words.final(hypotheses[0].text)
                metrics.finals.labels(reason.name.lower()).inc()
                if self._final_asked:
                    metrics.final_latency.observe(now - self._final_asked)
                if reason is EndReason.FLUSH and self._flushed_at:
                    metrics.flush_latency.observe(now - self._flushed_at.popleft())

    async def _carry_out(self) -> None:
        while True:
            command = await self._work.get()
            if isinstance(command, c.CloseSlot):
                await self._close(command.slot)
            elif isinstance(command, (c.OpenSlot, c.EncodeChunk, c.DecodeSegment)):
                if self._machine.is_suspect:
                    async with self._workers.suspects:
                        event = await self._attempt(command)
                else:
                    event = await self._attempt(command)
                self._receive(event)

    async def _attempt(self, command: c.OpenSlot | c.EncodeChunk | c.DecodeSegment) -> e.Event:
        """One call to the backend; what another attempt may mend becomes an event."""
        try:
            match command:
                case c.OpenSlot():
                    return await self._open(command)
                case c.EncodeChunk(ticket, step):
                    encoded = await self._workers.encoders.step(
                        step, sample_rate=self._machine.sample_rate
                    )
                    self._record.heard(step, encoded.marginals, encoded.blank_probs)
                    return e.MarginalsArrived(ticket, encoded)
                case c.DecodeSegment(ticket, job):
                    is_final = job.kind is DecodeKind.FINAL
                    if is_final:
                        self._final_asked = perf_counter()
                    decoded = await self._workers.decoders.submit(job)
                    shown = tuple(self._present(one) for one in decoded.hypotheses)
                    arrived = e.FinalArrived if is_final else e.CommitArrived
                    return arrived(ticket, replace(decoded, hypotheses=shown))
        except InternalFault:
            self._record.failed()
            raise
        except (BackendDown, StateLost) as error:
            if isinstance(error, BackendDown) and error.was_running:
                self._record.failed()
            self._workers.metrics.replays.labels(error.reason.lower()).inc()
            trace = current_trace.get()
            if trace is not None:
                trace.keep()
            return e.WorkLost(command.ticket, error)
        except UnknownModule as error:
            # The drain of a version waited long enough: the segment is heard again on others.
            if isinstance(command, c.DecodeSegment) and self._workers.pins.are_retired(
                command.job.module
            ):
                return e.WorkLost(command.ticket, error, needs_new_pair=True)
            raise

    async def _open(self, command: c.OpenSlot) -> e.Event:
        encoder, decoder = command.encoder, command.decoder
        is_retired = self._workers.pins.are_retired
        if encoder is None or decoder is None or is_retired(encoder.ref, decoder.ref):
            pair = self._find_pair()
        elif self._pinned is not None and self._pinned[0] == command.ticket.segment:
            pair = self._pinned[1]
        else:
            pair = Pair(encoder, decoder)
        self._record.opened(pair)
        if self._pinned is None or self._pinned[1] != pair:
            self._unpin()
            self._pinned = (command.ticket.segment, pair)
            self._workers.pins.take(pair.encoder.ref, pair.decoder.ref)
        slot = await self._workers.encoders.open(pair.encoder)
        self._slots.add(slot)
        return e.SlotOpened(command.ticket, slot, pair.encoder, pair.decoder)

    def _unpin(self) -> None:
        """The segment that used two versions is over."""
        if self._pinned is not None:
            pair = self._pinned[1]
            self._workers.pins.drop(pair.encoder.ref, pair.decoder.ref)
            self._pinned = None

    async def _close(self, slot: SlotRef) -> None:
        if slot in self._slots:
            self._slots.discard(slot)
            await self._workers.encoders.close(slot)


def _leaving() -> ModuleDraining:
    return ModuleDraining("the server is about to stop; finals up to here are complete")
