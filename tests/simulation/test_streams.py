"""Random streams through the machine and the fake: the promises hold whatever happens.

Each seed is one stream: its audio, how it is cut into messages, when it is flushed and what is lost
on the way. The same audio, whole and undisturbed, says what the finals must be.
"""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Iterator

import numpy as np
import pytest
from prometheus_client import CollectorRegistry

from legonn_core.errors import BackendDown, LegonnError, PoisonSegment
from legonn_server.backends.fake import SAMPLE_RATE, FakeBackend, FakeScript
from legonn_server.gateway.stream import StreamRunner, Workers
from legonn_server.pools.decoder_pool import DecoderLimits, DecoderPool
from legonn_server.pools.encoder_pool import EncoderPool
from legonn_server.pools.module_manager import ModuleManager
from legonn_server.routing.routes import Modality, route_key
from legonn_server.session import commands as c
from legonn_server.session import events as e
from legonn_server.session.machine import SessionMachine
from legonn_server.session.policy import DecodingPolicy
from legonn_server.telemetry.metrics import Metrics
from tests.support.streams import RULE, check_promises, conversation, finals, run_events


def stream_events(
    audio: np.ndarray, cuts: list[int], flushes: set[int], *, interim: bool
) -> Iterator[e.Event]:
    """The caller's side of one stream."""
    yield e.Opened(sample_rate=SAMPLE_RATE, rule=RULE, interim_results=interim)
    for start, stop in zip([0, *cuts], [*cuts, len(audio)], strict=True):
        yield e.AudioReceived(audio[start:stop])
        if stop in flushes:
            yield e.Flushed()


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

    plain = await run_events(stream_events(audio, marks, flushes, interim=interim))
    cut = await run_events(stream_events(audio, cuts, flushes, interim=interim))
    lost = await run_events(
        stream_events(audio, cuts, flushes, interim=interim), faults=random.Random(seed)
    )
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


@pytest.mark.parametrize("deadly", ["step", "decode"])
async def test_a_segment_that_ends_two_engines_is_not_tried_a_third_time(deadly: str):
    def fault(method: str, count: int) -> LegonnError | None:
        if method != deadly or not count:
            return None
        backend.lose_state()
        return BackendDown("the engine ended while it worked on this", was_running=True)

    backend = FakeBackend(FakeScript(fault=fault))
    metrics = Metrics(CollectorRegistry())
    manager = ModuleManager(backend, metrics)
    await manager.start()
    runner = StreamRunner(
        SessionMachine(DecodingPolicy(max_attempts=1_000)),
        Workers(
            EncoderPool(backend, metrics), DecoderPool(backend, metrics, DecoderLimits()), metrics
        ),
        find_pair=lambda: manager.find(route_key(Modality.SPEECH, "en", "en")),
        max_pending_s=2.0,
    )

    async def events() -> AsyncIterator[e.Event]:
        yield e.Opened(sample_rate=SAMPLE_RATE, rule=RULE, interim_results=True)
        yield e.AudioReceived(np.full(4 * SAMPLE_RATE, 0.5, np.float32))

    async def emit(command: c.Command) -> None:
        del command

    with pytest.raises(ExceptionGroup) as caught:
        await runner.run(events(), emit)
    assert caught.group_contains(PoisonSegment)
    assert backend.num_open_slots == 0
