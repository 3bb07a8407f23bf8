"""Plays a scenario with several generator processes and gathers what they saw."""

from __future__ import annotations

import asyncio
import json
import math
import os
import platform
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from legonn_core.scoring.scores import translation_scores, word_error_rate
from legonn_loadtest.load.scenario import Scenario, as_tables
from legonn_loadtest.load.server import Served, increase, scrape
from legonn_loadtest.load.tally import PERCENTILES, Tally

START_DELAY_S = 2.0
"""Generators import and connect before the first stream begins."""

LATE_SHARE = 0.25
"""Of a message's length: a generator that is later (p99) did not play what was asked."""

SERVER_COUNTERS = (
    "process_cpu_seconds_total",
    "engine_process_cpu_seconds_total",
    "legonn_audio_received_seconds_total",
    "legonn_audio_processed_seconds_total",
    "legonn_finals_total",
    "legonn_replays_total",
    "legonn_errors_total",
    "legonn_admission_rejected_total",
    "legonn_invariant_violations_total",
    "legonn_event_loop_lag_seconds_sum",
    "legonn_event_loop_lag_seconds_count",
)
SERVER_GAUGES = (
    "process_resident_memory_bytes",
    "engine_process_resident_memory_bytes",
    "legonn_ring_bytes",
    "process_open_fds",
)


class GeneratorFailed(Exception):
    """A generator process that ended without a result."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """A run: what was asked, what was seen, and whether the limits held.

    Attributes:
        tally: All processes together.
        generator_shares: CPU of each process, as a share of a core.
        server: What /metrics says grew, and what it says at the end; empty without a page.
        wall_s: How long it took.
    """

    scenario: Scenario
    tally: Tally
    generator_shares: tuple[float, ...]
    server: dict[str, float]
    wall_s: float
    started_at: str

    def percentile_ms(self, name: str, percentile: float) -> float:
        """Of a named latency, in milliseconds; NaN if there was none."""
        return self.tally.latencies.percentile_ms(name, percentile)

    @property
    def failed_share(self) -> float:
        """Streams and texts that failed."""
        counts = self.tally.counts
        return counts["failed"] / max(counts["streams"] + counts["texts"], 1)

    def breaches(self) -> list[str]:
        """The limits that did not hold; a broken promise is always one."""
        limits, found = self.scenario.limits, []
        for name, limit_ms in (
            ("partial", limits.lag_ms),
            ("segment_end_to_final", limits.final_ms),
            ("translation", limits.text_ms),
        ):
            value = self.percentile_ms(name, 95)
            if limit_ms and not math.isnan(value) and value > limit_ms:
                found.append(f"{name}: p95 is {value:.0f} ms, the limit {limit_ms:g} ms")
        if self.failed_share > limits.failed_share:
            found.append(f"{self.failed_share:.2%} failed, the limit is {limits.failed_share:.2%}")
        if self.tally.counts["broken_promises"]:
            found.append(f"{self.tally.counts['broken_promises']} broken promises")
        if self.server.get("legonn_invariant_violations_total"):
            found.append("the server's own guard found promises broken: see its metrics")
        found += self.tally.repeats.broken()
        return found

    @property
    def generator_is_busy(self) -> bool:
        """Whether the generators were so busy that the numbers say more of them."""
        return max(self.generator_shares, default=0) > self.scenario.limits.generator_share

    @property
    def generator_is_late(self) -> bool:
        """Whether messages left so late that the stream that was asked for was never played."""
        late_ms = self.percentile_ms("send_lateness", 99)
        return late_ms > LATE_SHARE * self.scenario.chunk_ms

    def as_json(self) -> dict[str, Any]:
        """Everything, to be kept."""
        tally = self.tally
        return {
            "format": 1,
            "started_at": self.started_at,
            "machine": {"cores": os.cpu_count(), "python": platform.python_version()},
            "scenario": as_tables(self.scenario),
            "wall_s": round(self.wall_s, 2),
            "generator_shares": [round(one, 3) for one in self.generator_shares],
            "generator_is_busy": self.generator_is_busy,
            "generator_is_late": self.generator_is_late,
            "breaches": self.breaches(),
            "counts": dict(sorted(tally.counts.items())),
            "broken": tally.broken[:20],
            "repeats": {
                "streams_compared": tally.repeats.num_compared,
                "streams_of_two_versions": tally.repeats.num_mixed,
                "recordings_that_differ": len(tally.repeats.broken()),
            },
            "latencies_ms": {
                name: {
                    "count": tally.latencies.count(name),
                    **{f"p{p:g}": round(self.percentile_ms(name, p), 2) for p in PERCENTILES},
                }
                for name in tally.latencies.names()
            },
            "histograms": tally.latencies.encoded(),
            "scores": scores(tally),
            "server": self.server,
        }


def scores(tally: Tally) -> dict[str, float]:
    """WER and BLEU of what was said under load, where references are known."""
    found = {}
    if tally.heard:
        references, texts = zip(*tally.heard, strict=True)
        found["WER"] = word_error_rate(references, texts).value
    if tally.translated:
        references, texts = zip(*tally.translated, strict=True)
        for score in translation_scores(references, texts):
            found[score.name] = score.value
    return found


async def run(scenario: Scenario, servers: Sequence[Served]) -> Outcome:
    """Play the scenario.

    Raises:
        GeneratorFailed: If a process did not come to its end.
    """
    started_at = datetime.now(UTC).isoformat(timespec="seconds")
    before = await _scrape_all(servers)
    began = time.monotonic() + START_DELAY_S
    addresses = [one.address for one in servers]
    tasks = [
        _generate(scenario, addresses, process=number, began=began)
        for number in range(scenario.processes)
    ]
    results = await asyncio.gather(*tasks)
    wall_s = time.monotonic() - began
    after = await _scrape_all(servers)
    tally = Tally()
    for result in results:
        tally.add(result)
    shares = tuple(result["cpu_seconds"] / wall_s for result in results)
    return Outcome(scenario, tally, shares, _server(before, after), wall_s, started_at)


async def _generate(
    scenario: Scenario, addresses: Sequence[str], *, process: int, began: float
) -> dict[str, Any]:
    job = {
        "scenario": as_tables(scenario),
        "addresses": list(addresses),
        "process": process,
        "began": began,
    }
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "legonn_loadtest.load.generator",
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    output, _ = await child.communicate(json.dumps(job).encode())
    if child.returncode:
        raise GeneratorFailed(f"generator {process} ended with {child.returncode}")
    result: dict[str, Any] = json.loads(output)
    return result


async def _scrape_all(servers: Sequence[Served]) -> list[dict[str, float]]:
    return [await scrape(one.metrics) for one in servers]


def _server(
    before: Sequence[dict[str, float]], after: Sequence[dict[str, float]]
) -> dict[str, float]:
    found: dict[str, float] = {}
    for old, new in zip(before, after, strict=True):
        if not new:
            continue
        for name in SERVER_COUNTERS:
            found[name] = round(found.get(name, 0.0) + increase(old, new, name), 4)
        for name in SERVER_GAUGES:
            found[name] = found.get(name, 0.0) + increase({}, new, name)
    return found
