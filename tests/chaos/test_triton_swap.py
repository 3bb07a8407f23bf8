"""Versions come and go on a real Triton server under paced streams, and only a name changes.

One server, and a repository to which versions are added while it serves. Every stream is a live
RPC that must end well; what it says must be what its versions say alone.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from shutil import copy, copytree

import pytest
import pytest_asyncio
import torch

from legonn_core.encoders.speech import SpeechEncoder
from legonn_core.errors import BadModule, LegonnError, RateMismatch, StaleRoutes, UnknownModule
from legonn_core.interface.card import MarginalBands, ModuleCard
from legonn_core.runtime.messages import ModuleRef
from legonn_core.runtime.triton_repository import export
from legonn_server.app import Gateway
from legonn_server.building import build_backend
from legonn_server.config.settings import ServerSettings, Settings
from legonn_server.pools.routes_folder import RoutesFolder
from legonn_server.routing import routes_file
from legonn_server.routing.routes import Route, RouteTable
from legonn_server.routing.swap import DrainRule, VersionState
from legonn_server.routing.trials import CanaryBands, CanaryPlan
from legonn_server.session.policy import DecodingPolicy
from tests.support.gateway import broken_promises
from tests.support.swapping import (
    DECODER_2,
    PATIENCE_S,
    REAL_TIME,
    SPEECH_2,
    SPEECH_3,
    Resources,
    Said,
    other_card,
    route_to,
    swapped,
    talk,
    talking,
)
from tests.support.tiny import DECODER, SPEECH, decoder, speech_encoder, write_tiny
from tests.support.triton import EXPORT, Servers, serving
from tests.support.versions import SPEECH_KEY, eventually, state_reached

pytestmark = [
    pytest.mark.triton,
    pytest.mark.timeout(1_800),
    pytest.mark.asyncio(loop_scope="module"),
]

NUM_STREAMS = int(os.environ.get("STREAMS", "8"))
BLIND = ModuleRef(SPEECH.name, "4")
"""Loads and passes its golden check, and hears nothing but blanks."""

NUM_SWAPS = int(os.environ.get("SWAPS", "10"))
"""``make chaos-triton`` takes 50, which are many minutes."""


@dataclass(frozen=True)
class Stage:
    """A Triton server, its repository, and the module store that versions come from."""

    servers: Servers
    store: Path

    def add(self, ref: ModuleRef) -> Path:
        """Put a version of the store into the repository, as an operator does; gives its folder."""
        (one,) = export(self.store, self.servers.repository, EXPORT, refs=[ref])
        return self.servers.repository / one.name / "1"

    @asynccontextmanager
    async def gateway(self, *, routes: Path | None = None) -> AsyncIterator[Gateway]:
        """A whole gateway over the server."""
        settings = Settings(
            server=ServerSettings(
                listen="127.0.0.1:0",
                http="",
                metrics="",
                backend="triton",
                routes=str(routes) if routes else "",
            ),
            triton=self.servers.options(probe_interval_seconds=0.3),
            swap=DrainRule(retire_after_seconds=0.0),
            decoding=DecodingPolicy(min_confidence=0.0),
        )
        served = Gateway(settings, build_backend(settings, lambda is_up: None))
        await served.start()
        try:
            yield served
        finally:
            await served.stop(grace_seconds=0)
        assert broken_promises(served.metrics) == {}

    def loaded(self) -> set[str]:
        """Modules that have a process on the server."""
        (server,) = self.servers.all
        alive = [Path(stub.model) for stub in server.stubs() if stub.model]
        return {path.parts[-3].rsplit("-", 1)[0] for path in alive}


@pytest.fixture(scope="module")
def stage(tiny_store: Path, tmp_path_factory: pytest.TempPathFactory):
    store = Path(copytree(tiny_store, tmp_path_factory.mktemp("swaps") / "store"))
    name_a_rate(store / DECODER.name / "1/card.toml")
    with serving(store, tmp_path_factory.mktemp("triton-swaps"), count=1) as servers:
        found = Stage(servers, store)
        write_tiny(store, SPEECH_2, speech_encoder(seed=7))
        write_tiny(store, SPEECH_3, speech_encoder(seed=11))
        write_tiny(store, BLIND, blind())
        write_tiny(store, DECODER_2, decoder(seed=8))
        yield found


def name_a_rate(path: Path) -> None:
    """The decoder was trained for a rate, so that an encoder can be too fast for it."""
    card = ModuleCard.parse(path.read_text("utf-8"))
    path.write_text(replace(card, contract=replace(card.contract, rows_per_second=12.5)).to_toml())


def blind() -> SpeechEncoder:
    network = speech_encoder(seed=13)
    with torch.no_grad():
        network.head.bias[0] += 60.0
    return network


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def gateway(stage: Stage):
    async with stage.gateway() as served:
        for ref in (SPEECH_2, SPEECH_3, BLIND, DECODER_2):  # it started before they were there
            stage.add(ref)
        yield served


async def back_to_start(gateway: Gateway) -> None:
    await swapped(gateway, SPEECH, DECODER)
    await eventually(lambda: len(gateway.services.modules.modules) == 3, seconds=PATIENCE_S)


def refused(said: list[Said], expected: dict[frozenset[tuple[str, str]], tuple[str, ...]]):
    """Utterances that say something else than their versions say alone."""
    whole = [one for one in said if len(one.versions) == 1]
    return [one for one in whole if one.texts != expected[one.versions]]


@pytest.mark.parametrize(
    "target", [(SPEECH_2, DECODER), (SPEECH, DECODER_2)], ids=["encoder", "decoder"]
)
async def test_a_swap_under_load_changes_no_token_and_leaves_no_old_version(gateway, stage, target):
    (alone,) = await talk(gateway.address, 1)
    expected = {alone.versions: alone.texts}
    async with talking(gateway, streams=NUM_STREAMS, pace=REAL_TIME) as said:
        await swapped(gateway, *target)
    (alone,) = await talk(gateway.address, 1)
    expected[alone.versions] = alone.texts
    assert len(set(expected.values())) == 2, "the versions say different things"
    assert {one.versions for one in said if len(one.versions) == 1} == expected.keys()
    assert refused(said, expected) == []
    old = (SPEECH if target[0] == SPEECH_2 else DECODER).name
    await eventually(lambda: f"{old}-1" not in stage.loaded(), seconds=PATIENCE_S)
    assert f"{old}-2" in stage.loaded()
    await back_to_start(gateway)


def spoil_contract(stage: Stage) -> ModuleRef:
    card = ModuleCard.parse((stage.store / "speech-en/1/card.toml").read_text("utf-8"))
    ref = other_card(stage.store, "11", contract=replace(card.contract, rows_per_second=99.0))
    stage.add(ref)
    return ref


def spoil_golden(stage: Stage) -> ModuleRef:
    ref = other_card(stage.store, "12")
    golden = "golden/golden.npz"
    copy(stage.store / "text-de/1" / golden, stage.store / "speech-en/12" / golden)
    stage.add(ref)
    return ref


def spoil_weights(stage: Stage) -> ModuleRef:
    ref = other_card(stage.store, "13")
    folder = stage.add(ref) / "store/speech-en/13"
    (folder / "weights.safetensors").write_bytes(b"\x80\x04pickle")
    return ref


def spoil_process(stage: Stage) -> ModuleRef:
    """Its process dies while it is loaded, as a broken library would have it."""
    ref = other_card(stage.store, "14")
    (stage.add(ref) / "model.py").write_text("import os\n\nos.abort()\n", encoding="utf-8")
    return ref


def spoil_bands(stage: Stage) -> ModuleRef:
    """Its golden rows are not as often blank as its card promises."""
    card = ModuleCard.parse((stage.store / "speech-en/1/card.toml").read_text("utf-8"))
    ref = other_card(stage.store, "15", bands=MarginalBands(0.999, 1.0))
    assert card.bands is None
    stage.add(ref)
    return ref


@pytest.mark.parametrize(
    ("spoil", "kind", "words"),
    [
        (spoil_contract, RateMismatch, "rows_per_second"),
        (spoil_golden, BadModule, "golden"),
        (spoil_weights, BadModule, "weights.safetensors"),
        (spoil_process, BadModule, "could not be loaded"),
        (spoil_bands, BadModule, "blank"),
    ],
    ids=["bad contract", "fails golden", "changed weights", "crash in load", "out of its bands"],
)
async def test_a_bad_version_never_serves_and_nobody_notices(
    gateway, stage, spoil: Callable[[Stage], ModuleRef], kind, words
):
    modules = gateway.services.modules
    (alone,) = await talk(gateway.address, 1)
    table, ref = modules.table, spoil(stage)
    async with talking(gateway, streams=NUM_STREAMS, pace=REAL_TIME) as said:
        with pytest.raises(LegonnError, match=words) as caught:
            await modules.load(ref)
    assert type(caught.value) is kind
    assert modules.table is table
    assert {(one.versions, one.texts) for one in said} == {(alone.versions, alone.texts)}
    gone = f"{ref.name}-{ref.version}"
    await eventually(lambda: gone not in stage.loaded(), seconds=PATIENCE_S)


async def test_versions_that_are_nowhere_are_said(gateway):
    for ref in (ModuleRef("..", "etc"), ModuleRef(SPEECH.name, "99")):
        with pytest.raises(UnknownModule):
            await gateway.services.modules.load(ref)


async def test_a_version_that_goes_out_of_bands_on_trial_is_given_up(gateway, stage):
    modules = gateway.services.modules
    await modules.load(BLIND)
    route = modules.table.find(SPEECH_KEY)
    blanks_alone = CanaryBands(max_error_percent=100.0, max_latency_ratio=1e9)
    plan = CanaryPlan(
        BLIND,
        DECODER,
        steps=(50, 100),
        hold_seconds=600.0,
        min_segments=8,
        bands=blanks_alone,
    )
    modules.set_route(SPEECH_KEY, Route(route.encoder, route.decoder, canary=plan), expected=0)
    served = set()
    async with asyncio.timeout(PATIENCE_S):
        while modules.table.find(SPEECH_KEY).canary is not None:
            for said in await asyncio.gather(*(talk(gateway.address, 1) for _ in range(6))):
                served |= {encoder for one in said for encoder, _ in one.versions}
    assert served == {str(SPEECH), str(BLIND)}, "both served while it was on trial"
    await state_reached(modules, BLIND, VersionState.FAILED)
    (failed,) = (one for one in modules.versions if one.ref == BLIND)
    assert "blank" in str(failed.error)
    for _ in range(5):
        assert [one.versions for one in await talk(gateway.address, 1)] == [
            frozenset({(str(SPEECH), str(DECODER))})
        ]
    await eventually(lambda: f"{BLIND.name}-4" not in stage.loaded(), seconds=PATIENCE_S)


async def test_two_swaps_that_race_leave_one_version_in_service(gateway, stage):
    """Both ask at the same generation: one is told that it came late, and asks again."""
    modules = gateway.services.modules
    expected = {}

    async def swap(ref: ModuleRef, generation: int) -> bool:
        await modules.load(ref)
        try:
            modules.set_route(SPEECH_KEY, Route(ref, DECODER), expected=generation)
        except StaleRoutes:
            return False
        return True

    async with talking(gateway, streams=NUM_STREAMS, pace=REAL_TIME) as said:
        generation = modules.table.number
        refs = (SPEECH_2, SPEECH_3)
        first = await asyncio.gather(*(swap(ref, generation) for ref in refs))
        assert sorted(first) == [False, True]
        loser, winner = refs if first[1] else reversed(refs)
        await state_reached(modules, SPEECH, VersionState.RETIRED, seconds=PATIENCE_S)
        assert modules.table.find(SPEECH_KEY).encoder == winner
        assert await swap(loser, modules.table.number)
        await state_reached(modules, winner, VersionState.RETIRED, seconds=PATIENCE_S)
    for ref in (SPEECH, SPEECH_2, SPEECH_3):
        await modules.load(ref)
        route_to(gateway, ref, DECODER)
        (alone,) = await talk(gateway.address, 1)
        expected[alone.versions] = alone.texts
    assert refused(said, expected) == []
    assert {one.versions for one in said} <= expected.keys() | {
        one.versions for one in said if len(one.versions) > 1
    }
    await back_to_start(gateway)
    await eventually(lambda: len(stage.loaded()) == 3, seconds=PATIENCE_S)


async def test_gateways_that_share_a_server_and_a_routes_file_agree(gateway, stage, tmp_path):
    """Both follow the file; a version goes when both have left it, and not before a third has."""

    def ask(number: int, encoder: ModuleRef) -> None:
        table = RouteTable(number, {SPEECH_KEY: Route(encoder, DECODER)})
        RoutesFolder(tmp_path).write(routes_file.dump(table))

    ask(1, SPEECH_3)
    async with (
        stage.gateway(routes=tmp_path) as one,
        stage.gateway(routes=tmp_path) as other,
        talking(one, pace=REAL_TIME) as said,
        talking(other, pace=REAL_TIME) as too,
    ):
        for number, (old, new) in enumerate([(SPEECH_3, SPEECH_2), (SPEECH_2, SPEECH)], start=2):
            ask(number, new)
            for served in (one, other):
                modules = served.services.modules
                await state_reached(modules, old, VersionState.RETIRED, seconds=PATIENCE_S)
                assert modules.table.find(SPEECH_KEY).encoder == new
            gone = f"{old.name}-{old.version}"
            await eventually(lambda gone=gone: gone not in stage.loaded(), seconds=PATIENCE_S)
            assert f"{new.name}-{new.version}" in stage.loaded()
    for heard in (said, too):
        assert {encoder for one in heard for encoder, _ in one.versions} >= {
            str(SPEECH_3),
            str(SPEECH_2),
        }
    assert SPEECH in {one.ref for one in gateway.services.modules.modules}, "a third one uses it"


async def come(gateway: Gateway, ref: ModuleRef) -> None:
    """Bring an encoder into service; who served before may still be leaving."""
    modules = gateway.services.modules
    await eventually(
        lambda: not any(one.ref == ref and one.is_in_memory for one in modules.versions),
        seconds=PATIENCE_S,
    )
    await modules.load(ref)
    route_to(gateway, ref, DECODER)


async def test_many_swaps_leave_nothing_behind(gateway, stage):
    """No process, memory, shared memory or slot is kept of versions that left."""
    (server,) = stage.servers.all
    await back_to_start(gateway)
    async with talking(gateway):  # what load sets up once, such as the server's threads, is set up
        for ref in (SPEECH_2, SPEECH_3, SPEECH):
            await come(gateway, ref)
    await back_to_start(gateway)

    async def settled() -> tuple[set[str], list[str]]:
        await eventually(lambda: len(stage.loaded()) == 3, seconds=PATIENCE_S)
        return stage.loaded(), server.shared_memory()

    modules, regions = await settled()
    before = [Resources.of(pid) for pid in (server.pid, os.getpid())]
    async with talking(gateway) as said:
        for number in range(NUM_SWAPS):
            # The one before is still leaving while the next one comes.
            await come(gateway, (SPEECH_2, SPEECH_3, SPEECH)[number % 3])
    await back_to_start(gateway)
    after = [Resources.of(pid) for pid in (server.pid, os.getpid())]
    # The server's pools grow once: by 33 threads, whether by six swaps or by nine.
    for now, then, threads in zip(after, before, (40, 8), strict=True):
        assert now.grew_little(then, threads=threads), (then, now)
    kept, regions_now = await settled()
    assert (kept, len(regions_now)) == (modules, len(regions))
    assert server.dead_stubs() == []
    health = await gateway._backend.health()
    assert (health.open_slots, health.waiting_jobs) == (0, 0)
    assert not gateway.services.modules.pins.counts
    assert len({one.versions for one in said}) >= 2
