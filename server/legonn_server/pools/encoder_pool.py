"""The encoders of a backend, with what they did counted."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from time import perf_counter

import prometheus_client

from legonn_core.runtime.messages import (
    EncodeResult,
    EncodeStep,
    EncodeText,
    ModuleDescription,
    ModuleRef,
    SlotRef,
)
from legonn_server.backends.protocol import Backend
from legonn_server.telemetry.metrics import Metrics
from legonn_server.telemetry.traces import current_trace


@dataclass(frozen=True, slots=True)
class _Series:
    """The metrics of one version, looked up once: a look-up costs more than what it counts."""

    step: prometheus_client.Histogram
    audio: prometheus_client.Counter
    rows: prometheus_client.Counter
    blank_rows: prometheus_client.Counter


class EncoderPool:
    """Opens and closes slots, sends chunks and sentences to the replica that serves them.

    One backend is one replica in this version, so there is nothing to choose between yet.
    """

    def __init__(self, backend: Backend, metrics: Metrics) -> None:
        self._backend = backend
        self._metrics = metrics
        self._num_open: Counter[ModuleRef] = Counter()
        self._series: dict[ModuleRef, _Series] = {}
        self._generation = metrics.generation

    async def open(self, encoder: ModuleDescription) -> SlotRef:
        """Take a slot; whoever opened it must close it."""
        slot = await self._backend.open(encoder.ref)
        self._hold(encoder.ref, 1)
        return slot

    async def step(self, request: EncodeStep, *, sample_rate: int) -> EncodeResult:
        """Feed one chunk."""
        started = perf_counter()
        result = await self._backend.step(request)
        series = self._of(request.slot.module)
        series.step.observe(perf_counter() - started)
        series.audio.inc(len(request.samples) / sample_rate)
        trace = current_trace.get()
        if trace is not None:
            module = str(request.slot.module)
            trace.stage("encode", started, module=module, seq=request.seq, rows=result.num_rows)
        _count_rows(series, result)
        return result

    async def close(self, slot: SlotRef) -> None:
        """Give a slot back."""
        self._hold(slot.module, -1)
        await self._backend.close_slot(slot)

    async def encode_text(self, request: EncodeText) -> EncodeResult:
        """Encode one sentence."""
        started = perf_counter()
        result = await self._backend.encode_text(request)
        series = self._of(request.module)
        series.step.observe(perf_counter() - started)
        trace = current_trace.get()
        if trace is not None:
            trace.stage("encode", started, module=str(request.module), rows=result.num_rows)
        _count_rows(series, result)
        return result

    def _hold(self, ref: ModuleRef, change: int) -> None:
        # Set, not counted up: the series of an unloaded version went, and must not come back at -1.
        self._num_open[ref] += change
        self._metrics.encoder_slots.labels(ref.name, ref.version).set(self._num_open[ref])

    def _of(self, ref: ModuleRef) -> _Series:
        metrics = self._metrics
        if self._generation != metrics.generation:
            # A version's series went: what is kept of it would count where nobody looks.
            self._series.clear()
            self._generation = metrics.generation
        if ref not in self._series:
            labels = (ref.name, ref.version)
            self._series[ref] = _Series(
                metrics.encoder_step.labels(*labels),
                metrics.audio_processed.labels(ref.name),
                metrics.interface_rows.labels(*labels),
                metrics.interface_blank_rows.labels(*labels),
            )
        return self._series[ref]


def _count_rows(series: _Series, result: EncodeResult) -> None:
    """What crossed the interface; texts come without a blank probability a row."""
    series.rows.inc(result.num_rows)
    series.blank_rows.inc(sum(blank > 0.5 for blank in result.blank_probs))
