"""What stands before the decoders: live jobs pass, texts wait in a queue with a bound."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from time import perf_counter

import prometheus_client

from legonn_core.errors import QueueFull
from legonn_core.runtime.messages import DecodeJob, DecodeKind, DecodeResult, ModuleRef
from legonn_core.runtime.plan import LIVE
from legonn_server.backends.protocol import Backend
from legonn_server.telemetry.metrics import Metrics
from legonn_server.telemetry.traces import current_trace


@dataclass(frozen=True, slots=True)
class DecoderLimits:
    """How much the decoders are given at once.

    Attributes:
        max_in_flight: Texts with the backend. Live jobs never wait here: their number is bounded by
            the sessions, and the engine takes them before texts.
        max_waiting: Texts behind them; more are refused.
    """

    max_in_flight: int = 32
    max_waiting: int = 1024

    def __post_init__(self) -> None:
        if self.max_in_flight < 1 or self.max_waiting < 0:
            raise ValueError("max_in_flight must be at least 1, max_waiting at least 0")


@dataclass(frozen=True, slots=True)
class _Series:
    """The metrics of one version's decodes of one kind, looked up once."""

    wait: prometheus_client.Histogram
    duration: prometheus_client.Histogram


class DecoderPool:
    """The replicas of the decoders behind one ``submit``."""

    def __init__(self, backend: Backend, metrics: Metrics, limits: DecoderLimits) -> None:
        self._backend = backend
        self._metrics = metrics
        self._limits = limits
        self._in_flight = asyncio.Semaphore(limits.max_in_flight)
        self._num_waiting = 0
        self._series: dict[tuple[ModuleRef, DecodeKind], _Series] = {}
        self._generation = metrics.generation

    async def submit(self, job: DecodeJob) -> DecodeResult:
        """Decode one segment.

        Raises:
            QueueFull: If too many jobs wait already.
        """
        started = perf_counter()
        if job.kind in LIVE:
            return await self._decode(job, started)
        if self._num_waiting >= self._limits.max_waiting:
            raise QueueFull(f"{self._num_waiting} decodes wait already")
        self._num_waiting += 1
        self._metrics.decoder_waiting.set(self._num_waiting)
        try:
            await self._in_flight.acquire()
        finally:
            self._num_waiting -= 1
            self._metrics.decoder_waiting.set(self._num_waiting)
        try:
            return await self._decode(job, started)
        finally:
            self._in_flight.release()

    async def _decode(self, job: DecodeJob, started: float) -> DecodeResult:
        series = self._of(job.module, job.kind)
        series.wait.observe(perf_counter() - started)
        in_flight = self._metrics.decoder_in_flight
        in_flight.inc()
        try:
            result = await self._backend.decode(job)
        finally:
            in_flight.dec()
        series.duration.observe(perf_counter() - started)
        trace = current_trace.get()
        if trace is not None:
            trace.stage("decode", started, module=str(job.module), kind=job.kind.name.lower())
        return result

    def _of(self, ref: ModuleRef, kind: DecodeKind) -> _Series:
        metrics = self._metrics
        if self._generation != metrics.generation:
            # A version's series went: what is kept of it would count where nobody looks.
            self._series.clear()
            self._generation = metrics.generation
        key = (ref, kind)
        if key not in self._series:
            name = kind.name.lower()
            self._series[key] = _Series(
                metrics.decoder_queue.labels(name),
                metrics.decoder_duration.labels(ref.name, ref.version, name),
            )
        return self._series[key]
