"""What a fleet does with its servers, on servers made up here; real ones are in tests/contract."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace

import pytest

from legonn_core.errors import BadModule, ContractMismatch, UnknownModule
from legonn_core.interface.contract import Contract
from legonn_core.runtime.messages import ModuleDescription, ModuleRef
from legonn_core.runtime.wire import model_name
from legonn_server.backends import triton_fleet
from legonn_server.backends.fake import fake_modules
from legonn_server.backends.triton_endpoint import READY
from legonn_server.backends.triton_fleet import TritonFleet
from legonn_server.backends.triton_options import TritonOptions

OPTIONS = TritonOptions(probe_interval_seconds=0.01)


@dataclass
class Server:
    """A model server: what it could load, what is loaded, how often each was called."""

    repository: dict[str, ModuleDescription]
    broken: set[str] = field(default_factory=set)
    ready: set[str] = field(default_factory=set)
    calls: dict[str, int] = field(default_factory=dict)
    num_loads: int = 0


@dataclass
class Endpoint:
    """One gateway's way to the server."""

    address: str
    options: TritonOptions
    on_change: Callable[[], None]
    server: Server
    is_up: bool = False
    num_in_flight: int = 0
    owed: list[object] = field(default_factory=list)
    heard: dict[str, float] = field(default_factory=dict)
    lost: asyncio.Event = field(default_factory=asyncio.Event)

    def connect(self) -> None:
        pass

    async def close(self) -> None:
        self.is_up = False

    def lose(self) -> None:
        self.is_up = False
        self.on_change()

    def trust(self) -> None:
        self.is_up = True
        self.on_change()

    async def index(self) -> dict[str, str]:
        return {m: READY if m in self.server.ready else "" for m in self.server.repository}

    async def load(self, model: str) -> None:
        self.server.num_loads += 1
        await asyncio.sleep(0)
        if model in self.server.broken:
            raise BadModule("its golden output differs")
        self.server.ready.add(model)

    async def unload(self, model: str) -> None:
        self.server.ready.discard(model)

    async def describe(self, model: str) -> ModuleDescription:
        return self.server.repository[model]

    async def probe(self, model: str, *, is_decoder: bool) -> None:
        del is_decoder
        if model not in self.server.ready:
            raise UnknownModule("gone")
        self.server.calls[model] = self.server.calls.get(model, 0) + 1

    async def num_calls(self, model: str) -> int:
        return self.server.calls.get(model, 0)


def version(name: str, number: str, **changes: object) -> ModuleDescription:
    (found,) = (one for one in fake_modules() if one.ref.name == name)
    rate = 12.5 if name != "text-de" else None
    contract = Contract("f" * 16, 40, rows_per_second=rate)
    ours = {"ref": ModuleRef(name, number), "contract": contract, "weights_digest": "0" * 16}
    return replace(found, **(ours | changes))


TWO = ModuleRef("speech-en", "2")
GOOD = [version("speech-en", "1"), version("speech-en", "2"), version("decoder-en", "1")]


def server_of(*modules: ModuleDescription, broken: ModuleRef | None = None) -> Server:
    repository = {model_name(one): one for one in modules}
    bad = {name for name, one in repository.items() if one.ref == broken}
    return Server(repository, broken=bad)


@asynccontextmanager
async def fleet_over(
    server: Server, monkeypatch: pytest.MonkeyPatch, *asked: ModuleRef
) -> AsyncIterator[TritonFleet]:
    monkeypatch.setattr(
        triton_fleet,
        "TritonEndpoint",
        lambda address, options, on_change: Endpoint(address, options, on_change, server),
    )
    fleet = TritonFleet(OPTIONS, modules=asked, on_progress=lambda _: None, on_state=lambda _: None)
    await fleet.start()
    try:
        yield fleet
    finally:
        await fleet.stop()


def names(fleet: TritonFleet) -> set[str]:
    return set(map(str, fleet.modules))


async def test_a_broken_newest_version_does_not_keep_a_gateway_from_starting(monkeypatch):
    server = server_of(*GOOD, broken=TWO)
    async with fleet_over(server, monkeypatch) as fleet:
        assert names(fleet) == {"speech-en/1", "decoder-en/1"}


async def test_what_the_routes_name_is_loaded_and_nothing_else(monkeypatch):
    refs = (ModuleRef("speech-en", "1"), ModuleRef("decoder-en", "1"))
    async with fleet_over(server_of(*GOOD), monkeypatch, *refs) as fleet:
        assert names(fleet) == set(map(str, refs))
    with pytest.raises(UnknownModule, match="no speech-en/9"):
        async with fleet_over(server_of(*GOOD), monkeypatch, ModuleRef("speech-en", "9")):
            pass


async def test_a_version_of_another_rate_is_refused_and_leaves(monkeypatch):
    contract = replace(GOOD[0].contract, rows_per_second=99.0)
    server = server_of(*GOOD, version("speech-en", "3", contract=contract))
    async with fleet_over(server, monkeypatch, *(one.ref for one in GOOD)) as fleet:
        with pytest.raises(ContractMismatch, match="rows_per_second"):
            await fleet.load(ModuleRef("speech-en", "3"))
        assert names(fleet) == {str(one.ref) for one in GOOD}
        async with asyncio.timeout(30):
            while len(server.ready) > len(GOOD):
                await asyncio.sleep(0.01)


async def test_what_another_gateway_loaded_is_not_loaded_anew(monkeypatch):
    """Streams of the other would lose their state."""
    server = server_of(*GOOD)
    async with fleet_over(server, monkeypatch), fleet_over(server, monkeypatch) as other:
        count = server.num_loads
        await other.load(TWO)
        assert server.num_loads == count == 2


async def test_the_last_gateway_that_leaves_a_version_unloads_it(monkeypatch):
    server = server_of(*GOOD)
    (model,) = (name for name, one in server.repository.items() if one.ref == TWO)
    async with fleet_over(server, monkeypatch) as one, fleet_over(server, monkeypatch) as other:
        await one.unload(TWO)
        assert "speech-en/2" not in names(one)
        assert model in server.ready, "the other one uses it"
        await other.unload(TWO)
        async with asyncio.timeout(30):
            while model in server.ready:
                await asyncio.sleep(0.01)


async def test_a_version_that_is_wanted_again_stays(monkeypatch):
    server = server_of(*GOOD)
    (model,) = (name for name, one in server.repository.items() if one.ref == TWO)
    async with fleet_over(server, monkeypatch) as one, fleet_over(server, monkeypatch) as other:
        await one.unload(TWO)
        await one.load(TWO)
        await other.unload(TWO)
        await asyncio.sleep(0.2)
        assert model in server.ready, "the first one has come back to it"
