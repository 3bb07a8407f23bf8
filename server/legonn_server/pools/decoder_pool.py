"""What stands before the decoders: live jobs pass, texts wait in a queue with a bound."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from time import perf_counter

from legonn_core.errors import QueueFull
from legonn_core.runtime.messages import DecodeJob, DecodeResult
from legonn_core.runtime.plan import LIVE
from legonn_server.backends.protocol import Backend
from legonn_server.telemetry.metrics import Metrics


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


class DecoderPool:
    """The replicas of the decoders behind one ``submit``."""

    def __init__(self, backend: Backend, metrics: Metrics, limits: DecoderLimits) -> None:
        self._backend = backend
        self._metrics = metrics
        self._limits = limits
        self._in_flight = asyncio.Semaphore(limits.max_in_flight)
        self._num_waiting = 0

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
        kind = job.kind.name.lower()
        self._metrics.decoder_queue.labels(kind).observe(perf_counter() - started)
        with self._metrics.decoder_in_flight.track_inprogress():
            result = await self._backend.decode(job)
        labels = (job.module.name, job.module.version, kind)
        self._metrics.decoder_duration.labels(*labels).observe(perf_counter() - started)
        return result
