from __future__ import annotations

import asyncio

import pytest
from prometheus_client import CollectorRegistry

from legonn_core.errors import QueueFull
from legonn_core.interface.reference import ModuleRef
from legonn_core.runtime.messages import DecodeJob, DecodeKind, DecodeResult
from legonn_server.pools.decoder_pool import DecoderLimits, DecoderPool
from legonn_server.telemetry.metrics import Metrics


class Held:
    """A backend that answers when it is told to."""

    def __init__(self) -> None:
        self.jobs: list[DecodeKind] = []
        self.may_answer = asyncio.Event()

    async def decode(self, job: DecodeJob) -> DecodeResult:
        self.jobs.append(job.kind)
        await self.may_answer.wait()
        return DecodeResult(())


def job(kind: DecodeKind) -> DecodeJob:
    return DecodeJob(ModuleRef("decoder-en", "1"), (), kind=kind)


async def test_live_jobs_pass_texts_that_wait_and_a_full_queue_refuses() -> None:
    backend = Held()
    metrics = Metrics(CollectorRegistry())
    pool = DecoderPool(backend, metrics, DecoderLimits(max_in_flight=2, max_waiting=1))
    texts = [asyncio.create_task(pool.submit(job(DecodeKind.TEXT))) for _ in range(3)]
    await asyncio.sleep(0)
    with pytest.raises(QueueFull, match="1 decodes wait"):
        await pool.submit(job(DecodeKind.BULK))
    live = [asyncio.create_task(pool.submit(job(k))) for k in (DecodeKind.FINAL, DecodeKind.COMMIT)]
    await asyncio.sleep(0)
    assert backend.jobs == [
        DecodeKind.TEXT,
        DecodeKind.TEXT,
        DecodeKind.FINAL,
        DecodeKind.COMMIT,
    ]
    backend.may_answer.set()
    assert len(await asyncio.gather(*texts, *live)) == 5
