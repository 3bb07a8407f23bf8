"""Real Triton servers on loopback with tiny modules, brought back after tests that kill them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import pytest

from deploy.triton.launcher import Ports, TritonServer
from legonn_core.modules.registry import find_modules
from legonn_core.runtime.triton_repository import TritonExport, export
from legonn_server.backends.triton import TritonBackend
from legonn_server.backends.triton_options import TritonOptions

ROOT = Path(__file__).parents[2]
WHEEL = Path(os.environ.get("TRITON_WHEEL", ROOT / ".triton"))


class Servers:
    """Several servers over one repository; tests may do to them what they like."""

    def __init__(self, store: Path, scratch: Path, *, count: int) -> None:
        if not (WHEEL / "pytriton").is_dir():
            absent = f"no Triton server in {WHEEL}; run: make test-triton"
            (pytest.fail if os.environ.get("TRITON_REQUIRED") else pytest.skip)(absent)
        self.repository = scratch / "repository"
        self.names = {
            one.ref.name: one.name
            for one in export(store, self.repository, TritonExport(), refs=find_modules(store))
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
