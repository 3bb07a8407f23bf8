"""One suite for every backend, and what is particular to a child process.

The fake and the child's engine hear the same and say the same; Triton runs real, tiny modules.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from contextlib import asynccontextmanager
from pathlib import Path

import numpy as np
import pytest

from legonn_core.errors import (
    BackendDown,
    BadAudio,
    BadModule,
    ProtocolViolation,
    StateLost,
    UnknownModule,
)
from legonn_core.runtime.messages import DecodeJob, EncodeStep, EncodeText, ModuleRef
from legonn_server.backends.embedded import EmbeddedBackend, EmbeddedOptions
from legonn_server.backends.fake import CHUNK_SAMPLES, FakeBackend

ROOT = Path(__file__).parents[2]
SPEECH, DECODER, GERMAN = (ModuleRef(name, "1") for name in ("speech-en", "decoder-en", "text-de"))
LOUD = np.full(CHUNK_SAMPLES, 0.5, np.float32)


def embedded(*arguments: str, **options: float) -> EmbeddedBackend:
    path = os.pathsep.join(str(ROOT / part) for part in (".", "server", "protos/python"))
    program = str(ROOT / "tests/support/fake_engine.py")
    return EmbeddedBackend(
        EmbeddedOptions(
            command=(sys.executable, program, *arguments),
            environment={"PYTHONPATH": path, "PATH": os.environ["PATH"]},
            **options,
        )
    )


@asynccontextmanager
async def started(backend):
    await backend.start()
    try:
        yield backend
    finally:
        await backend.stop()


@pytest.fixture(params=["fake", "embedded", pytest.param("triton", marks=pytest.mark.triton)])
async def backend(request: pytest.FixtureRequest):
    if request.param == "triton":
        from tests.support.triton import connected  # its client library is an extra

        servers = request.getfixturevalue("triton_servers")
        async with connected(servers.options()) as found:
            yield found
        return
    async with started(FakeBackend() if request.param == "fake" else embedded()) as found:
        yield found


async def test_it_describes_its_modules(backend):
    found = await backend.describe()
    assert {str(one.ref) for one in found} >= {"speech-en/1", "decoder-en/1", "text-de/1"}
    assert (await backend.health()).is_alive


async def test_a_stream_goes_from_open_to_close(backend):
    slot = await backend.open(SPEECH)
    first = await backend.step(EncodeStep(slot, 0, LOUD))
    last = await backend.step(EncodeStep(slot, 1, LOUD[:0], is_last=True))
    assert first.total_rows == first.num_rows == len(first.times_ms) == len(first.blank_probs)
    assert last.total_rows == first.num_rows + last.num_rows
    job = DecodeJob(DECODER, (first.marginals, last.marginals), forced=first.best.tokens[:1])
    found = (await backend.decode(job)).hypotheses[0]
    assert found.tokens[:1] == first.best.tokens[:1]
    assert sum(word.num_tokens for word in found.words) == len(found.tokens)
    await backend.close_slot(slot)
    await backend.close_slot(slot)
    assert (await backend.health()).open_slots == 0


async def test_steps_out_of_order_are_refused(backend):
    slot = await backend.open(SPEECH)
    with pytest.raises(ProtocolViolation):
        await backend.step(EncodeStep(slot, 5, LOUD))


async def test_a_closed_slot_has_no_state(backend):
    slot = await backend.open(SPEECH)
    await backend.close_slot(slot)
    with pytest.raises(StateLost):
        await backend.step(EncodeStep(slot, 0, LOUD))


async def test_text_is_encoded_and_decoded(backend):
    encoded = await backend.encode_text(EncodeText(GERMAN, "guten Tag"))
    found = await backend.decode(DecodeJob(DECODER, (encoded.marginals,)))
    again = await backend.decode(DecodeJob(DECODER, (encoded.marginals,)))
    assert found == again
    if isinstance(backend, (FakeBackend, EmbeddedBackend)):
        assert found.hypotheses[0].text == "GUTEN TAG"


async def test_a_chunk_too_long_is_refused_and_harms_nobody(backend):
    slot = await backend.open(SPEECH)
    with pytest.raises(BadAudio):
        await backend.step(EncodeStep(slot, 0, np.zeros(CHUNK_SAMPLES + 1, np.float32)))
    assert (await backend.step(EncodeStep(slot, 0, LOUD))).num_rows


async def test_many_streams_at_once_keep_apart(backend):
    """Steps of several streams in flight together give what each gives alone."""
    audio = [speech_like(seed) for seed in range(6)]
    alone = [await heard(backend, one) for one in audio]
    together = await asyncio.gather(*(heard(backend, one) for one in audio))
    assert together == alone
    assert (await backend.health()).open_slots == 0


def speech_like(seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    levels = np.repeat(rng.uniform(0, 0.9, 12), CHUNK_SAMPLES // 4)
    return (levels * rng.choice([-1.0, 1.0], len(levels))).astype(np.float32)


async def heard(backend, audio: np.ndarray) -> tuple[int, ...]:
    """Tokens that the decoder makes of a recording."""
    slot = await backend.open(SPEECH)
    blocks = []
    for seq in range(0, len(audio), CHUNK_SAMPLES):
        chunk = audio[seq : seq + CHUNK_SAMPLES]
        is_last = seq + CHUNK_SAMPLES >= len(audio)
        step = EncodeStep(slot, seq // CHUNK_SAMPLES, chunk, is_last=is_last)
        blocks.append((await backend.step(step)).marginals)
    await backend.close_slot(slot)
    found = await backend.decode(DecodeJob(DECODER, tuple(blocks), row_ms=80.0))
    return found.hypotheses[0].tokens


async def test_unknown_modules_are_said(backend):
    with pytest.raises(UnknownModule):
        await backend.open(ModuleRef("nobody", "1"))
    with pytest.raises(UnknownModule):
        await backend.load(ModuleRef("nobody", "1"))


async def test_modules_come_and_go(backend):
    await backend.unload(GERMAN)
    assert GERMAN not in {one.ref for one in await backend.describe()}
    with pytest.raises(UnknownModule):
        await backend.encode_text(EncodeText(GERMAN, "x"))
    assert (await backend.load(GERMAN)).ref == GERMAN
    await backend.encode_text(EncodeText(GERMAN, "x"))


async def test_a_stopped_backend_is_down(backend):
    await backend.stop()
    with pytest.raises(BackendDown):
        await backend.open(SPEECH)
    assert not (await backend.health()).is_alive


async def test_the_child_comes_back_after_its_death(tmp_path: Path):
    pid_file = tmp_path / "pid"
    async with started(embedded("--pid-file", str(pid_file))) as backend:
        await backend.unload(GERMAN)
        slot = await backend.open(SPEECH)
        os.kill(int(pid_file.read_text()), signal.SIGKILL)
        with pytest.raises((StateLost, BackendDown)):
            for seq in range(1_000):
                await backend.step(EncodeStep(slot, seq, LOUD))
        again = await backend.open(SPEECH)
        assert again != slot
        with pytest.raises(StateLost):
            await backend.step(EncodeStep(slot, 0, LOUD))
        assert (await backend.step(EncodeStep(again, 0, LOUD))).num_rows
        with pytest.raises(UnknownModule):
            await backend.encode_text(EncodeText(GERMAN, "still unloaded"))


async def test_calls_in_flight_fail_when_the_child_dies():
    async with started(embedded()) as backend:
        with pytest.raises(BackendDown):
            await backend.encode_text(EncodeText(GERMAN, "die"))
        await backend.encode_text(EncodeText(GERMAN, "live"))


async def test_what_the_child_refuses_is_raised():
    with pytest.raises(BadModule, match="damaged"):
        await embedded("--refuse").start()


async def test_a_child_that_dies_at_once_is_said():
    with pytest.raises(BackendDown, match="while it started"):
        await embedded("--die").start()


async def test_a_caller_that_leaves_keeps_no_slot():
    async with started(embedded("--latency", "0.05")) as backend:
        leaving = asyncio.create_task(backend.open(SPEECH))
        await backend.health()
        leaving.cancel()
        with pytest.raises(asyncio.CancelledError):
            await leaving
        async with asyncio.timeout(5):
            slots = await asyncio.gather(*(backend.open(SPEECH) for _ in range(63)))
            last = await backend.open(SPEECH)
        assert last not in slots


async def test_an_answer_that_does_not_come_is_not_waited_for():
    async with started(embedded("--latency", "2", call_timeout_s=0.05)) as backend:
        with pytest.raises(BackendDown, match="in time"):
            await backend.open(SPEECH)


async def test_the_child_leaves_with_its_parent(tmp_path: Path):
    pid_file = tmp_path / "pid"
    async with started(embedded("--pid-file", str(pid_file))):
        pid = int(pid_file.read_text())
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


async def test_a_child_that_hangs_is_ended_by_its_own_pace(tmp_path: Path):
    pid_file = tmp_path / "pid"
    fast = {"min_hang_s": 0.4, "hang_turns": 10.0, "ping_interval_s": 0.1}
    async with started(embedded("--pid-file", str(pid_file), **fast)) as backend:
        await backend.encode_text(EncodeText(GERMAN, "one"))
        pid = int(pid_file.read_text())
        os.kill(pid, signal.SIGSTOP)
        with pytest.raises(BackendDown, match="while it worked") as caught:
            await backend.encode_text(EncodeText(GERMAN, "two"))
        assert caught.value.was_running
        with pytest.raises(ProcessLookupError):
            for _ in range(1_000):
                os.kill(pid, 0)
                await asyncio.sleep(0.01)
        assert await backend.encode_text(EncodeText(GERMAN, "three"))


def test_the_patience_with_a_child_follows_its_warm_times():
    options = EmbeddedOptions(command=(), min_hang_s=3.0, hang_turns=10.0)
    assert [options.hang_after_s(turn) for turn in (0.0, 0.1, 2.0)] == [3.0, 3.0, 20.0]


async def test_a_slow_child_is_left_alone():
    fast = {"min_hang_s": 0.5, "ping_interval_s": 0.1}
    async with started(embedded("--latency", "0.3", **fast)) as backend:
        for _ in range(5):
            await backend.encode_text(EncodeText(GERMAN, "slow"))
