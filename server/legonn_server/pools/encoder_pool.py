"""The encoders of a backend, with what they did counted."""

from __future__ import annotations

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

    async def open(self, encoder: ModuleDescription) -> SlotRef:
        """Take a slot; whoever opened it must close it."""
        slot = await self._backend.open(encoder.ref)
        self._metrics.encoder_slots.labels(encoder.ref.name, encoder.ref.version).inc()
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
        self._metrics.encoder_slots.labels(slot.module.name, slot.module.version).dec()
        await self._backend.close_slot(slot)

    async def encode_text(self, request: EncodeText) -> EncodeResult:
        """Encode one sentence."""
        started = perf_counter()
        result = await self._backend.encode_text(request)
        ref = request.module
        self._metrics.encoder_step.labels(ref.name, ref.version).observe(perf_counter() - started)
        self._count_rows(ref, result)
        return result

    def _count_rows(self, ref: ModuleRef, result: EncodeResult) -> None:
        """What crossed the interface; texts come without a blank probability a row."""
        labels = (ref.name, ref.version)
        self._metrics.interface_rows.labels(*labels).inc(result.num_rows)
        num_blank = sum(blank > 0.5 for blank in result.blank_probs)
        self._metrics.interface_blank_rows.labels(*labels).inc(num_blank)
