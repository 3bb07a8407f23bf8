"""A server of our own for the length of a test, and what any server says of itself at /metrics."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass

READY_WITHIN_S = 180.0


class NoServer(Exception):
    """A server that did not start; the message says why."""


@dataclass(frozen=True, slots=True)
class Served:
    """A running server.

    Attributes:
        address: HOST:PORT of gRPC.
        metrics: URL of /metrics; empty if nobody knows.
        pid: Of our own server; 0 for another's.
    """

    address: str
    metrics: str = ""
    pid: int = 0


@asynccontextmanager
async def serving(
    backend: str, *, max_streams: int, cpus: Iterable[int] = (), arguments: Sequence[str] = ()
) -> AsyncIterator[Served]:
    """Start ``legonn serve`` on free ports; stop it at the end.

    Args:
        backend: ``fake`` or ``embedded``.
        max_streams: Its limit.
        cpus: Cores that the server is bound to; all of them if none is named.
        arguments: More of the command line.

    Raises:
        NoServer: If it does not come up.
    """
    command = (
        sys.executable, "-m", "legonn_server", "--backend", backend, "--listen", "127.0.0.1:0",
        "--metrics", "127.0.0.1:0", "--http", "", *arguments,
    )  # fmt: skip
    environment = {
        **os.environ,
        "LEGONN_ADMISSION__MAX_STREAMS": str(max_streams),
        "LEGONN_LOG__LEVEL": "WARNING",
    }
    process = await asyncio.create_subprocess_exec(
        *command, env=environment, stdout=asyncio.subprocess.PIPE
    )
    if cpus:
        os.sched_setaffinity(process.pid, cpus)
    try:
        yield await _ready(process)
    finally:
        with suppress(ProcessLookupError):
            process.send_signal(signal.SIGTERM)
        try:
            await asyncio.wait_for(process.wait(), 40)
        except TimeoutError:
            process.kill()
            await process.wait()


async def _ready(process: asyncio.subprocess.Process) -> Served:
    assert process.stdout is not None
    try:
        line = await asyncio.wait_for(process.stdout.readline(), READY_WITHIN_S)
    except TimeoutError:
        raise NoServer(f"the server was not ready within {READY_WITHIN_S:g} s") from None
    words = line.decode().split()
    if words[:3] != ["legonn", "is", "ready"]:
        raise NoServer("the server ended before it was ready; its own words are above")
    return Served(words[4], words[-1] if words[-1].startswith("http") else "", process.pid)


async def scrape(url: str) -> dict[str, float]:
    """All samples of a /metrics page, ``name{labels}`` → value; empty if there is no page."""
    if not url:
        return {}
    try:
        page = await asyncio.to_thread(_get, url)
    except (urllib.error.URLError, TimeoutError, OSError):
        return {}
    samples = {}
    for line in page.splitlines():
        name, _, value = line.rpartition(" ")
        if name and not line.startswith("#"):
            samples[name] = float(value)
    return samples


def _get(url: str) -> str:
    if not url.startswith("http"):
        raise ValueError(f"{url} is no web address")
    with urllib.request.urlopen(url, timeout=10) as answer:
        content: bytes = answer.read()
    return content.decode()


def increase(before: Mapping[str, float], after: Mapping[str, float], name: str) -> float:
    """How much a metric grew, over all its labels."""

    def total(samples: Mapping[str, float]) -> float:
        return sum(
            value for key, value in samples.items() if key == name or key.startswith(f"{name}{{")
        )

    return total(after) - total(before)
