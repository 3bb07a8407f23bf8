"""What a swap costs the streams that go on: p99 of partials during it over p99 before, in one run.

    python -m benchmarks.swap OUT.json --streams 2 --swaps 2
    python -m benchmarks.swap OUT.json --backend triton --module decoder-en

Starts a server on a copy of the module store in which the module has a second version (the same
weights under another number, so that every final can be compared with the undisturbed run), plays
paced streams, swaps back and forth with ``legonn modules swap``'s own code, and writes what it saw.
A partial's latency is the time from the moment its last sample was sent to the moment it came.
Before each swap the streams are left alone for as long as the swap before it took, so that both
sides of the ratio have as many samples. A machine that is behind real time without any swap says
nothing of swaps: the share of partials later than ``BEHIND_S`` before them is written as well.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
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
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

import legonn
from deploy.triton.launcher import Ports, TritonServer
from legonn_core.modules.registry import find_modules
from legonn_core.runtime.triton_repository import TritonExport, export

ROOT = Path(__file__).parents[1]
CLIP = ROOT / "tests/data/jfk.flac"
CHUNK_S = 0.1
BEHIND_S = 2.0
"""A partial that comes so late was waited for by audio that is due already."""

RESAMPLES = 1_000
"""Of the partials, for the interval of the ratio."""


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
    events, quiet = [], given.quiet
    for number in range(given.swaps):
        began = time.monotonic()
        await asyncio.sleep(quiet)
        windows.append(("before", began, time.monotonic()))
        began = time.monotonic()
        events.append(await asyncio.to_thread(swap, address, modules[number % len(modules)]))
        windows.append(("during", began, time.monotonic()))
        quiet = max(given.quiet, windows[-1][2] - windows[-1][1])
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
        "p99_ratio_interval": interval(by_kind["before"], by_kind["during"]),
        "failed_rpcs": sum(bool(one.error) for one in seen),
        "changed_texts": differing(seen),
        "old_versions_unloaded": all(
            any(str(event["what"]).endswith("is retired") for event in one) for one in events
        ),
        "late_share_before": share_behind(by_kind["before"]),
        "late_share_during": share_behind(by_kind["during"]),
        "median_before_s": statistics.median(by_kind["before"]) if by_kind["before"] else None,
        "median_during_s": statistics.median(by_kind["during"]) if by_kind["during"] else None,
        "windows": each,
        "failed_streams": [one.error for one in seen if one.error],
        "finals": sum(len(one.finals) for one in seen),
        "pairs": sorted({f"{final[1]} {final[2]}" for one in seen for final in one.finals}),
        "swaps": events,
    }


def interval(before: list[float], during: list[float]) -> list[float] | None:
    """Middle 95 % of the ratio of p99s when partials are drawn again; None of too few."""
    if min(len(before), len(during)) < 10:
        return None
    rng = np.random.default_rng(1)
    tops = [
        np.percentile(rng.choice(values, (RESAMPLES, len(values))), 99, axis=1)
        for values in (during, before)
    ]
    low, high = np.percentile(tops[0] / tops[1], (2.5, 97.5))
    return [float(low), float(high)]


def share_behind(values: list[float]) -> float | None:
    """Part of the partials that came later than ``BEHIND_S``."""
    return sum(late > BEHIND_S for late in values) / len(values) if values else None


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


@contextlib.contextmanager
def triton(store: Path, scratch: Path) -> Iterator[tuple[list[str], Callable[[], None]]]:
    """A Triton server on the store; gives flags of the gateway, and what exports new versions."""
    wheel = ROOT / ".triton"
    server = TritonServer(wheel.resolve(), scratch / "repository", scratch, Ports.free())

    def renew() -> None:
        export(store, server.repository, TritonExport(), refs=find_modules(store))

    renew()
    server.start()
    try:
        yield ["--backend", "triton", "--triton-endpoints", server.address], renew
    finally:
        server.kill()


@contextlib.contextmanager
def child(store: Path, scratch: Path) -> Iterator[tuple[list[str], Callable[[], None]]]:
    """The gateway's own child process, which reads the store itself."""
    del store, scratch
    yield [], lambda: None


HOMES = {"embedded": child, "triton": triton}


@contextlib.contextmanager
def gateway(store: Path, flags: list[str]) -> Iterator[str]:
    """A server as people start it; gives its address."""
    environment = {**os.environ, "LEGONN_SWAP__RETIRE_AFTER_SECONDS": "1"}
    server = subprocess.Popen(
        [sys.executable, "-m", "legonn", "serve", "--listen", "127.0.0.1:0", "--modules",
         str(store), "--metrics", "", "--http", "", "--threads", "1", *flags],
        stdout=subprocess.PIPE, text=True, env=environment,
    )  # fmt: skip
    try:
        assert server.stdout is not None
        yield next(line for line in server.stdout if "ready at" in line).split()[4]
    finally:
        server.terminate()
        server.wait(60)


def run(given: argparse.Namespace, folder: Path) -> dict[str, object]:
    """Serve the store without the new version, then add it and measure."""
    store = Path(shutil.copytree(ROOT / "modules", folder / "modules"))
    first = max((store / given.module).iterdir(), key=lambda path: int(path.name)).name
    new = second_version(store, given.module)
    # The server must start with the old one.
    kept = shutil.move(store / given.module / new.rpartition("/")[2], folder / "new")
    with contextlib.ExitStack() as stack:
        flags, renew = stack.enter_context(HOMES[given.backend](store, folder))
        address = stack.enter_context(gateway(store, flags))
        shutil.move(kept, store / new)
        renew()
        return asyncio.run(measure(address, given, [new, f"{given.module}/{first}"]))


def main() -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("--backend", choices=tuple(HOMES), default="embedded")
    parser.add_argument("--module", default="speech-en")
    parser.add_argument("--streams", type=int, default=2)
    parser.add_argument("--swaps", type=int, default=2)
    parser.add_argument("--warm", type=float, default=15.0, help="seconds that do not count")
    parser.add_argument("--quiet", type=float, default=30.0, help="least seconds before a swap")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        found = run(given, Path(folder))
    machine = {
        "cores": os.cpu_count(),
        "load": os.getloadavg(),
        "python": platform.python_version(),
    }
    asked = {key: value for key, value in vars(given).items() if key != "out"}
    given.out.write_text(json.dumps({"asked": asked, "machine": machine, **found}, indent=1) + "\n")
    print(json.dumps({key: found[key] for key in list(found)[:7]}))


if __name__ == "__main__":
    main()
