"""The machine alone, fed by hand: what it asks for, what it refuses, what it says at the end."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from legonn_core.errors import BackendDown, ProtocolViolation
from legonn_core.runtime.messages import (
    DecodedText,
    DecodeKind,
    DecodeResult,
    EncodeResult,
    Prefix,
    SlotRef,
    Word,
)
from legonn_server.backends.fake import CHUNK_SAMPLES, fake_modules
from legonn_server.session import commands as c
from legonn_server.session import events as e
from legonn_server.session.endpoint import EndpointRule, EndReason
from legonn_server.session.machine import SessionMachine
from legonn_server.session.policy import DecodingPolicy
from legonn_server.session.segment import SegmentBuffer
from legonn_server.session.table import TRANSITIONS, State

DECODER, ENCODER, *_ = fake_modules()
SLOT = SlotRef(ENCODER.ref, 0, 1)
OPENED = e.Opened(sample_rate=16_000, rule=EndpointRule())
FIRST = e.Ticket(0, 0)
CHUNK = e.AudioReceived(np.zeros(CHUNK_SAMPLES, np.float32))


def rows(count: int, *, tokens: tuple[int, ...] = (), blank_ms: int = 0) -> EncodeResult:
    best = Prefix(tokens, tuple(range(len(tokens))))
    times = tuple(row * 80 + 40 for row in range(count))
    return EncodeResult(b"", count, count, best, blank_ms, (1.0,) * count, times)


def streaming() -> SessionMachine:
    machine = SessionMachine(DecodingPolicy())
    machine.receive(OPENED)
    return machine


def with_slot() -> SessionMachine:
    machine = streaming()
    machine.receive(e.AudioReceived(np.zeros(10, np.float32)))
    machine.receive(e.SlotOpened(FIRST, SLOT, ENCODER, DECODER))
    return machine


def test_the_config_opens_the_stream():
    assert SessionMachine(DecodingPolicy()).receive(OPENED) == [c.EmitStarted()]


@pytest.mark.parametrize("event", [CHUNK, e.Flushed(), e.InputEnded()])
def test_nothing_comes_before_the_config(event: e.Event):
    machine = SessionMachine(DecodingPolicy())
    with pytest.raises(ProtocolViolation):
        machine.receive(event)
    assert machine.state is State.AWAITING_CONFIG


def test_the_config_comes_once():
    with pytest.raises(ProtocolViolation, match="twice"):
        streaming().receive(OPENED)


def test_audio_opens_a_slot_and_is_cut_into_exact_chunks():
    machine = streaming()
    assert machine.receive(e.AudioReceived(np.ones(10, np.float32))) == [c.OpenSlot(FIRST)]
    assert machine.receive(e.SlotOpened(FIRST, SLOT, ENCODER, DECODER)) == []
    (command,) = machine.receive(CHUNK)
    assert isinstance(command, c.EncodeChunk)
    assert len(command.step.samples) == CHUNK_SAMPLES
    assert command.step.samples[:11].tolist() == [1.0] * 10 + [0.0]
    assert machine.receive(CHUNK) == []
    assert machine.backlog_s == pytest.approx((CHUNK_SAMPLES + 10) / 16_000)


def test_half_close_flushes_the_rest_and_ends():
    machine = with_slot()
    (command,) = machine.receive(e.InputEnded())
    assert command.step.is_last
    assert len(command.step.samples) == 10
    close, decode = machine.receive(e.MarginalsArrived(FIRST, rows(1, tokens=(7,))))
    assert close == c.CloseSlot(SLOT)
    assert decode.job.kind is DecodeKind.FINAL
    final, end = machine.receive(e.FinalArrived(FIRST, DecodeResult(())))
    assert (final.reason, final.end_sample) == (EndReason.HALF_CLOSE, 10)
    assert end == c.CloseStream(1, 10, 0, 0)
    assert machine.state is State.CLOSED


def test_what_holds_no_speech_has_no_final():
    machine = with_slot()
    machine.receive(e.InputEnded())
    close, end = machine.receive(e.MarginalsArrived(FIRST, rows(1)))
    assert (close, end) == (c.CloseSlot(SLOT), c.CloseStream(0, 0, 10, 0))


def test_a_flush_is_answered_even_in_silence():
    machine = with_slot()
    machine.receive(e.Flushed())
    _, final = machine.receive(e.MarginalsArrived(FIRST, rows(1)))
    assert (final.reason, final.hypotheses[0].text) == (EndReason.FLUSH, "")
    assert machine.receive(e.Flushed()) == []


def test_a_flush_after_dropped_silence_is_answered():
    machine = streaming()
    rule = EndpointRule(max_nonspeech_ms=320, pre_roll_ms=0)
    machine._opened = e.Opened(sample_rate=16_000, rule=rule)
    machine.receive(CHUNK)
    machine.receive(e.SlotOpened(FIRST, SLOT, ENCODER, DECODER))
    (close,) = machine.receive(e.MarginalsArrived(FIRST, rows(4)))
    assert close == c.CloseSlot(SLOT)
    (final,) = machine.receive(e.Flushed())
    assert (final.start_sample, final.end_sample) == (CHUNK_SAMPLES, CHUNK_SAMPLES)


def test_an_endpoint_keeps_some_silence_for_the_next_segment():
    machine = with_slot()
    machine.receive(CHUNK)
    close, decode = machine.receive(e.MarginalsArrived(FIRST, rows(20, tokens=(7,), blank_ms=800)))
    assert close == c.CloseSlot(SLOT)
    assert decode.job.max_row == 16  # rows before 1600 ms - 300 ms


def test_answers_of_an_older_attempt_are_dropped():
    machine = with_slot()
    machine.receive(CHUNK)
    notice, release, reopen = machine.receive(e.WorkLost(FIRST, BackendDown("gone")))
    assert (notice, release) == (c.EmitReplaying(0), c.CloseSlot(SLOT))
    second = e.Ticket(0, 1)
    assert reopen == c.OpenSlot(second, ENCODER, DECODER)
    assert machine.receive(e.MarginalsArrived(FIRST, rows(4, tokens=(1,)))) == []
    late = SlotRef(ENCODER.ref, 1, 1)
    answer = machine.receive(e.SlotOpened(FIRST, late, ENCODER, DECODER))
    assert answer == [c.CloseSlot(late)]
    (again,) = machine.receive(e.SlotOpened(second, SLOT, ENCODER, DECODER))
    assert again.step.seq == 0


def test_a_lost_decode_is_asked_again_without_encoding():
    machine = with_slot()
    machine.receive(e.InputEnded())
    _, decode = machine.receive(e.MarginalsArrived(FIRST, rows(1, tokens=(7,))))
    notice, again = machine.receive(e.WorkLost(FIRST, BackendDown("gone")))
    assert isinstance(notice, c.EmitReplaying)
    assert again.job == decode.job


def test_cancelling_gives_the_slot_back_and_is_silent_then():
    machine = with_slot()
    assert machine.receive(e.Cancelled()) == [c.CloseSlot(SLOT)]
    assert machine.receive(e.Cancelled()) == []
    assert machine.receive(e.MarginalsArrived(FIRST, rows(1))) == []


def test_a_decoder_that_breaks_its_promise_fails_the_stream():
    machine = SessionMachine(DecodingPolicy())
    machine.receive(e.Opened(sample_rate=16_000, rule=EndpointRule(), interim_results=True))
    machine.receive(CHUNK)
    machine.receive(e.SlotOpened(FIRST, SLOT, ENCODER, DECODER))
    machine.receive(e.MarginalsArrived(FIRST, rows(4, tokens=(7,))))
    release, fail = machine.receive(e.CommitArrived(FIRST, DecodeResult(())))
    assert isinstance(release, c.CloseSlot)
    assert fail.error.reason == "INVARIANT"
    assert machine.state is State.FAILED
    assert machine.receive(CHUNK) == []


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_any_sequence_is_taken_or_refused(data: st.DataObject):
    """Accepts or raises ProtocolViolation, and says nothing after the end."""
    tickets = st.builds(e.Ticket, st.integers(0, 2), st.integers(0, 1))
    answers = [
        st.builds(e.SlotOpened, tickets, st.just(SLOT), st.just(ENCODER), st.just(DECODER)),
        st.builds(e.MarginalsArrived, tickets, st.just(rows(4, tokens=(3,)))),
        st.builds(e.CommitArrived, tickets, st.just(DecodeResult(()))),
        st.builds(e.FinalArrived, tickets, st.just(DecodeResult(()))),
        st.builds(e.WorkLost, tickets, st.just(BackendDown("gone"))),
    ]
    calls = [OPENED, CHUNK, e.Flushed(), e.InputEnded(), e.Cancelled()]
    machine = SessionMachine(DecodingPolicy())
    for event in data.draw(st.lists(st.one_of(st.sampled_from(calls), *answers), max_size=25)):
        is_over = machine.state in (State.CLOSED, State.FAILED)
        before = machine.state
        try:
            said = machine.receive(event)
        except ProtocolViolation:
            assert (before, type(event)) not in TRANSITIONS
            assert machine.state is before
        else:
            assert not (is_over and said)


@given(st.lists(st.one_of(st.integers(0, 40_000), st.floats(0, 1)), max_size=30))
def test_the_buffer_is_a_queue_of_samples(steps: list[int | float]):
    buffer, expected, counter = SegmentBuffer(), np.zeros(0, np.float32), 0
    for step in steps:
        if isinstance(step, int):
            fresh = np.arange(counter, counter + step, dtype=np.float32)
            counter += step
            buffer.append(fresh)
            expected = np.concatenate([expected, fresh])
        else:
            gone = int(step * len(expected))
            buffer.drop(gone)
            expected = expected[gone:]
        assert len(buffer) == len(expected)
    assert (buffer.read(0, len(buffer)) == expected).all()


def unsure(text: str, confidence: float) -> DecodeResult:
    word = Word(text, 0, 80, confidence, 1, 0)
    return DecodeResult((DecodedText((7,), text, 0.0, confidence, (word,)),))


def test_what_the_decoder_hardly_believes_is_no_speech():
    machine = with_slot()
    machine.receive(e.InputEnded())
    machine.receive(e.MarginalsArrived(FIRST, rows(1, tokens=(7,))))
    (end,) = machine.receive(e.FinalArrived(FIRST, unsure("the", 0.19)))
    assert end == c.CloseStream(0, 0, 10, 0)


def test_doubt_shows_no_partial_and_takes_back_no_index_that_was_shown():
    machine = SessionMachine(DecodingPolicy())
    machine.receive(replace(OPENED, interim_results=True))
    machine.receive(CHUNK)
    machine.receive(e.SlotOpened(FIRST, SLOT, ENCODER, DECODER))
    machine.receive(e.MarginalsArrived(FIRST, rows(4, tokens=(7,))))
    assert not machine.receive(e.CommitArrived(FIRST, unsure("the", 0.1)))
    machine.receive(CHUNK)
    machine.receive(e.MarginalsArrived(FIRST, rows(4, tokens=(7, 8))))
    (partial,) = machine.receive(e.CommitArrived(FIRST, unsure("they", 0.5)))
    assert (partial.segment_index, partial.revision) == (0, 1)
    machine.receive(e.InputEnded())
    machine.receive(e.MarginalsArrived(FIRST, rows(1, tokens=(7, 8))))
    final, end = machine.receive(e.FinalArrived(FIRST, unsure("the", 0.1)))
    assert (final.segment_index, final.hypotheses[0].text) == (0, "")
    assert end.num_segments == 1
