"""Real Triton servers on loopback with tiny modules, brought back after tests that kill them."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

import legonn
from deploy.triton.launcher import Ports, TritonServer
from legonn_core.modules.registry import find_modules
from legonn_core.runtime.triton_repository import TritonExport, export
from legonn_loadtest.promises import PromiseCheck
from legonn_server.app import Gateway
from legonn_server.backends.protocol import Backend
from legonn_server.backends.triton import TritonBackend
from legonn_server.backends.triton_options import TritonOptions
from legonn_server.config.settings import ServerSettings, Settings
from legonn_server.session.endpoint import EndpointRule
from legonn_server.session.policy import DecodingPolicy
from tests.support import tiny

ROOT = Path(__file__).parents[2]
WHEEL = Path(os.environ.get("TRITON_WHEEL", ROOT / ".triton"))


EXPORT = TritonExport(load_niceness=0)
"""Tests share two cores with much else; a load that stands back behind it may not end in time."""


class Servers:
    """Several servers over one repository; tests may do to them what they like."""

    def __init__(self, store: Path, scratch: Path, *, count: int) -> None:
        if not (WHEEL / "pytriton").is_dir():
            absent = f"no Triton server in {WHEEL}; run: make test-triton"
            (pytest.fail if os.environ.get("TRITON_REQUIRED") else pytest.skip)(absent)
        self.repository = scratch / "repository"
        self.names = {
            one.ref.name: one.name
            for one in export(store, self.repository, EXPORT, refs=find_modules(store))
        }
        self.all = []
        for index in range(count):
            place = scratch / f"server{index}"
            place.mkdir()
            self.all.append(TritonServer(WHEEL.resolve(), self.repository, place, Ports.free()))

    def ensure(self) -> None:
        """Bring back what an earlier test ended, stopped or damaged."""
        for server in self.all:
            if not server.is_running or server.dead_stubs():
                server.kill()
                server.start()

    def stub(self, server: TritonServer, module: str) -> int:
        """Process of one model of one server."""
        name = f"/{self.names[module]}/"
        return next(stub.pid for stub in server.stubs() if name in stub.model)

    def options(self, **changes: object) -> TritonOptions:
        """How a gateway is told to use them; patient, since tests share their machine."""
        addresses = ",".join(server.address for server in self.all)
        patient = {"call_timeout_seconds": 60.0, "probe_timeout_seconds": 30.0}
        return TritonOptions(
            **({"endpoints": addresses, "silence_seconds": 30.0} | patient | changes)
        )


@contextmanager
def serving(store: Path, scratch: Path, *, count: int = 2) -> Iterator[Servers]:
    """Start servers for the length of a ``with`` block."""
    servers = Servers(store, scratch, count=count)
    try:
        servers.ensure()
        yield servers
    finally:
        for server in servers.all:
            server.kill()


@asynccontextmanager
async def connected(options: TritonOptions):
    """A backend that serves."""
    backend = TritonBackend(options)
    await backend.start()
    try:
        yield backend
    finally:
        await backend.stop()


RULE = EndpointRule(
    max_segment_ms=4_000, max_nonspeech_ms=3_000, cut_window_ms=1_500, pre_roll_ms=300
)
"""Shorter than usual: the tiny encoder's positions end after 7.7 s."""

MESSAGE_SAMPLES = 3_200


@dataclass(frozen=True)
class Heard:
    """What a client was told of one stream.

    Attributes:
        finals: First sample, end sample and text of each segment.
        broken: Promises of the contract that were not kept.
        replays: How often the server told of a replay.
    """

    finals: tuple[tuple[int, int, str], ...]
    broken: tuple[str, ...]
    replays: int


def recordings(count: int, *, seconds: float = 6.0) -> list[np.ndarray]:
    """Recordings that all differ."""
    return [tiny.speech(int(seconds * 16_000) + 7 * seed, seed=seed) for seed in range(count)]


@asynccontextmanager
async def gateway_over(backend: Backend) -> AsyncIterator[str]:
    """A whole gateway over a backend; gives its address."""
    settings = Settings(
        server=ServerSettings(listen="127.0.0.1:0", http="", metrics=""),
        endpoint=RULE,
        # Untrained modules believe little of what they say; as noise it would not be shown.
        decoding=DecodingPolicy(min_confidence=0.0),
    )
    gateway = Gateway(settings, backend)
    await gateway.start()
    try:
        yield gateway.address
    finally:
        await gateway.stop(grace_seconds=0)


async def listen(
    address: str,
    samples: np.ndarray,
    *,
    shown: asyncio.Event | None = None,
    go_on: asyncio.Event | None = None,
) -> Heard:
    """Stream a recording, with partials, and note what comes back.

    Args:
        address: Of a gateway.
        samples: (N,) float32 at 16 kHz.
        shown: Set when the first words were shown.
        go_on: The second half is held back until it is set.
    """
    content = (samples * 32767).astype("<i2").tobytes()
    size = 2 * MESSAGE_SAMPLES
    chunks = [content[start : start + size] for start in range(0, len(content), size)]

    async def audio() -> AsyncIterator[bytes]:
        for index, chunk in enumerate(chunks):
            if go_on is not None and index == len(chunks) // 2:
                await go_on.wait()
            yield chunk

    promises, finals, replays = PromiseCheck(), [], 0
    async with legonn.AsyncClient(address, timeout_s=240) as client:
        async for event in client.stream(audio(), sample_rate_hertz=16_000):
            promises.see(event)
            match event:
                case legonn.Final():
                    finals.append((event.start_sample, event.end_sample, event.text))
                case legonn.Notice(kind="REPLAYING"):
                    replays += 1
            if shown is not None and isinstance(event, legonn.Partial | legonn.Final):
                shown.set()
    return Heard(tuple(finals), promises.end(len(samples)), replays)
