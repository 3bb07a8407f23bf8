"""Swaps, bad versions and lost engines through a real engine with tiny modules, under streams."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import grpc
import pytest
import pytest_asyncio

from legonn.v1 import speech_service_pb2_grpc
from legonn_core.errors import BadModule, LegonnError, RateMismatch, UnknownModule
from legonn_core.interface.card import ModuleCard
from legonn_core.runtime.messages import ModuleRef
from legonn_server.app import Gateway, build_backend
from legonn_server.backends.rehearsal import ProcessRehearsal, RehearsalOptions
from legonn_server.config.settings import ServerSettings, Settings
from legonn_server.routing.routes import Route
from legonn_server.routing.swap import DrainRule, VersionState
from tests.support.gateway import broken_promises, chunked, control, first, linear16, speech_pb
from tests.support.tiny import DECODER, SPEECH, decoder, speech, speech_encoder, write_tiny
from tests.support.versions import SPEECH_KEY, eventually, state_reached

pytestmark = [
    pytest.mark.chaos,
    pytest.mark.timeout(600),
    pytest.mark.asyncio(loop_scope="module"),
]

SPEECH_2, DECODER_2 = ModuleRef(SPEECH.name, "2"), ModuleRef(DECODER.name, "2")
UTTERANCE = linear16(speech(30_000, seed=4))
NUM_STREAMS = 4


@dataclass(frozen=True)
class Said:
    """What one utterance came to: the versions of its finals, and their texts."""

    versions: frozenset[tuple[str, str]]
    texts: tuple[str, ...]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def gateway(tiny_store: Path, tmp_path_factory: pytest.TempPathFactory):
    store = Path(shutil.copytree(tiny_store, tmp_path_factory.mktemp("swap") / "store"))
    settings = Settings(
        server=ServerSettings(
            listen="127.0.0.1:0", http="", metrics="", modules=str(store), threads=1
        ),
        swap=DrainRule(retire_after_seconds=0.0),
    )
    served = Gateway(settings, build_backend(settings, lambda is_up: None))
    await served.start()
    served.store = store  # type: ignore[attr-defined]  # for the tests alone
    write_tiny(store, SPEECH_2, speech_encoder(seed=7))
    write_tiny(store, DECODER_2, decoder(seed=8))
    try:
        yield served
    finally:
        await served.stop(grace_seconds=0)
    assert broken_promises(served.metrics) == {}


async def talk(address: str, count: int | None, stop: asyncio.Event | None = None) -> list[Said]:
    """Say the same utterance ``count`` times, or until ``stop``, each ended by a flush."""
    heard: asyncio.Queue[None] = asyncio.Queue()

    async def requests():
        yield first(interim_results=True)
        number = 0
        while (number < count) if count is not None else not stop.is_set():
            for message in chunked(UTTERANCE, 6_400):
                yield message
                await asyncio.sleep(0.02)
            yield control(speech_pb.CONTROL_ACTION_FLUSH)
            await heard.get()
            number += 1

    said, finals = [], []
    async with grpc.aio.insecure_channel(address) as channel:
        stub = speech_service_pb2_grpc.SpeechServiceStub(channel)
        async for answer in stub.StreamingRecognize(requests()):
            if not answer.HasField("final"):
                continue
            finals.append(answer.final)
            if answer.final.reason == 2:  # FINAL_REASON_FLUSH
                versions = frozenset((one.encoder, one.decoder) for one in finals)
                said.append(Said(versions, tuple(one.alternatives[0].text for one in finals)))
                finals = []
                heard.put_nowait(None)
    return said


@asynccontextmanager
async def talking(gateway: Gateway):
    """Streams that talk for the length of a ``with`` block; gives what they said at its end."""
    stop, said = asyncio.Event(), []
    streams = [asyncio.create_task(talk(gateway.address, None, stop)) for _ in range(NUM_STREAMS)]
    modules = gateway.services.modules
    await eventually(lambda: sum(modules.pins.counts.values()) >= NUM_STREAMS)
    try:
        yield said
    finally:
        stop.set()
    for stream in streams:
        said += await stream


def route_to(gateway: Gateway, encoder: ModuleRef, decoder_ref: ModuleRef) -> None:
    modules = gateway.services.modules
    for key, route in modules.table.routes.items():
        new = Route(encoder if key == SPEECH_KEY else route.encoder, decoder_ref)
        modules.set_route(key, new, expected=0)


async def swapped(gateway: Gateway, encoder: ModuleRef, decoder_ref: ModuleRef) -> None:
    """Swap, and wait until the old versions are gone."""
    modules = gateway.services.modules
    old = modules.table.find(SPEECH_KEY)
    for ref in (encoder, decoder_ref):
        await modules.load(ref)
    route_to(gateway, encoder, decoder_ref)
    for before, after in ((old.encoder, encoder), (old.decoder, decoder_ref)):
        if before != after:
            await state_reached(modules, before, VersionState.RETIRED)


@pytest.mark.parametrize(
    "target", [(SPEECH_2, DECODER), (SPEECH, DECODER_2)], ids=["encoder", "decoder"]
)
async def test_a_swap_under_streams_changes_no_token_of_a_pinned_segment(gateway, target):
    before = (SPEECH, DECODER)
    expected = {}
    (alone,) = await talk(gateway.address, 1)
    expected[alone.versions] = alone.texts
    async with talking(gateway) as said:
        await swapped(gateway, *target)
        assert before != target
    (alone,) = await talk(gateway.address, 1)
    expected[alone.versions] = alone.texts
    assert len(set(expected.values())) == 2, "the versions say different things"
    whole = [one for one in said if len(one.versions) == 1]
    assert {one.versions for one in whole} == expected.keys()
    assert [one for one in whole if one.texts != expected[one.versions]] == []
    async with talking(gateway):
        await swapped(gateway, *before)
    assert {one.ref for one in await gateway._backend.describe()} >= set(before)
    assert len(await gateway._backend.describe()) == 3


def engine_pid() -> int:
    """The engine that is this process's child."""
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        try:
            parent = int((path / "stat").read_text().rpartition(")")[2].split()[1])
            if (
                parent == os.getpid()
                and b"legonn_core.runtime.process" in (path / "cmdline").read_bytes()
            ):
                found.append(int(path.name))
        except (OSError, ValueError):
            continue
    (pid,) = found
    return pid


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGSTOP], ids=["killed", "hung"])
async def test_an_engine_that_is_lost_loses_no_word(gateway, how):
    (alone,) = await talk(gateway.address, 1)
    pid = engine_pid()
    async with talking(gateway) as said:
        await asyncio.sleep(0.3)
        os.kill(pid, how)
        await eventually(lambda: not Path(f"/proc/{pid}").exists(), seconds=120)
        async with asyncio.timeout(120):
            await gateway._backend.health()
            while not (await gateway._backend.health()).is_alive:
                await asyncio.sleep(0.05)
    assert len(said) >= NUM_STREAMS
    assert {one.texts for one in said} == {alone.texts}


def other_card(store: Path, version: str, **changes: object) -> ModuleRef:
    """A copy of the speech encoder with another card."""
    folder = store / SPEECH.name / version
    shutil.copytree(store / SPEECH.name / "1", folder, dirs_exist_ok=True)
    card = ModuleCard.parse((folder / "card.toml").read_text("utf-8"))
    card = replace(card, version=version, **changes)
    (folder / "card.toml").write_text(card.to_toml(), "utf-8")
    return ModuleRef(SPEECH.name, version)


async def test_a_bad_version_never_serves_and_nobody_notices(gateway, tiny_store):
    card = ModuleCard.parse((tiny_store / "speech-en/1/card.toml").read_text("utf-8"))
    store = gateway.store
    contract = other_card(store, "11", contract=replace(card.contract, rows_per_second=99.0))
    golden = other_card(store, "12")
    shutil.copy(store / "text-de/1/golden/golden.npz", store / "speech-en/12/golden/golden.npz")
    weights = other_card(store, "13")
    (store / "speech-en/13/weights.safetensors").write_bytes(b"\x80\x04pickle")
    decoder_card = ModuleCard.parse((tiny_store / "decoder-en/1/card.toml").read_text("utf-8"))
    (store / "decoder-en/1/card.toml").write_text(
        replace(
            decoder_card, contract=replace(decoder_card.contract, rows_per_second=12.5)
        ).to_toml()
    )
    modules = gateway.services.modules
    table = modules.table
    async with talking(gateway) as said:
        for ref, kind in ((contract, RateMismatch), (golden, BadModule), (weights, BadModule)):
            with pytest.raises(LegonnError) as caught:
                await modules.load(ref)
            assert type(caught.value) is kind, caught.value
        with pytest.raises(UnknownModule):
            await modules.load(ModuleRef("..", "etc"))
    assert modules.table is table
    assert {one.versions for one in said} == {frozenset({("speech-en/1", "decoder-en/1")})}


@pytest.mark.parametrize(
    ("program", "said"),
    [
        ("import os; os.kill(os.getpid(), 11)", "signal 11"),
        ("import sys; sys.exit(3)", "code 3"),
        ("print('no json'); print('[]'); raise SystemExit(1)", "code 1"),
    ],
)
async def test_a_version_that_crashes_its_reader_is_told(tiny_store, program, said):
    rehearsal = ProcessRehearsal(
        RehearsalOptions((shutil.which("python3") or "python3", "-c", program), tiny_store)
    )
    with pytest.raises(BadModule, match=said):
        await rehearsal.run(SPEECH, [DECODER], lambda state: None)


async def test_a_rehearsal_that_hangs_is_ended(tiny_store):
    program = "import time; time.sleep(600)"
    options = RehearsalOptions(
        (shutil.which("python3") or "python3", "-c", program), tiny_store, timeout_s=0.5
    )
    with pytest.raises(BadModule, match=r"within 0\.5 s"):
        await ProcessRehearsal(options).run(SPEECH, [], lambda state: None)


def resources(pid: int) -> tuple[int, int, int]:
    """Resident bytes, open files and threads of a process."""
    folder = Path(f"/proc/{pid}")
    resident = int((folder / "statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    threads = len(list((folder / "task").iterdir()))
    return resident, len(list((folder / "fd").iterdir())), threads


@pytest.mark.parametrize("count", [4, 50])
async def test_swaps_leave_nothing_behind(gateway, monkeypatch, count):
    # The rehearsal is a process of its own and ends with it; here the engine is looked at.
    monkeypatch.setattr(gateway.services.modules, "_rehearsal", None)
    await swapped(gateway, SPEECH_2, DECODER)
    await swapped(gateway, SPEECH, DECODER)
    before = [resources(pid) for pid in (engine_pid(), os.getpid())]
    async with talking(gateway) as said:
        for _ in range(count // 2):
            await swapped(gateway, SPEECH_2, DECODER)
            await swapped(gateway, SPEECH, DECODER)
    after = [resources(pid) for pid in (engine_pid(), os.getpid())]
    for (memory, files, threads), (memory_now, files_now, threads_now) in zip(
        before, after, strict=True
    ):
        assert memory_now - memory < 64 << 20
        assert files_now - files <= 8, "a few channels of the streams may still close"
        assert threads_now - threads <= 8
    health = await gateway._backend.health()
    assert (health.open_slots, health.waiting_jobs) == (0, 0)
    assert not gateway.services.modules.pins.counts
    assert len(await gateway._backend.describe()) == 3
    assert len(said) >= NUM_STREAMS
