"""/metrics beside a thousand open streams: as many series as beside ten, and soon written."""

from __future__ import annotations

import asyncio
import time
from contextlib import AsyncExitStack

from prometheus_client import generate_latest
from prometheus_client.parser import text_string_to_metric_families

from legonn_server.backends.fake import FakeScript
from legonn_server.routing.admission import AdmissionLimits
from tests.support.gateway import Running, audio, first, linear16, running, tone

MOST_SERIES = 2_000
MOST_BYTES = 256 << 10
SECOND = [audio(linear16(tone(1.0)))]


async def _opened(server: Running, number: int, stack: AsyncExitStack) -> None:
    """Open so many streams with a second of speech each, and wait for a partial of each."""

    async def one(index: int) -> None:
        call = server.speech.StreamingRecognize(metadata=(("x-request-id", f"caller-{index}"),))
        stack.callback(call.cancel)
        await call.write(first(interim_results=True))
        for message in SECOND:
            await call.write(message)
        while not (await call.read()).HasField("partial"):
            pass

    async with asyncio.timeout(120):
        for start in range(0, number, 50):
            await asyncio.gather(*(one(at) for at in range(start, min(start + 50, number))))


Series = dict[tuple[str, tuple[tuple[str, str], ...]], float]


def _scraped(server: Running) -> tuple[Series, int, float]:
    """Series with their values, bytes, and the milliseconds of CPU that it took to write them."""
    began = time.thread_time()
    page = generate_latest(server.gateway.metrics.registry)
    took = time.thread_time() - began
    series = {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(page.decode())
        for sample in family.samples
    }
    return series, len(page), 1000 * took


async def test_a_thousand_streams_add_no_series(record_property):
    async with (
        running(
            FakeScript(max_slots=1_100), admission=AdmissionLimits(max_streams=1_100)
        ) as server,
        AsyncExitStack() as stack,
    ):
        await _opened(server, 10, stack)
        few, _, _ = _scraped(server)
        while "legonn_module_pins" not in {name for name, _ in few}:  # looked at once a second
            await asyncio.sleep(0.2)
            few, _, _ = _scraped(server)
        await _opened(server, 990, stack)
        many, size, took_ms = _scraped(server)
        assert many["legonn_sessions_active", ()] == 1_000
        record_property("scrape_bytes", size)
        record_property("scrape_series", len(many))
        record_property("scrape_cpu_ms", took_ms)
        print(f"{len(many)} series, {size} bytes, {took_ms:.1f} ms of CPU a scrape")
        assert many.keys() == few.keys()
        assert len(many) < MOST_SERIES and size < MOST_BYTES
