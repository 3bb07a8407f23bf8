"""``make soak MINUTES=N``: a server under changing load, and what grows in it.

One server with real modules. Streams come and go, one of them reads slowly, versions are swapped
back and forth, and in the first third the engine is killed now and then. Memory of gateway and
engine, open files, threads and slots are sampled throughout. At the end: a line through each, with
its error, and whether every recording came to the finals of an undisturbed stream on the same
versions. Exit code 1 if a promise was broken, a text differed, or something is left over.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import os
import platform
import signal
import sys
import time
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import legonn
from legonn_loadtest.load.scenario import SpeechLoad
from legonn_loadtest.load.server import Served, scrape, serving
from legonn_loadtest.load.sources import RATE_HERTZ, Clip, Repertoire, load_clips
from legonn_loadtest.promises import PromiseCheck
from legonn_loadtest.repeats import Repeats
from legonn_loadtest.slopes import Slope, slope

CHUNK_S = 0.32
SAMPLE_S = 2.0
SLOW_READ_S = 0.7
WARM_SHARE = 0.25
"""Of a process's life whose samples do not count: caches fill and pools are made."""

LEFT_OVER_WITHIN_S = 60.0


@dataclass(slots=True)
class Sample:
    """One look at the server.

    Attributes:
        at_s: From the beginning.
        engine: Process id of the engine; 0 while it is being started.
    """

    at_s: float
    engine: int
    gateway_bytes: int = 0
    gateway_files: int = 0
    gateway_threads: int = 0
    engine_bytes: int = 0
    engine_files: int = 0
    engine_threads: int = 0
    slots: float = 0.0


@dataclass(slots=True)
class Seen:
    """Everything that a run came to."""

    samples: list[Sample] = field(default_factory=list)
    repeats: Repeats = field(default_factory=Repeats)
    broken: list[str] = field(default_factory=list)
    streams: int = 0
    failed: int = 0
    refused: int = 0
    replays: int = 0
    swaps: int = 0
    failed_swaps: list[str] = field(default_factory=list)
    kills: int = 0


def looked_at(pid: int) -> tuple[int, int, int]:
    """Resident bytes, open files and threads of a process; zeros if it is gone."""
    folder = Path(f"/proc/{pid}")
    try:
        resident = int((folder / "statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
        files, threads = (
            len(list((folder / "fd").iterdir())),
            len(list((folder / "task").iterdir())),
        )
    except OSError:
        return 0, 0, 0
    return resident, files, threads


def engine_of(gateway: int) -> int:
    """The engine among the gateway's children; 0 if there is none."""
    for path in Path("/proc").glob("[0-9]*"):
        with suppress(OSError, ValueError, IndexError):
            parent = int((path / "stat").read_text().rpartition(")")[2].split()[1])
            is_engine = b"legonn_core.runtime.process" in (path / "cmdline").read_bytes()
            if parent == gateway and is_engine:
                return int(path.name)
    return 0


class Soak:
    """One run.

    Args:
        served: The server.
        lines: What is said.
        minutes: How long.
    """

    def __init__(self, served: Served, lines: list[Clip], minutes: float) -> None:
        self._served = served
        self._lines = lines
        self._seconds = 60.0 * minutes
        self._began = time.monotonic()
        self.seen = Seen()

    @property
    def _at_s(self) -> float:
        return time.monotonic() - self._began

    @property
    def _is_over(self) -> bool:
        return self._at_s >= self._seconds

    async def undisturbed(self, versions: list[str]) -> None:
        """Each recording once on each version, alone: what all later streams must come to."""
        async with legonn.AsyncClient(self._served.address, timeout_s=300) as client:
            for version in versions or [""]:
                if version:
                    await self._swap(client, version)
                for line in self._lines:
                    await self.speak(line)
        self._began = time.monotonic()

    async def run(self, num_streams: int, versions: list[str]) -> None:
        """Everything at once, until the time is over."""
        async with asyncio.TaskGroup() as group:
            for number in range(num_streams):
                group.create_task(self._talk(number))
            group.create_task(self._sample())
            group.create_task(self._swap_back_and_forth(versions))
            group.create_task(self._kill())

    async def _talk(self, number: int) -> None:
        """One stream after the other; the first place reads slowly."""
        for line in itertools.islice(itertools.cycle(self._lines), number, None):
            if self._is_over:
                return
            await self.speak(line, slow_s=SLOW_READ_S if number == 0 else 0.0)

    async def speak(self, line: Clip, *, slow_s: float = 0.0) -> None:
        """One stream from start to end, checked."""
        check, finals = PromiseCheck(), []
        size = 2 * round(RATE_HERTZ * CHUNK_S)

        async def chunks() -> AsyncIterator[bytes]:
            for at in range(0, len(line.content), size):
                await asyncio.sleep(CHUNK_S / 4)
                yield line.content[at : at + size]

        self.seen.streams += 1
        try:
            async with legonn.AsyncClient(self._served.address) as client:
                async for event in client.stream(chunks(), sample_rate_hertz=RATE_HERTZ):
                    check.see(event)
                    if isinstance(event, legonn.Final):
                        finals.append(event)
                        self.seen.replays += event.replays
                    await asyncio.sleep(slow_s)
        except legonn.LegonnError as error:
            self.seen.failed += 1
            self.seen.broken += [f"a stream failed: {error.reason}", *check.broken]
            return
        self.seen.broken += check.end(len(line.content) // 2)
        self.seen.repeats.see(line.digest, finals)

    async def _sample(self) -> None:
        while not self._is_over:
            self.seen.samples.append(await self._look())
            await asyncio.sleep(SAMPLE_S)

    async def _look(self) -> Sample:
        engine = engine_of(self._served.pid)
        found = await scrape(self._served.metrics)
        slots = sum(
            value for key, value in found.items() if key.startswith("legonn_encoder_slots{")
        )
        return Sample(
            self._at_s, engine, *looked_at(self._served.pid), *looked_at(engine), slots=slots
        )

    async def _swap_back_and_forth(self, versions: list[str]) -> None:
        if len(versions) < 2:
            return
        async with legonn.AsyncClient(self._served.address, timeout_s=300) as client:
            for version in itertools.cycle(versions):
                await asyncio.sleep(min(self._seconds / 12, 45.0))
                if self._is_over:
                    return
                try:
                    await self._swap(client, version)
                    self.seen.swaps += 1
                except legonn.LegonnError as error:
                    # The engine may be gone or starting: the swap is told to have failed, the
                    # streams must not notice.
                    self.seen.failed_swaps.append(error.reason)

    async def _swap(self, client: legonn.AsyncClient, version: str) -> None:
        name, _, number = version.partition("/")
        async for _ in client.swap_module(name, number, timeout_s=60.0, is_awaited=False):
            pass

    async def _kill(self) -> None:
        """In the first third: after it, one engine lives long enough for a slope."""
        while self._at_s < self._seconds / 3:
            await asyncio.sleep(self._seconds / 12)
            engine = engine_of(self._served.pid)
            if engine:
                os.kill(engine, signal.SIGKILL)
                self.seen.kills += 1

    async def left_over(self) -> list[str]:
        """What is still held when everybody has gone."""
        until = time.monotonic() + LEFT_OVER_WITHIN_S
        while True:
            found = await scrape(self._served.metrics)
            held = [
                f"{key} is {value:g}"
                for key, value in found.items()
                if key.startswith(("legonn_encoder_slots{", "legonn_sessions_active")) and value
            ]
            held += [
                f"{key} is {value:g}"
                for key, value in found.items()
                if key.startswith("legonn_invariant_violations_total") and value
            ]
            if not held or time.monotonic() > until:
                return held
            await asyncio.sleep(1.0)


def slopes(samples: list[Sample]) -> dict[str, Slope]:
    """A line through each figure: the gateway's whole life, and the engine's longest."""
    lives = [list(group) for _, group in itertools.groupby(samples, key=lambda one: one.engine)]
    longest = max((life for life in lives if life[0].engine), key=len, default=[])
    found = {}
    for names, life in (
        (("gateway_bytes", "gateway_files", "gateway_threads", "slots"), samples),
        (("engine_bytes", "engine_files", "engine_threads"), longest),
    ):
        counted = life[int(len(life) * WARM_SHARE) :]
        if len(counted) < 3:
            continue
        times = [one.at_s for one in counted]
        for name in names:
            found[name] = slope(times, [float(getattr(one, name)) for one in counted])
    return found


def table(found: dict[str, Slope]) -> str:
    """The slopes for a terminal."""
    lines = [f"{'figure':18}{'mean':>14}{'a hour':>14}{'± (95 %)':>14}  grows"]
    for name, one in found.items():
        unit = 1 << 20 if name.endswith("bytes") else 1
        lines.append(
            f"{name.replace('bytes', 'MiB'):18}{one.mean / unit:14.1f}{one.per_hour / unit:14.2f}"
            f"{2 * one.error / unit:14.2f}  {'yes' if one.grows else 'no'}"
        )
    return "\n".join(lines)


async def play(given: argparse.Namespace) -> int:
    """The whole run; 0 if all is well."""
    speech = SpeechLoad(audio=given.audio)
    repertoire = Repertoire(load_clips(speech))
    lines = [repertoire.session(number, given.stream_seconds) for number in range(given.recordings)]
    versions = given.versions.split(",") if given.versions else []
    arguments = ("--modules", given.modules) if given.modules else ()
    async with serving(given.backend, max_streams=given.streams + 8, arguments=arguments) as served:
        soak = Soak(served, lines, given.minutes)
        await soak.undisturbed(versions)
        await soak.run(given.streams, versions)
        held = await soak.left_over()
    seen, found = soak.seen, slopes(soak.seen.samples)
    complaints = [*seen.broken, *seen.repeats.broken(), *held]
    print(table(found))
    print(
        f"{seen.streams} streams, {seen.replays} replays, {seen.swaps} swaps"
        f" ({len(seen.failed_swaps)} failed), {seen.kills} kills;"
        f" {seen.repeats.num_compared} streams compared, {seen.repeats.num_mixed} met two versions"
    )
    print("\n".join(complaints[:20]) or "every text as undisturbed, nothing left over")
    if given.json:
        given.json.write_text(json.dumps(as_json(given, seen, found, complaints), indent=1) + "\n")
    return 1 if complaints else 0


def as_json(
    given: argparse.Namespace, seen: Seen, found: dict[str, Slope], complaints: list[str]
) -> dict[str, Any]:
    """Everything, to be kept."""
    return {
        "asked": {key: str(value) for key, value in vars(given).items()},
        "machine": {"cores": os.cpu_count(), "python": platform.python_version()},
        "slopes": {name: {**asdict(one), "grows": one.grows} for name, one in found.items()},
        "streams": seen.streams, "failed": seen.failed, "replays": seen.replays,
        "swaps": seen.swaps, "failed_swaps": seen.failed_swaps, "kills": seen.kills,
        "streams_compared": seen.repeats.num_compared,
        "streams_of_two_versions": seen.repeats.num_mixed,
        "complaints": complaints,
        "samples": [asdict(one) for one in seen.samples],
    }  # fmt: skip


def main() -> int:
    """Run it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--streams", type=int, default=3, help="at once")
    parser.add_argument("--stream-seconds", type=float, default=8.0, help="of audio in each")
    parser.add_argument("--recordings", type=int, default=2, help="different ones")
    parser.add_argument("--audio", default="tests/data/jfk.flac", help="a file, a folder, or beeps")
    parser.add_argument("--backend", default="embedded", choices=("embedded", "fake"))
    parser.add_argument("--modules", default="", help="module store")
    parser.add_argument(
        "--versions", default="speech-en/1,speech-en/2", help="swapped back and forth; empty: none"
    )
    parser.add_argument("--json", type=Path, help="keep the result")
    return asyncio.run(play(parser.parse_args()))


if __name__ == "__main__":
    sys.exit(main())
