"""``legonn modules`` and ``legonn routes`` against a running gateway: what an operator types."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import sys
from pathlib import Path

import pytest

import legonn
from legonn.cli import main
from legonn_core.interface.reference import ModuleRef
from legonn_server.routing.swap import DrainRule, VersionState
from tests.support.gateway import running
from tests.support.versions import fake_version, state_reached

ROOT = Path(__file__).parents[2]
ABSENT = (
    fake_version("speech-en", "2"),
    fake_version("decoder-en", "2"),
    fake_version("speech-en", "9", fingerprint="another"),
)
AT_ONCE = DrainRule(retire_after_seconds=0.0)

ROUTES = """
generation = 1

[[routes]]
modality = "speech"
source = "en"
target = "en"
encoder = "speech-en/2"
decoder = "decoder-en/1"

[routes.shadow]
decoder = "decoder-en/2"
percent = 5
"""


async def typed(address: str, *words: str) -> tuple[int, str]:
    """Exit code and what was written; in a process of its own, as an operator has it."""
    path = os.pathsep.join(str(ROOT / part) for part in (".", "protos/python"))
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "legonn", *words),
        env={**os.environ, "PYTHONPATH": path, "LEGONN_ADDRESS": address},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    written, _ = await process.communicate()
    return process.returncode or 0, written.decode()


async def test_a_swap_is_told_step_by_step():
    async with running(absent=ABSENT, swap=AT_ONCE) as server:
        address = server.gateway.address
        code, said = await typed(address, "modules", "swap", "speech-en/2")
        assert code == 0, said
        steps = [line.partition(" (")[0] for line in said.splitlines()]
        assert [step for step in steps if step.startswith("speech-en/2 is")] == [
            f"speech-en/2 is {state}" for state in ("loading", "checking", "warm", "serving")
        ]
        assert steps[-2:] == ["speech-en/1 is retired", "speech-en/2 serves"]
        code, said = await typed(address, "modules", "list")
        assert "SERVING" in said and "RETIRED" in said
        code, said = await typed(address, "routes")
        assert "speech-en/2" in said and "generation 2" in said


async def test_a_decoder_is_swapped_in_all_its_routes():
    async with running(absent=ABSENT, swap=AT_ONCE) as server:
        code, said = await typed(
            server.gateway.address, "modules", "swap", "decoder-en/2", "--json"
        )
        assert code == 0, said
        last = [json.loads(line) for line in said.splitlines()][-1]
        assert (last["module"], last["state"]) == ("decoder-en/1", "RETIRED")
        routes = server.gateway.services.modules.table.routes.values()
        assert {str(route.decoder) for route in routes} == {"decoder-en/2"}


async def test_asyncio_swaps_tries_and_refuses():
    """The same steps without a process between: set for all, on trial, and not fit."""
    async with (
        running(absent=ABSENT, swap=AT_ONCE) as server,
        legonn.AsyncClient(server.gateway.address) as client,
    ):
        steps = [one async for one in client.swap_module("speech-en", "2")]
        assert (steps[-1].module, steps[-1].state) == ("speech-en/1", "RETIRED")
        trial = legonn.Canary(steps=(1, 100), hold_s=600.0)
        async for _ in client.swap_module("decoder-en", "2", canary=trial):
            pass
        routes = (await client.routes()).routes
        assert {(one.decoder, one.canary.decoder) for one in routes if one.canary} == {
            ("decoder-en/1", "decoder-en/2")
        }
        before = await client.routes()
        with pytest.raises(legonn.ContractMismatch, match="vocabulary"):
            async for _ in client.swap_module("speech-en", "9"):
                pass
        assert (await client.routes()).routes[0].encoder == before.routes[0].encoder


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["modules", "swap", "speech-en/7"], "the module store has no speech-en/7"),
        (["modules", "swap", "speech-en/9"], "vocabulary"),
        (["modules", "load", "../etc"], "letters, digits"),
        (["modules", "load", "speech-en"], "name/version"),
        (["modules", "unload", "speech-en/1"], "a route names speech-en/1"),
        (["routes", "set", "speech", "en", "en", "speech-en/5", "decoder-en/1"], "not loaded"),
        (["routes", "set", "speech", "de", "en", "speech-en/1", "decoder-en/1"], "not from de"),
        (["routes", "apply", "no-such-file"], "no-such-file"),
    ],
)
async def test_what_cannot_be_is_one_sentence(words, said):
    async with running(absent=ABSENT) as server:
        before = server.gateway.services.modules.table
        code, written = await typed(server.gateway.address, *words)
        assert code == 1
        assert said in written
        assert server.gateway.services.modules.table == before


async def test_routes_are_applied_from_a_file(tmp_path):
    file = tmp_path / "routes.toml"
    file.write_text(ROUTES, encoding="utf-8")
    async with running(absent=ABSENT, swap=AT_ONCE) as server:
        code, said = await typed(server.gateway.address, "routes", "apply", str(file))
        assert code == 0, said
        assert "shadow speech-en/2+decoder-en/2" in said
        modules = server.gateway.services.modules
        await state_reached(modules, ModuleRef("decoder-en", "2"), VersionState.SHADOW)
        await state_reached(modules, ModuleRef("speech-en", "1"), VersionState.RETIRED)
        unload = ("modules", "unload", "decoder-en/2", "--drain")
        code, said = await typed(server.gateway.address, *unload)
        assert code == 1 and "a route names decoder-en/2" in said


def test_a_folder_is_checked_without_a_server(tiny_store, tmp_path, capsys):
    assert (
        main(["modules", "check", str(tiny_store / "speech-en/1"), "--with", "decoder-en/1"]) == 0
    )
    assert "speech-en/1 is fit" in capsys.readouterr().out
    store = shutil.copytree(tiny_store, tmp_path / "store")
    (store / "speech-en/1/weights.safetensors").write_bytes(b"no weights")
    assert main(["modules", "check", str(store / "speech-en/1")]) == 1
    assert "10 bytes" in capsys.readouterr().out
