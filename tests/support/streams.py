"""Streams through the session machine and the fake, and the promises about what they emit."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Iterable

import numpy as np
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


async def run_events(
    events: Iterable[e.Event], *, faults: random.Random | None = None
) -> list[c.Command]:
    """Run one stream to its end and return all that it emitted."""

    def fault(method: str, count: int) -> LegonnError | None:
        del count
        if not is_serving or faults is None or faults.random() > 0.08:
            return None
        if method == "step" and faults.random() < 0.5:
            backend.lose_state()
        return StateLost("lost") if method == "step" else BackendDown("gone")

    is_serving = False
    backend = FakeBackend(FakeScript(fault=fault))
    metrics = Metrics(CollectorRegistry())
    manager = ModuleManager(backend, metrics)
    await manager.start()
    is_serving = True
    machine = SessionMachine(DecodingPolicy(max_attempts=1_000))
    runner = StreamRunner(
        machine,
        Workers(
            EncoderPool(backend, metrics), DecoderPool(backend, metrics, DecoderLimits()), metrics
        ),
        find_pair=lambda: manager.find(route_key(Modality.SPEECH, "en", "en")),
        max_pending_s=0.5,
    )

    async def given() -> AsyncIterator[e.Event]:
        for event in events:
            yield event

    emitted: list[c.Command] = []

    async def emit(command: c.Command) -> None:
        emitted.append(command)

    await runner.run(given(), emit)
    assert machine.state is State.CLOSED
    assert backend.num_open_slots == 0
    return emitted


def finals(
    emitted: Iterable[c.Command], *, origin: int = 0
) -> list[tuple[int, int, int, str, EndReason]]:
    """What must not depend on cuts, losses and breaks; samples count from ``origin``."""
    return [
        (
            one.segment_index,
            origin + one.start_sample,
            origin + one.end_sample,
            one.hypotheses[0].text,
            one.reason,
        )
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
        elif isinstance(one, c.EmitCancelled):
            assert one.segment_index == index
            stable, revision = "", 0
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
