"""Each promise, broken once."""

from __future__ import annotations

from dataclasses import replace

import pytest

from legonn_core.runtime.messages import DecodedText, Word
from legonn_server.backends.fake import fake_modules
from legonn_server.session import commands as c
from legonn_server.session.endpoint import EndReason
from legonn_server.session.promises import Promise, PromiseGuard

DECODER, ENCODER, *_ = fake_modules()


def text(content: str, *times: tuple[int, int]) -> DecodedText:
    words = tuple(Word("w", start, end, 0.9, 1, 0) for start, end in times)
    return DecodedText((), content, 0.0, 0.9, words)


PARTIAL = c.EmitPartial(0, 1, "one ", "two", 500)
FINAL = c.EmitFinal(
    0, 100, 900, (text("one two", (0, 10), (10, 20)),), ENCODER, DECODER, 0, EndReason.ENDPOINT
)


def test_a_good_stream_breaks_nothing():
    guard = PromiseGuard()
    good = [
        PARTIAL,
        replace(PARTIAL, revision=2, stable_text="one two "),
        replace(FINAL, hypotheses=(text("one two three"),)),
        replace(FINAL, segment_index=1, start_sample=900, end_sample=950),
        c.CloseStream(2, 850, 0, 0),
    ]
    assert [guard.broken(command) for command in good] == [None] * 5


@pytest.mark.parametrize(
    ("bad", "promise"),
    [
        (replace(PARTIAL, stable_text="on "), Promise.STABLE_TEXT_GROWS),
        (replace(PARTIAL, segment_index=1), Promise.SEGMENTS_IN_ORDER),
        (replace(FINAL, segment_index=2), Promise.SEGMENTS_IN_ORDER),
        (replace(FINAL, hypotheses=(text("two"),)), Promise.FINAL_BEGINS_WITH_STABLE),
        (replace(FINAL, end_sample=50), Promise.AUDIO_ONCE),
        (
            replace(FINAL, hypotheses=(text("one two", (10, 20), (0, 10)),)),
            Promise.WORDS_IN_ORDER,
        ),
    ],
)
def test_a_broken_promise_is_named(bad: c.Command, promise: Promise):
    guard = PromiseGuard()
    assert guard.broken(PARTIAL) is None
    assert guard.broken(bad) is promise
