"""Random streams through the machine and the fake: the promises hold whatever happens.

Each seed is one stream: its audio, how it is cut into messages, when it is flushed and what is lost
on the way. The same audio, whole and undisturbed, says what the finals must be.
"""

from __future__ import annotations

import random
from collections.abc import AsyncIterator

import numpy as np
import pytest
from prometheus_client import CollectorRegistry

from legonn_core.errors import BackendDown, LegonnError, StateLost
from legonn_server.backends.fake import SAMPLE_RATE, FakeBackend, FakeScript
from legonn_server.gateway.stream import StreamRunner, Workers
from legonn_server.pools.decoder_pool import DecoderLimits, DecoderPool
from legonn_server.pools.encoder_pool import EncoderPool
from legonn_server.pools.module_manager import ModuleManager
from legonn_server.routing.routes import Modality, route_key
from legonn_server.session import commands as c
from legonn_server.session import events as e
from legonn_server.session.endpoint import EndpointRule, EndReason
from legonn_server.session.machine import SessionMachine
from legonn_server.session.policy import DecodingPolicy
from legonn_server.session.table import State
from legonn_server.telemetry.metrics import Metrics

RULE = EndpointRule(max_segment_ms=6_000, max_nonspeech_ms=2_000, cut_window_ms=2_000)


def conversation(dice: random.Random) -> np.ndarray:
    """Up to a quarter of a minute of talk and pauses, as loudness over time."""
    parts = []
    for _ in range(dice.randint(0, 6)):
        pause = np.zeros(dice.randint(0, 3 * SAMPLE_RATE), np.float32)
        speech = np.full(dice.randint(400, 2 * SAMPLE_RATE), dice.uniform(0.02, 1.0), np.float32)
        gaps = np.ones_like(speech)
        for _ in range(dice.randint(0, 3)):
            start = dice.randrange(len(speech))
            gaps[start : start + dice.randint(100, 6_000)] = 0
        parts += [pause, speech * gaps]
    return np.concatenate([np.zeros(dice.randint(0, 9_000), np.float32), *parts])


async def stream(
    audio: np.ndarray,
    cuts: list[int],
    flushes: set[int],
    *,
    interim: bool,
    faults: random.Random | None,
) -> tuple[list[c.Command], FakeBackend]:
    """Run one stream and return all that it emitted."""

    def fault(method: str, count: int) -> LegonnError | None:
        del count
        if faults is None or faults.random() > 0.08:
            return None
        if method == "step" and faults.random() < 0.5:
            backend.lose_state()
        return StateLost("lost") if method == "step" else BackendDown("gone")

    backend = FakeBackend(FakeScript(fault=fault))
    metrics = Metrics(CollectorRegistry())
    manager = ModuleManager(backend, metrics)
    faults_later, faults = faults, None
    await manager.start()
    faults = faults_later
    machine = SessionMachine(DecodingPolicy(max_attempts=1_000))
    runner = StreamRunner(
        machine,
        Workers(
            EncoderPool(backend, metrics), DecoderPool(backend, metrics, DecoderLimits()), metrics
        ),
        find_pair=lambda: manager.find(route_key(Modality.SPEECH, "en", "en")),
        max_pending_s=0.5,
    )

    async def events() -> AsyncIterator[e.Event]:
        yield e.Opened(sample_rate=SAMPLE_RATE, rule=RULE, interim_results=interim)
        for start, stop in zip([0, *cuts], [*cuts, len(audio)], strict=True):
            yield e.AudioReceived(audio[start:stop])
            if stop in flushes:
                yield e.Flushed()

    emitted: list[c.Command] = []

    async def emit(command: c.Command) -> None:
        emitted.append(command)

    await runner.run(events(), emit)
    assert machine.state is State.CLOSED
    assert backend.num_open_slots == 0
    return emitted, backend


def finals(emitted: list[c.Command]) -> list[tuple[int, int, int, str, EndReason]]:
    """What must not depend on cuts and losses."""
    return [
        (one.segment_index, one.start_sample, one.end_sample, one.hypotheses[0].text, one.reason)
        for one in emitted
        if isinstance(one, c.EmitFinal)
    ]


def check_promises(emitted: list[c.Command], num_samples: int, flushes: set[int]) -> None:
    """The promises about one stream's answers."""
    assert isinstance(emitted[0], c.EmitStarted)
    assert isinstance(emitted[-1], c.CloseStream)
    stable, revision, index, end = "", 0, 0, 0
    for one in emitted:
        if isinstance(one, c.EmitPartial):
            assert one.segment_index == index
            assert one.revision > revision
            assert one.stable_text.startswith(stable)
            stable, revision = one.stable_text, one.revision
        elif isinstance(one, c.EmitFinal):
            assert one.segment_index == index
            assert end <= one.start_sample <= one.end_sample <= num_samples
            best = one.hypotheses[0]
            assert best.text.startswith(stable)
            length_ms = (one.end_sample - one.start_sample) * 1000 // SAMPLE_RATE
            times = [time for word in best.words for time in (word.start_ms, word.end_ms)]
            assert all(0 <= time <= length_ms for time in times)
            starts = [word.start_ms for word in best.words]
            assert starts == sorted(starts)
            stable, revision, index, end = "", 0, index + 1, one.end_sample
    closing = emitted[-1]
    assert closing.num_segments == index
    assert closing.final_samples + closing.nonspeech_samples == num_samples
    ends = {one.end_sample for one in emitted if isinstance(one, c.EmitFinal)}
    assert {flush for flush in flushes if flush} <= ends


@pytest.mark.parametrize("seed", range(40))
async def test_finals_depend_on_the_audio_alone(seed: int):
    dice = random.Random(seed)
    audio = conversation(dice)
    positions = range(1, max(len(audio), 2))
    cuts = sorted(dice.sample(positions, min(dice.randint(0, 40), len(positions))))
    flushes = {cut for cut in cuts if dice.random() < 0.1 and cut < len(audio)}
    cuts = [cut for cut in cuts if cut < len(audio)]
    interim = dice.random() < 0.7
    marks = sorted(flushes)

    plain, _ = await stream(audio, marks, flushes, interim=interim, faults=None)
    cut, _ = await stream(audio, cuts, flushes, interim=interim, faults=None)
    lost, _ = await stream(audio, cuts, flushes, interim=interim, faults=random.Random(seed))
    for emitted in (plain, cut, lost):
        check_promises(emitted, len(audio), flushes)
    assert finals(cut) == finals(plain)
    assert finals(lost) == finals(plain)


async def test_a_stream_is_given_up_after_its_attempts():
    def fault(method: str, count: int) -> LegonnError | None:
        return BackendDown("gone") if method == "decode" and count < 50 else None

    backend = FakeBackend(FakeScript(fault=fault))
    metrics = Metrics(CollectorRegistry())
    manager = ModuleManager(backend, metrics)
    await manager.start()
    runner = StreamRunner(
        SessionMachine(DecodingPolicy(max_attempts=3)),
        Workers(
            EncoderPool(backend, metrics), DecoderPool(backend, metrics, DecoderLimits()), metrics
        ),
        find_pair=lambda: manager.find(route_key(Modality.SPEECH, "en", "en")),
        max_pending_s=2.0,
    )

    async def events() -> AsyncIterator[e.Event]:
        yield e.Opened(sample_rate=SAMPLE_RATE, rule=RULE)
        yield e.AudioReceived(np.full(SAMPLE_RATE, 0.5, np.float32))

    async def emit(command: c.Command) -> None:
        del command

    with pytest.raises(ExceptionGroup) as caught:
        await runner.run(events(), emit)
    assert caught.group_contains(BackendDown, match="3 times")
    assert backend.num_calls["decode"] == 3
    assert backend.num_open_slots == 0
