"""The example stream above StreamingRecognizeResponse keeps what the comments promise."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path

import pytest
from google.protobuf import json_format

from legonn.v1 import speech_service_pb2

PROTO = Path(__file__).resolve().parents[2] / "protos/legonn/v1/speech_service.proto"


def _comment_above(text: str, declaration: str) -> list[str]:
    lines = text.split("\n")
    end = lines.index(declaration)
    start = end
    while lines[start - 1].startswith("//"):
        start -= 1
    return [line.removeprefix("//").strip() for line in lines[start:end]]


def _example() -> list[str]:
    comment = _comment_above(PROTO.read_text("utf-8"), "message StreamingRecognizeResponse {")
    return [line for line in comment if line.startswith("{")]


@pytest.fixture(scope="module")
def messages():
    return [
        json_format.Parse(line, speech_service_pb2.StreamingRecognizeResponse())
        for line in _example()
    ]


def _of_kind(messages, kind):
    return [getattr(message, kind) for message in messages if message.WhichOneof("event") == kind]


def _nanos(duration):
    return duration.ToNanoseconds()


def test_each_line_is_the_whole_message(messages):
    """Nothing in the JSON is lost on the way into the message and back."""
    for line, message in zip(_example(), messages, strict=True):
        again = json_format.MessageToDict(message, always_print_fields_with_no_presence=True)
        assert _contains(again, json.loads(line))


def _contains(whole, part) -> bool:
    if isinstance(part, dict):
        return all(key in whole and _contains(whole[key], value) for key, value in part.items())
    if isinstance(part, list):
        return len(whole) == len(part) and all(map(_contains, whole, part))
    if isinstance(part, float):
        return abs(whole - part) < 1e-6
    if isinstance(part, str) and part.endswith("s") and part[:-1].replace(".", "").isdigit():
        return float(whole[:-1]) == float(part[:-1])
    return whole == part or whole == str(part)


def test_every_kind_of_event_is_shown(messages):
    oneof = speech_service_pb2.StreamingRecognizeResponse.DESCRIPTOR.oneofs_by_name["event"]
    shown = {message.WhichOneof("event") for message in messages}
    assert shown == {field.name for field in oneof.fields}


def test_started_first_and_summary_last_and_both_once(messages):
    kinds = [message.WhichOneof("event") for message in messages]
    assert kinds[0] == "started" and kinds[-1] == "summary"
    assert kinds.count("started") == kinds.count("summary") == 1


def test_the_sequence_has_no_gap(messages):
    assert [message.sequence for message in messages] == list(range(len(messages)))


def test_processed_audio_never_decreases(messages):
    for before, after in pairwise(messages):
        assert _nanos(before.audio_processed) <= _nanos(after.audio_processed)


def test_stable_text_only_grows_and_the_final_begins_with_it(messages):
    stable, revision = {}, {}
    for message in messages:
        partial, final = message.partial, message.final
        if message.HasField("partial"):
            assert partial.stable_text.startswith(stable.get(partial.segment_index, ""))
            assert partial.revision > revision.get(partial.segment_index, 0)
            stable[partial.segment_index] = partial.stable_text
            revision[partial.segment_index] = partial.revision
        if message.HasField("final"):
            assert final.alternatives[0].text.startswith(stable.get(final.segment_index, ""))
            stable[final.segment_index] = "\x00 nothing may follow a final"
    assert any(text for text in stable.values())


def test_finals_come_in_order_and_with_the_samples_of_their_offsets(messages):
    rate = _of_kind(messages, "started")[0].config.sample_rate_hertz
    finals = _of_kind(messages, "final")
    assert [final.segment_index for final in finals] == list(range(len(finals)))
    for final in finals:
        assert final.start_sample * 10**9 == _nanos(final.start_offset) * rate
        assert final.end_sample * 10**9 == _nanos(final.end_offset) * rate
        assert final.start_sample < final.end_sample
    for before, after in pairwise(finals):
        assert before.end_sample <= after.start_sample


def test_words_lie_in_order_inside_their_segment(messages):
    for final in _of_kind(messages, "final"):
        for reading in final.alternatives:
            edges = [_nanos(final.start_offset)]
            for word in reading.words:
                edges += [_nanos(word.start_offset), _nanos(word.end_offset)]
            assert edges == sorted(edges) and edges[-1] <= _nanos(final.end_offset)
            assert " ".join(word.text for word in reading.words) == reading.text


def test_finals_and_non_speech_make_up_what_was_received(messages):
    summary, finals = _of_kind(messages, "summary")[0], _of_kind(messages, "final")
    covered = sum(final.end_sample - final.start_sample for final in finals)
    assert covered == summary.samples_in_finals
    assert summary.samples_received == summary.samples_in_finals + summary.samples_non_speech
    assert summary.num_segments == len(finals)
    assert summary.num_replays == sum(final.replays for final in finals)
