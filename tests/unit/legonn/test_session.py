"""What a client keeps of a session: nothing is lost, nothing is sent that was settled."""

from __future__ import annotations

import random
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from legonn import BadAudio, Control, Final, Notice, Partial, SpeechOptions, Started, Summary
from legonn._session import KEPT_S, SessionLog
from legonn.v1 import speech_service_pb2 as pb

RATE = 100  # samples a second: minutes of audio are a few thousand bytes


def content(start: int, stop: int) -> bytes:
    """Audio in which every sample says where it is."""
    return b"".join((place % 30_000).to_bytes(2, "little") for place in range(start, stop))


def response(**event: object) -> pb.StreamingRecognizeResponse:
    return pb.StreamingRecognizeResponse(**event)


def final(index: int, start: int, stop: int) -> pb.StreamingRecognizeResponse:
    return response(
        final={
            "segment_index": index,
            "start_sample": start,
            "end_sample": stop,
            "alternatives": [{"text": f"segment {index}"}],
        }
    )


def log_of(seconds: int) -> tuple[SessionLog, int]:
    """A log whose first server took so many seconds of audio."""
    log = SessionLog(SpeechOptions(), RATE)
    _, stream = log.begin()
    log.receive(response(started={"session_id": "s-1"}))
    for start in range(0, seconds * RATE, RATE):
        log.add(content(start, start + RATE))
        assert log.take(stream) is not None
    return log, stream


def test_a_session_opens_again_where_its_last_final_ended():
    log, stream = log_of(3)
    log.receive(response(partial={"stable_text": "a", "tail_text": " b", "revision": 4}))
    assert isinstance(log.receive(final(0, 0, 150)), Final)
    log.receive(response(partial={"segment_index": 1, "stable_text": "c d", "revision": 2}))
    assert log.can_go_on()

    config, second = log.begin()
    resume = config.config.resume
    found = (resume.session_id, resume.sample_offset, resume.next_segment_index)
    assert found == ("s-1", 150, 1)
    assert resume.committed_text == "c d"
    first = log.take(second)
    assert (first.audio.sample_offset, first.audio.content) == (150, content(150, 200))
    assert log.take(second).audio.content == content(200, 300)
    assert log.take(second) is None
    assert log.take(stream) is None and log.is_over(stream) and not log.is_over(second)

    notice = log.receive(response(started={"session_id": "s-1"}))
    assert isinstance(notice, Notice) and notice.kind == "RECOVERED"
    partial = log.receive(response(partial={"segment_index": 1, "revision": 1}))
    assert isinstance(partial, Partial) and partial.revision == 3
    assert log.receive(final(0, 0, 150)) is None


def test_a_session_that_was_never_accepted_begins_anew():
    log = SessionLog(SpeechOptions(), RATE)
    _, stream = log.begin()
    log.add(b"\0\0")
    assert log.take(stream) is not None
    config, stream = log.begin()
    assert not config.config.HasField("resume")
    assert log.take(stream).audio.sample_offset == 0
    assert isinstance(log.receive(response(started={"session_id": "s-1"})), Started)


def test_what_was_cancelled_is_not_sent_again():
    log, stream = log_of(2)
    log.add(Control.CANCEL_SEGMENT)
    log.take(stream)
    log.receive(response(partial={"stable_text": "gone", "revision": 1}))
    notice = log.receive(response(notice={"kind": "NOTICE_KIND_CANCELLED"}))
    assert isinstance(notice, Notice) and notice.kind == "CANCELLED"
    config, stream = log.begin()
    assert (config.config.resume.sample_offset, config.config.resume.committed_text) == (200, "")
    assert log.take(stream) is None


def test_a_wish_that_was_not_sent_is_kept():
    log, stream = log_of(1)
    log.add(Control.FLUSH)
    log.receive(final(0, 0, 100))
    assert log.take(stream).control.action == pb.CONTROL_ACTION_FLUSH


def test_silence_is_forgotten_and_a_server_that_hears_nothing_is_not():
    kept = int(KEPT_S)
    log, _ = log_of(kept + 30)
    assert not log.can_go_on()
    log.receive(response(audio_processed={"seconds": kept + 20}))
    assert not log.can_go_on()
    log.receive(response(audio_processed={"seconds": kept + 30}))
    assert log.can_go_on()
    config, _ = log.begin()
    assert config.config.resume.sample_offset == 30 * RATE


def test_a_summary_is_of_the_whole_session():
    log, _ = log_of(2)
    log.receive(final(0, 0, 150))
    log.begin()
    log.receive(response(started={"session_id": "s-1"}))
    summary = log.receive(response(summary={"samples_received": 50}))
    assert isinstance(summary, Summary)
    assert (summary.samples_received, summary.samples_in_finals) == (200, 150)
    assert (summary.samples_non_speech, summary.num_segments) == (50, 1)


def test_half_a_sample_is_refused():
    with pytest.raises(BadAudio, match="3 bytes"):
        SessionLog(SpeechOptions(), RATE).add(b"\0\0\0")


@settings(max_examples=150, deadline=None)
@given(st.integers(0, 10**9))
def test_over_any_number_of_losses_each_segment_is_heard_whole_and_once(seed: int):
    """A server that makes finals of what it is sent, and is lost at random."""
    dice = random.Random(seed)
    log = SessionLog(SpeechOptions(), RATE)
    sent = 0
    events = []
    for _ in range(dice.randint(1, 4)):
        config, stream = log.begin()
        resume = config.config.resume
        start = place = resume.sample_offset
        index = resume.next_segment_index
        events.append(log.receive(response(started={"session_id": "s-1"})))
        for _ in range(dice.randint(0, 40)):
            if not log.has_more(stream):
                log.add(content(sent, sent + (size := dice.randint(0, 3 * RATE))))
                sent += size
            chunk = log.take(stream).audio
            assert chunk.sample_offset == place
            assert chunk.content == content(place, place + len(chunk.content) // 2)
            place += len(chunk.content) // 2
            # As in the real server, a segment is never longer than 25 s.
            if place - start > 20 * RATE or (dice.random() < 0.3 and place > start):
                stop = dice.randint(start, place) if place - start <= 20 * RATE else place
                events.append(log.receive(final(index, start, stop)))
                start, index = stop, index + 1
        assert log.can_go_on()
    finals = [event for event in events if isinstance(event, Final)]
    assert [one.segment_index for one in finals] == list(range(len(finals)))
    assert all(one.end_sample == other.start_sample for one, other in pairwise(finals))
    assert [event.sequence for event in events if event] == list(
        range(len([*filter(None, events)]))
    )
