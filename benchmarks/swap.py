"""What a swap costs the streams that go on: p99 of partials during it over p99 before, in one run.

    python -m benchmarks.swap OUT.json --streams 2 --swaps 2

Starts a server on a copy of the module store in which the module has a second version (the same
weights under another number, so that every final can be compared with the undisturbed run), plays
paced streams, swaps back and forth with ``legonn modules swap``'s own code, and writes what it saw.
A partial's latency is the time from the moment its last sample was sent to the moment it came.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import math
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

import legonn

ROOT = Path(__file__).parents[1]
CLIP = ROOT / "tests/data/jfk.flac"
CHUNK_S = 0.1


@dataclass
class Stream:
    """What one stream saw.

    Attributes:
        latencies: (arrival on the clock, seconds) of each partial.
        finals: (arrival on the clock, encoder, decoder, text) of each final.
        error: Why it ended early; empty if it did not.
    """

    latencies: list[tuple[float, float]] = field(default_factory=list)
    finals: list[tuple[float, str, str, str]] = field(default_factory=list)
    error: str = ""


def second_version(store: Path, name: str) -> str:
    """Copy the newest version of a module under the next number; gives ``name/version``."""
    versions = sorted((path for path in (store / name).iterdir()), key=lambda p: int(p.name))
    old, new = versions[-1].name, str(int(versions[-1].name) + 1)
    shutil.copytree(versions[-1], store / name / new)
    card = store / name / new / "card.toml"
    text = card.read_text(encoding="utf-8")
    card.write_text(text.replace(f'version = "{old}"', f'version = "{new}"', 1), encoding="utf-8")
    return f"{name}/{new}"


async def play(address: str, stop: asyncio.Event, delay: float) -> Stream:
    """Send the clip over and over at the pace of speech until ``stop``, and listen."""
    seen, sent = Stream(), [time.monotonic()]
    await asyncio.sleep(delay)
    with legonn.open_audio(CLIP) as audio:
        rate = audio.sample_rate_hertz
        pcm = b"".join(audio.chunks())
    size = 2 * int(rate * CHUNK_S)

    async def chunks() -> AsyncIterator[bytes]:
        began, number = time.monotonic(), 0
        while not stop.is_set():
            start = (number * size) % (len(pcm) // size * size)
            number += 1
            await asyncio.sleep(max(0.0, began + number * CHUNK_S - time.monotonic()))
            sent.append(time.monotonic())
            yield pcm[start : start + size]

    try:
        async with legonn.AsyncClient(address) as client:
            async for event in client.stream(chunks(), sample_rate_hertz=rate):
                now = time.monotonic()
                if isinstance(event, legonn.Partial):
                    index = min(math.ceil(event.end_s / CHUNK_S - 1e-6), len(sent) - 1)
                    seen.latencies.append((now, now - sent[index]))
                elif isinstance(event, legonn.Final):
                    seen.finals.append((now, event.encoder, event.decoder, event.text))
    except legonn.LegonnError as error:
        seen.error = f"{type(error).__name__}: {error}"
    return seen


def p99(values: list[float]) -> float | None:
    """The 99th percentile; None of fewer than ten values."""
    return statistics.quantiles(values, n=100, method="inclusive")[98] if len(values) > 9 else None


def swap(address: str, module: str) -> list[dict[str, object]]:
    """Swap, and tell what happened when, from its beginning."""
    began = time.monotonic()
    with legonn.Client(address) as client:
        return [
            {"at_s": round(time.monotonic() - began, 3), "what": event.text}
            for event in client.swap_module(*module.split("/"), timeout_s=300.0)
        ]


async def measure(address: str, given: argparse.Namespace, modules: list[str]) -> dict[str, object]:
    """Undisturbed, then swaps with quiet stretches between them."""
    stop = asyncio.Event()
    streams = [
        asyncio.create_task(play(address, stop, 0.37 * index)) for index in range(given.streams)
    ]
    await asyncio.sleep(given.warm)
    windows: list[tuple[str, float, float]] = []
    events = []
    for number in range(given.swaps):
        began = time.monotonic()
        await asyncio.sleep(given.quiet)
        windows.append(("before", began, time.monotonic()))
        began = time.monotonic()
        events.append(await asyncio.to_thread(swap, address, modules[number % len(modules)]))
        windows.append(("during", began, time.monotonic()))
    stop.set()
    seen = await asyncio.gather(*streams)
    return report(seen, windows, events)


def report(
    seen: list[Stream],
    windows: list[tuple[str, float, float]],
    events: list[list[dict[str, object]]],
) -> dict[str, object]:
    """The numbers of a run."""
    by_kind: dict[str, list[float]] = {"before": [], "during": []}
    each = []
    for kind, start, end in windows:
        values = [late for one in seen for at, late in one.latencies if start <= at < end]
        by_kind[kind] += values
        each.append(
            {"window": kind, "seconds": end - start, "partials": len(values), "p99_s": p99(values)}
        )
    before, during = p99(by_kind["before"]), p99(by_kind["during"])
    return {
        "p99_before_s": before,
        "p99_during_s": during,
        "p99_ratio": during / before if before and during else None,
        "median_before_s": statistics.median(by_kind["before"]) if by_kind["before"] else None,
        "median_during_s": statistics.median(by_kind["during"]) if by_kind["during"] else None,
        "windows": each,
        "failed_streams": [one.error for one in seen if one.error],
        "finals": sum(len(one.finals) for one in seen),
        "pairs": sorted({f"{final[1]} {final[2]}" for one in seen for final in one.finals}),
        "texts_differing_from_the_other_version": differing(seen),
        "swaps": events,
    }


def differing(seen: list[Stream]) -> int:
    """Finals whose place in the loop of the clip was read otherwise by some other stream.

    All versions have the same weights and all streams the same audio, so segment n of one stream
    must read like segment n of every other, whichever versions served them.
    """
    count = 0
    for position in range(max((len(one.finals) for one in seen), default=0)):
        texts = {one.finals[position][3] for one in seen if position < len(one.finals) - 1}
        count += len(texts) > 1
    return count


def main() -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("--module", default="speech-en")
    parser.add_argument("--streams", type=int, default=2)
    parser.add_argument("--swaps", type=int, default=2)
    parser.add_argument("--warm", type=float, default=15.0, help="seconds that do not count")
    parser.add_argument("--quiet", type=float, default=30.0, help="seconds before each swap")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        store = Path(shutil.copytree(ROOT / "modules", Path(folder) / "modules"))
        first = max((store / given.module).iterdir(), key=lambda path: int(path.name)).name
        new = second_version(store, given.module)
        # The server must start with the old one.
        shutil.move(store / given.module / new.rpartition("/")[2], Path(folder) / "new")
        environment = {**os.environ, "LEGONN_SWAP__RETIRE_AFTER_SECONDS": "1"}
        server = subprocess.Popen(
            [sys.executable, "-m", "legonn", "serve", "--listen", "127.0.0.1:0", "--modules",
             str(store), "--metrics", "", "--http", "", "--threads", "1"],
            stdout=subprocess.PIPE, text=True, env=environment,
        )  # fmt: skip
        try:
            assert server.stdout is not None
            address = next(line for line in server.stdout if "ready at" in line).split()[4]
            shutil.move(Path(folder) / "new", store / new)
            modules = [new, f"{given.module}/{first}"]
            found = asyncio.run(measure(address, given, modules))
        finally:
            server.terminate()
            server.wait(60)
    machine = {
        "cores": os.cpu_count(),
        "load": os.getloadavg(),
        "python": platform.python_version(),
    }
    asked = {key: value for key, value in vars(given).items() if key != "out"}
    given.out.write_text(json.dumps({"asked": asked, "machine": machine, **found}, indent=1) + "\n")
    print(json.dumps({key: found[key] for key in list(found)[:3]}))


if __name__ == "__main__":
    main()
