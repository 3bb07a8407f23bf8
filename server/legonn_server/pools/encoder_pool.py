"""The encoders of a backend, with what they did counted."""

from __future__ import annotations

from collections import Counter
from time import perf_counter

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


class EncoderPool:
    """Opens and closes slots, sends chunks and sentences to the replica that serves them.

    One backend is one replica in this version, so there is nothing to choose between yet.
    """

    def __init__(self, backend: Backend, metrics: Metrics) -> None:
        self._backend = backend
        self._metrics = metrics
        self._num_open: Counter[ModuleRef] = Counter()

    async def open(self, encoder: ModuleDescription) -> SlotRef:
        """Take a slot; whoever opened it must close it."""
        slot = await self._backend.open(encoder.ref)
        self._hold(encoder.ref, 1)
        return slot

    async def step(self, request: EncodeStep, *, sample_rate: int) -> EncodeResult:
        """Feed one chunk."""
        started = perf_counter()
        result = await self._backend.step(request)
        ref = request.slot.module
        self._metrics.encoder_step.labels(ref.name, ref.version).observe(perf_counter() - started)
        self._metrics.audio_processed.labels(ref.name).inc(len(request.samples) / sample_rate)
        self._count_rows(ref, result)
        return result

    async def close(self, slot: SlotRef) -> None:
        """Give a slot back."""
        self._hold(slot.module, -1)
        await self._backend.close_slot(slot)

    async def encode_text(self, request: EncodeText) -> EncodeResult:
        """Encode one sentence."""
        started = perf_counter()
        result = await self._backend.encode_text(request)
        ref = request.module
        self._metrics.encoder_step.labels(ref.name, ref.version).observe(perf_counter() - started)
        self._count_rows(ref, result)
        return result

    def _hold(self, ref: ModuleRef, change: int) -> None:
        # Set, not counted up: the series of an unloaded version went, and must not come back at -1.
        self._num_open[ref] += change
        self._metrics.encoder_slots.labels(ref.name, ref.version).set(self._num_open[ref])

    def _count_rows(self, ref: ModuleRef, result: EncodeResult) -> None:
        """What crossed the interface; texts come without a blank probability a row."""
        labels = (ref.name, ref.version)
        self._metrics.interface_rows.labels(*labels).inc(result.num_rows)
        num_blank = sum(blank > 0.5 for blank in result.blank_probs)
        self._metrics.interface_blank_rows.labels(*labels).inc(num_blank)
