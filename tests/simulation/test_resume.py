"""Sessions that break at any moment and are taken up again, and segments that are cancelled.

A client that loses its server knows the finals and partials that it has received, and keeps the
audio since the last final. From these alone another server goes on: over both, the finals are those
of a session that never broke, each once, and no promised word is taken back.
"""

from __future__ import annotations

import random
from collections.abc import Iterator

import numpy as np
import pytest

from legonn_server.backends.fake import SAMPLE_RATE
from legonn_server.session import commands as c
from legonn_server.session import events as e
from legonn_server.session.endpoint import EndReason
from tests.support.streams import RULE, check_promises, conversation, finals, run_events


def session_events(
    audio: np.ndarray,
    flushes: set[int],
    cancels: set[int] = frozenset(),
    *,
    dice: random.Random,
    origin: int = 0,
    first_index: int = 0,
    committed_text: str = "",
) -> Iterator[e.Event]:
    """The caller's side from ``origin`` on, in messages of any size."""
    yield e.Opened(
        sample_rate=SAMPLE_RATE,
        rule=RULE,
        interim_results=True,
        first_index=first_index,
        committed_text=committed_text,
    )
    place = origin
    stops = sorted({*flushes, *cancels, len(audio)})
    while place < len(audio):
        stop = min(place + dice.randint(1, 8_000), next(one for one in stops if one > place))
        yield e.AudioReceived(audio[place:stop])
        place = stop
        if place in cancels:
            yield e.SegmentCancelled()
        if place in flushes:
            yield e.Flushed()


def received(emitted: list[c.Command]) -> tuple[int, int, str]:
    """What a client knows when its server is gone: (sample, next index, stable text)."""
    sample, index, stable = 0, 0, ""
    for one in emitted:
        if isinstance(one, c.EmitPartial):
            stable = one.stable_text
        elif isinstance(one, c.EmitFinal):
            sample, index, stable = one.end_sample, one.segment_index + 1, ""
    return sample, index, stable


@pytest.mark.parametrize("seed", range(60))
async def test_finals_come_once_over_a_break(seed: int):
    dice = random.Random(seed)
    audio = conversation(dice)
    places = [dice.randint(1, len(audio) + 1) for _ in range(2)]
    flushes = {place for place in places if place < len(audio) and dice.random() < 0.4}
    whole = await run_events(session_events(audio, flushes, dice=dice))
    heard = whole[: dice.randint(1, len(whole) - 1)]
    sample, index, stable = received(heard)

    later = {place for place in flushes if place > sample}
    events = session_events(
        audio,
        later,
        dice=dice,
        origin=sample,
        first_index=index,
        committed_text=stable,
    )
    rest = await run_events(events, faults=dice if seed % 2 else None)

    assert finals(heard) + finals(rest, origin=sample) == finals(whole)
    shown = stable
    for one in rest:
        if isinstance(one, c.EmitPartial) and one.segment_index == index:
            assert one.stable_text.startswith(shown)
            shown = one.stable_text
    assert rest[-1].final_samples + rest[-1].nonspeech_samples == len(audio) - sample
    assert rest[-1].num_segments == len(finals(rest))


@pytest.mark.parametrize("loud", [0.0, 0.5])
@pytest.mark.parametrize("is_flushed", [True, False])
async def test_a_promise_is_kept_whatever_is_heard(loud: float, is_flushed: bool):
    """A client that comes back with other audio still gets a final that begins with the promise."""

    def events() -> Iterator[e.Event]:
        yield e.Opened(
            sample_rate=SAMPLE_RATE, rule=RULE, first_index=3, committed_text="x y z", num_best=2
        )
        yield e.AudioReceived(np.full(SAMPLE_RATE, loud, np.float32))
        if is_flushed:
            yield e.Flushed()

    emitted = await run_events(events())
    index, start, end, text, _ = finals(emitted)[0]
    assert (index, start) == (3, 0)
    assert end <= SAMPLE_RATE
    assert text.startswith("x y z")
    assert emitted[-1].num_segments == len(finals(emitted))


async def test_a_promise_outlives_dropped_silence():
    """The silence before the promised words is dropped first, as it was in the broken session."""
    audio = np.concatenate([np.zeros(3 * SAMPLE_RATE), np.full(SAMPLE_RATE, 0.5)])

    def events() -> Iterator[e.Event]:
        yield e.Opened(
            sample_rate=SAMPLE_RATE, rule=RULE, interim_results=True, committed_text="n n"
        )
        yield e.AudioReceived(audio.astype(np.float32))

    emitted = await run_events(events())
    (final,) = finals(emitted)
    assert final[1] > SAMPLE_RATE
    assert set(final[3].split()) == {"n"}
    check_promises(emitted, len(audio), set())


@pytest.mark.parametrize("seed", range(30))
async def test_a_cancelled_segment_leaves_no_final(seed: int):
    dice = random.Random(seed)
    audio = np.concatenate([conversation(dice), np.full(SAMPLE_RATE, 0.4, np.float32)])
    cancels = {dice.randint(1, len(audio) - 1) for _ in range(dice.randint(1, 3))}
    flushes = {dice.randint(1, len(audio) - 1)} - cancels
    one = await run_events(session_events(audio, flushes, cancels, dice=dice))
    other = await run_events(session_events(audio, flushes, cancels, dice=dice), faults=dice)
    for emitted in (one, other):
        check_promises(emitted, len(audio), set())
        assert sum(isinstance(command, c.EmitCancelled) for command in emitted) == len(cancels)
    assert finals(one) == finals(other)
    for _, start, end, _, reason in finals(one):
        assert not any(start < cancel < end for cancel in cancels)
        assert reason is not EndReason.CANCELLED


async def test_what_was_cancelled_is_not_heard():
    speech, pause = np.full(SAMPLE_RATE, 0.5, np.float32), np.zeros(800, np.float32)

    def events() -> Iterator[e.Event]:
        yield e.Opened(sample_rate=SAMPLE_RATE, rule=RULE, interim_results=True)
        yield e.AudioReceived(np.concatenate([speech, pause]))
        yield e.SegmentCancelled()
        yield e.AudioReceived(np.full(SAMPLE_RATE, 0.9, np.float32))

    emitted = await run_events(events())
    (final,) = finals(emitted)
    assert final[1] == SAMPLE_RATE + 800
    assert set(final[3].split()) == {"w"}
    assert emitted[-1].nonspeech_samples == SAMPLE_RATE + 800
