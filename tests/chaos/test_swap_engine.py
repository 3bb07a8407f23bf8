"""Swaps, bad versions and lost engines through a real engine with tiny modules, under streams."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
from dataclasses import replace
from pathlib import Path

import pytest
import pytest_asyncio

from legonn_core.errors import BadModule, LegonnError, RateMismatch, UnknownModule
from legonn_core.interface.card import ModuleCard
from legonn_core.runtime.messages import ModuleRef
from legonn_server.app import Gateway
from legonn_server.backends.rehearsal import ProcessRehearsal, RehearsalOptions
from legonn_server.building import build_backend
from legonn_server.config.settings import ServerSettings, Settings
from legonn_server.routing.swap import DrainRule
from legonn_server.session.policy import DecodingPolicy
from tests.support.gateway import broken_promises
from tests.support.swapping import (
    DECODER_2,
    SPEECH_2,
    Resources,
    other_card,
    swapped,
    talk,
    talking,
)
from tests.support.tiny import DECODER, SPEECH, decoder, speech_encoder, write_tiny
from tests.support.versions import eventually

pytestmark = [
    pytest.mark.chaos,
    pytest.mark.timeout(600),
    pytest.mark.asyncio(loop_scope="module"),
]

NUM_STREAMS = 4


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def gateway(tiny_store: Path, tmp_path_factory: pytest.TempPathFactory):
    store = Path(shutil.copytree(tiny_store, tmp_path_factory.mktemp("swap") / "store"))
    settings = Settings(
        server=ServerSettings(
            listen="127.0.0.1:0", http="", metrics="", modules=str(store), threads=1
        ),
        swap=DrainRule(retire_after_seconds=0.0),
        # Untrained modules believe little of what they say; as noise it would not be shown.
        decoding=DecodingPolicy(min_confidence=0.0),
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


@pytest.mark.parametrize("count", [4, 50])
async def test_swaps_leave_nothing_behind(gateway, monkeypatch, count):
    # The rehearsal is a process of its own and ends with it; here the engine is looked at.
    monkeypatch.setattr(gateway.services.modules, "_rehearsal", None)
    await swapped(gateway, SPEECH_2, DECODER)
    await swapped(gateway, SPEECH, DECODER)
    before = [Resources.of(pid) for pid in (engine_pid(), os.getpid())]
    async with talking(gateway) as said:
        for _ in range(count // 2):
            await swapped(gateway, SPEECH_2, DECODER)
            await swapped(gateway, SPEECH, DECODER)
    after = [Resources.of(pid) for pid in (engine_pid(), os.getpid())]
    for now, then in zip(after, before, strict=True):
        assert now.grew_little(then), (then, now)
    health = await gateway._backend.health()
    assert (health.open_slots, health.waiting_jobs) == (0, 0)
    assert not gateway.services.modules.pins.counts
    assert len(await gateway._backend.describe()) == 3
    assert len(said) >= NUM_STREAMS
