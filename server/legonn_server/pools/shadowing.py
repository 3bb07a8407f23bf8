"""Versions that hear copies of finished segments and are compared; nobody gets what they say.

One segment at a time, behind everything else, from a short queue that drops when it is full: the
callers of the versions in service wait for none of it. Numbers are kept, never text or audio.
"""

from __future__ import annotations

import asyncio
import contextlib

import numpy as np

from legonn_core.errors import LegonnError
from legonn_core.interface import codec
from legonn_core.interface.marginals import Marginals
from legonn_core.runtime.messages import DecodeJob, DecodeKind, EncodeStep, ModuleRef, SlotRef
from legonn_server.backends.protocol import Backend
from legonn_server.pools.outcomes import SegmentCopy, samples_of
from legonn_server.pools.pins import Pins
from legonn_server.routing.trials import ShadowPlan
from legonn_server.telemetry.metrics import Metrics

MAX_WAITING = 4
CLASSES = 2**16


class Shadowing:
    """See the module's docstring.

    Args:
        backend: What runs the modules.
        pins: Who uses which version.
        metrics: Where the comparison goes.
    """

    def __init__(self, backend: Backend, pins: Pins, metrics: Metrics) -> None:
        self._backend = backend
        self._pins = pins
        self._metrics = metrics
        self._waiting: asyncio.Queue[tuple[SegmentCopy, ShadowPlan]] = asyncio.Queue(MAX_WAITING)

    def offer(self, copied: SegmentCopy, plan: ShadowPlan) -> None:
        """Take a segment, or drop it if too many wait."""
        if self._waiting.full():
            self._metrics.shadow_segments.labels("dropped").inc()
        else:
            self._waiting.put_nowait((copied, plan))

    async def run(self) -> None:
        """Compare until cancelled."""
        while True:
            copied, plan = await self._waiting.get()
            try:
                with self._pins.held(plan.encoder, plan.decoder):
                    await self._compare(copied, plan)
            except LegonnError:
                outcome = "failed"
            else:
                outcome = "compared"
            self._metrics.shadow_segments.labels(outcome).inc()

    async def _compare(self, copied: SegmentCopy, plan: ShadowPlan) -> None:
        blocks = copied.blocks
        if plan.encoder != copied.pair.encoder.ref:
            blocks = await self._encode(copied, plan.encoder)
            divergence = await asyncio.to_thread(mean_divergence, copied.blocks, blocks)
            if divergence is not None:
                labels = (plan.encoder.name, plan.encoder.version)
                self._metrics.shadow_divergence.labels(*labels).observe(divergence)
        job = DecodeJob(
            module=plan.decoder,
            marginals=blocks,
            kind=DecodeKind.TEXT,
            ctc_weight=copied.pair.encoder.ctc_weight,
            length_bonus=copied.pair.encoder.length_bonus,
        )
        found = await self._backend.decode(job)
        ratio = word_edit_ratio(copied.text.split(), found.hypotheses[0].text.split())
        named = plan.encoder if plan.encoder != copied.pair.encoder.ref else plan.decoder
        self._metrics.shadow_edit_ratio.labels(named.name, named.version).observe(ratio)

    async def _encode(self, copied: SegmentCopy, encoder: ModuleRef) -> tuple[bytes, ...]:
        """The same audio through another encoder, in chunks of the same size."""
        slot = await self._backend.open(encoder)
        try:
            return await self._chunks(copied, slot)
        finally:
            with contextlib.suppress(LegonnError):
                await self._backend.close_slot(slot)

    async def _chunks(self, copied: SegmentCopy, slot: SlotRef) -> tuple[bytes, ...]:
        samples = samples_of(copied)
        size = copied.pair.encoder.chunk_samples or len(samples)
        blocks = []
        for seq, start in enumerate(range(0, len(samples), size)):
            chunk = samples[start : start + size]
            is_last = start + size >= len(samples)
            result = await self._backend.step(EncodeStep(slot, seq, chunk, is_last=is_last))
            if result.num_rows:
                blocks.append(result.marginals)
            await asyncio.sleep(0)
        return tuple(blocks)


def mean_divergence(served: tuple[bytes, ...], beside: tuple[bytes, ...]) -> float | None:
    """Mean Kullback-Leibler divergence in nats of rows at the same place, as far as both go.

    Classes that a row does not list share its tail; None if there is nothing to compare.
    """
    try:
        ours = Marginals.concatenate([codec.decode(block) for block in served])
        theirs = Marginals.concatenate([codec.decode(block) for block in beside])
    except (LegonnError, ValueError):
        return None
    rows = min(len(ours), len(theirs))
    if not rows:
        return None
    total = 0.0
    for row in range(rows):
        listed = dict(zip(theirs.ids[row].tolist(), theirs.log_probs[row].tolist(), strict=True))
        rest = float(np.log(max(float(theirs.tail[row]), 1e-6)))
        log_p = ours.log_probs[row].astype(np.float64)
        log_q = np.array([listed.get(token, rest) for token in ours.ids[row].tolist()])
        total += float((np.exp(log_p) * (log_p - log_q)).sum())
    return max(total / rows, 0.0)


def word_edit_ratio(served: list[str], beside: list[str]) -> float:
    """Word edits from one text to the other, by the words of the first; at most 1."""
    previous = list(range(len(beside) + 1))
    for i, word in enumerate(served, start=1):
        current = [i]
        for j, other in enumerate(beside, start=1):
            change = previous[j - 1] + (word != other)
            current.append(min(change, previous[j] + 1, current[-1] + 1))
        previous = current
    return min(previous[-1] / max(len(served), 1), 1.0)
