"""Each promise, broken once."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from legonn_core.errors import BadText
from legonn_core.runtime.messages import DecodedText, Word
from legonn_server.backends.fake import fake_modules
from legonn_server.session import commands as c
from legonn_server.session import events as e
from legonn_server.session import text_messages as t
from legonn_server.session.endpoint import EndpointRule, EndReason
from legonn_server.session.promises import Promise, PromiseGuard, TextPromiseGuard

DECODER, ENCODER, *_ = fake_modules()


def text(content: str, *times: tuple[int, int]) -> DecodedText:
    words = tuple(Word("w", start, end, 0.9, 1, 0) for start, end in times)
    return DecodedText((), content, 0.0, 0.9, words)


PARTIAL = c.EmitPartial(0, 1, "one ", "two", 500)
FINAL = c.EmitFinal(
    0, 100, 900, (text("one two", (0, 10), (10, 20)),), ENCODER, DECODER, 0, EndReason.ENDPOINT
)


def guarded(*commands: c.Command, samples: int = 950, flushed_at: int = 0) -> list[Promise | None]:
    """What the guard says of each command, after ``samples`` were heard."""
    guard = PromiseGuard()
    guard.hear(e.Opened(sample_rate=16_000, rule=EndpointRule()))
    guard.hear(e.AudioReceived(np.zeros(flushed_at, np.float32)))
    guard.hear(e.Flushed())
    guard.hear(e.AudioReceived(np.zeros(samples - flushed_at, np.float32)))
    return [guard.broken(command) for command in commands]


GOOD = (
    c.EmitStarted(),
    PARTIAL,
    replace(PARTIAL, revision=2, stable_text="one two "),
    replace(FINAL, hypotheses=(text("one two three"),)),
    replace(FINAL, segment_index=1, start_sample=900, end_sample=950, hypotheses=(text("on"),)),
    c.CloseStream(2, 850, 100, 0),
)


def test_a_good_stream_breaks_nothing():
    assert guarded(*GOOD) == [None] * len(GOOD)
    assert guarded(*GOOD, flushed_at=900) == [None] * len(GOOD)


@pytest.mark.parametrize(
    ("bad", "promise"),
    [
        (replace(PARTIAL, revision=2, stable_text="on "), Promise.STABLE_TEXT_GROWS),
        (replace(PARTIAL, revision=2, segment_index=1), Promise.SEGMENTS_IN_ORDER),
        (PARTIAL, Promise.SEGMENTS_IN_ORDER),
        (c.EmitCancelled(1), Promise.SEGMENTS_IN_ORDER),
        (replace(FINAL, segment_index=2), Promise.SEGMENTS_IN_ORDER),
        (replace(FINAL, hypotheses=(text("two"),)), Promise.FINAL_BEGINS_WITH_STABLE),
        (replace(FINAL, end_sample=50), Promise.AUDIO_ONCE),
        (replace(FINAL, end_sample=951), Promise.AUDIO_ONCE),
        (
            replace(FINAL, hypotheses=(text("one two", (10, 20), (0, 10)),)),
            Promise.WORDS_IN_ORDER,
        ),
        (replace(FINAL, hypotheses=(text("one two", (0, 51)),)), Promise.WORDS_IN_ORDER),
        (c.EmitStarted(), Promise.ONE_END),
    ],
)
def test_a_broken_promise_is_named(bad: c.Command, promise: Promise):
    assert guarded(c.EmitStarted(), PARTIAL, bad) == [None, None, promise]


@pytest.mark.parametrize(
    ("closing", "promise"),
    [
        (c.CloseStream(1, 850, 100, 0), Promise.SEGMENTS_IN_ORDER),
        (c.CloseStream(2, 850, 99, 0), Promise.AUDIO_ONCE),
        (c.CloseStream(2, 849, 101, 0), Promise.AUDIO_ONCE),
    ],
)
def test_the_last_word_is_checked(closing: c.CloseStream, promise: Promise):
    assert guarded(*GOOD[:-1], closing)[-1] is promise


def test_a_flush_is_answered_where_it_was():
    assert guarded(*GOOD, flushed_at=950)[-1] is None
    assert guarded(*GOOD, flushed_at=920)[-2:] == [
        Promise.FLUSH_ANSWERED,
        Promise.SEGMENTS_IN_ORDER,
    ]
    assert guarded(*GOOD, flushed_at=500)[3] is Promise.FLUSH_ANSWERED
    unanswered = (*GOOD[:4], c.CloseStream(1, 800, 150, 0))
    assert guarded(*unanswered, flushed_at=920)[-1] is Promise.FLUSH_ANSWERED


def test_nothing_comes_before_the_start_or_after_the_end():
    assert guarded(PARTIAL) == [Promise.ONE_END]
    assert guarded(*GOOD, GOOD[1])[-1] is Promise.ONE_END


def test_a_resumed_stream_begins_with_what_was_promised():
    taken_up = c.EmitStarted(first_index=4, committed_text="one ")
    good = replace(FINAL, segment_index=4)
    assert guarded(taken_up, good) == [None, None]
    bad = replace(good, hypotheses=(text("two"),))
    assert guarded(taken_up, bad)[-1] is Promise.FINAL_BEGINS_WITH_STABLE


READING = t.TextReading((text("Where is"),), 3, ENCODER, DECODER)
TEXT_PARTIAL = t.EmitTextPartial(0, 1, "Where ", "i", 5)
TEXT_FINAL = t.EmitTextFinal(0, 0, 6, EndReason.FLUSH, 0, READING)
TEXT_GOOD = (c.EmitStarted(), TEXT_PARTIAL, TEXT_FINAL, t.CloseText(6, 1, 0))


def guarded_text(*commands: t.TextCommand) -> list[Promise | None]:
    guard = TextPromiseGuard()
    for event in (t.TextReceived("Wo ist", 0.0), e.Flushed()):
        guard.hear(event)
    return [guard.broken(command) for command in commands]


@pytest.mark.parametrize(
    ("index", "bad", "promise"),
    [
        (0, TEXT_PARTIAL, Promise.ONE_END),
        (1, replace(TEXT_PARTIAL, stable_text="Who "), None),
        (2, replace(TEXT_FINAL, end_character=7), Promise.AUDIO_ONCE),
        (2, replace(TEXT_FINAL, segment_index=1), Promise.SEGMENTS_IN_ORDER),
        (
            2,
            replace(TEXT_FINAL, reading=replace(READING, hypotheses=(text("There is"),))),
            Promise.FINAL_BEGINS_WITH_STABLE,
        ),
        (2, replace(TEXT_FINAL, reading=None, error=BadText("no")), None),
        (3, t.CloseText(5, 1, 0), Promise.AUDIO_ONCE),
        (3, t.CloseText(6, 2, 0), Promise.SEGMENTS_IN_ORDER),
    ],
)
def test_a_stream_of_text_is_watched_too(index: int, bad: t.TextCommand, promise: Promise | None):
    assert guarded_text(*TEXT_GOOD) == [None] * 4
    assert guarded_text(*TEXT_GOOD[:index], bad)[-1] is promise
    other_reason = replace(TEXT_FINAL, reason=EndReason.ENDPOINT)
    assert guarded_text(*TEXT_GOOD[:2], other_reason, TEXT_GOOD[3])[-1] is Promise.FLUSH_ANSWERED
