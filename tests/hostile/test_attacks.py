"""Each attack in small: afterwards the server serves, holds nothing of it, and blames itself not.

How much others are slowed down is measured by ``make test-hostile``; no test asserts on time.
"""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from legonn_server.gateway.doorkeeper import AccessOptions
from tests.hostile.attacks import ADMIN, ATTACKER, ATTACKS, GREEDY, bearer
from tests.support.access import Signer, key_entry
from tests.support.gateway import audio, first, linear16, running, texts, tone

SECONDS = 0.5
QUOTAS = """
[tenants.attacker]
max_streams = 4

[tenants.greedy]
max_streams = 4
audio_seconds_per_minute = 240
"""
# Bombs pack two hours of silence first; thousands of resets and the caller who waits behind them
# want a server in a process of its own, as `make test-hostile` has it.
SMALL = sorted(ATTACKS.keys() - {"bombs", "rapid_reset"})


@pytest.fixture
def access(tmp_path: Path) -> AccessOptions:
    path = tmp_path / "access.toml"
    path.write_text(
        key_entry("lk_bystander", "bystander", "speech")
        + key_entry(ATTACKER, "attacker", "speech", "translate")
        + key_entry(GREEDY, "greedy", "speech")
        + key_entry(ADMIN, "ops", "admin")
        + Signer(tmp_path).entry
        + QUOTAS
    )
    return AccessOptions(file=str(path))


@pytest.mark.parametrize("name", SMALL)
async def test_the_server_is_alive_and_clean_after(name: str, access: AccessOptions):
    async with running(access=access, http="127.0.0.1:0") as server:
        gateway = server.gateway
        web = gateway.page.removeprefix("http://").rstrip("/")
        done = await ATTACKS[name](gateway.address, web, SECONDS)
        assert sum(done.values())
        assert not done["let in"] and not done["loaded"]
        async with asyncio.timeout(60):
            while gateway.services.speech_admission.num_open or any(
                gateway.services.tenants.num_open(one) for one in ("attacker", "greedy", "ops")
            ):
                await asyncio.sleep(0.05)
        talk = [first(), audio(linear16(tone(1.0)))]
        call = server.speech.StreamingRecognize(iter(talk), metadata=bearer("lk_bystander"))
        assert texts([answer async for answer in call])
        metrics = gateway.metrics
        assert metrics.errors.labels("INTERNAL")._value.get() == 0
        assert metrics.errors.labels("INVARIANT")._value.get() == 0
