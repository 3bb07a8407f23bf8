"""Both clients, against a fake server: the same calls give the same answers."""

from __future__ import annotations

import asyncio
import inspect

import grpc
import numpy as np
import pytest

import legonn
from legonn._channel import batches


class Blocking:
    """The asyncio client with the face of the blocking one, so that one test serves both."""

    def __init__(self, address=None):
        self._runner = asyncio.Runner()
        self._client = self._runner.run(self._make(address))

    async def _make(self, address):
        return legonn.AsyncClient(address)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._runner.run(self._client.close())
        self._runner.close()

    def __getattr__(self, name):
        function = getattr(self._client, name)

        def call(*args, **kwargs):
            result = function(*args, **kwargs)
            if inspect.isasyncgen(result):
                return self._each(result)
            return self._runner.run(result)

        return call

    def _each(self, generator):
        try:
            while True:
                yield self._runner.run(anext(generator))
        except StopAsyncIteration:
            return
        finally:
            self._runner.run(generator.aclose())


@pytest.fixture(params=[legonn.Client, Blocking], ids=["blocking", "asyncio"])
def client(request, server):
    with request.param() as client:
        yield client


def test_a_file_is_transcribed(client, server, wav, samples):
    seen = []
    transcript = client.transcribe(wav, legonn.SpeechOptions(language="en"), on_final=seen.append)
    assert transcript.text == "hello" and list(transcript.segments) == seen
    assert transcript.words == (legonn.Word("hello", 0.25, 0.5, 0.5),)
    assert server.audio == samples.tobytes()
    config = server.configs[0]
    assert (config.sample_rate_hertz, config.language_code) == (16000, "en")
    assert config.enable_word_offsets and not config.interim_results


def test_samples_are_transcribed(client, server):
    client.transcribe(np.full(800, 0.5, np.float32), sample_rate_hertz=8000)
    assert server.audio == np.full(800, 16384, "<i2").tobytes()
    assert server.configs[0].sample_rate_hertz == 8000


def test_a_stream_gives_typed_events(client, server):
    options = legonn.SpeechOptions(end_silence_s=0.25, max_segment_s=10.5)
    events = list(client.stream(iter([b"\0\0" * 160] * 3), options))
    assert [type(event).__name__ for event in events] == ["Started", "Partial", "Final", "Summary"]
    assert [event.sequence for event in events] == [0, 1, 2, 3]
    started, partial, final, summary = events
    assert started.session_id == "s-1" and partial.text == "hello"
    assert (final.reason, final.encoder, final.end_sample) == ("HALF_CLOSE", "speech-en/1", 480)
    assert summary.samples_received == 480
    assert server.configs[0].interim_results
    assert server.configs[0].endpointing.end_silence.ToNanoseconds() == 250_000_000
    assert server.configs[0].endpointing.max_segment.ToNanoseconds() == 10_500_000_000


def test_an_error_of_the_chunks_is_raised_where_they_came_from(client):
    def chunks():
        yield b"\0\0"
        raise RuntimeError("the microphone was pulled out")

    with pytest.raises(RuntimeError, match="microphone"):
        list(client.stream(chunks()))


def test_a_stream_may_be_left_early(client):
    events = client.stream(iter([b"\0\0"]))
    assert isinstance(next(events), legonn.Started)
    events.close()
    assert client.translate("noch da", source="de") == "NOCH DA"


def test_a_refused_stream_says_why(client, server):
    server.refusal = (grpc.StatusCode.NOT_FOUND, "NO_ROUTE", "nothing here hears Klingon", None)
    with pytest.raises(legonn.UnknownRoute, match="Klingon"):
        list(client.stream([], legonn.SpeechOptions(language="tlh")))


def test_texts_keep_their_order_and_their_kind(client, server):
    texts = [f"satz {number}" for number in range(150)]
    assert client.translate(texts, source="de") == [text.upper() for text in texts]
    assert [len(batch) for batch in server.batches] == [64, 64, 22]
    assert client.translate("eins", source="de") == "EINS"
    assert client.translate([], source="de") == []


def test_one_text_fails_alone(client):
    results = list(client.translate_each(["a", "fail", "b"], source="de"))
    assert results[0] == "A" and results[2] == "B"
    assert type(results[1]) is legonn.BadText
    with pytest.raises(legonn.BadText):
        client.translate(["a", "fail"], source="de")


def test_all_pages_of_modules(client):
    names = [(m.name, m.version, m.kind, m.modality, m.state) for m in client.modules()]
    assert names == [
        ("decoder-en", "1", "DECODER", "", "SERVING"),
        ("text-de", "1", "ENCODER", "TEXT", "SERVING"),
    ]


def test_health(client):
    assert client.health() == "SERVING"


def test_no_server(server):
    for kind in (legonn.Client, Blocking):
        with kind("127.0.0.1:1") as client, pytest.raises(legonn.Unavailable) as caught:
            client.health()
        assert not caught.value.from_server


def test_batches_are_bounded_in_length_too():
    long = "x" * 150_000
    assert [len(batch) for batch in batches([long, long, "a", "b"])] == [1, 3]
    assert batches(["x" * 900_000]) == [["x" * 900_000]]


def test_the_package_imports_lazily_and_lists_what_it_has():
    assert all(getattr(legonn, name) is not None for name in legonn.__all__)
    with pytest.raises(AttributeError, match="nonsense"):
        _ = legonn.nonsense


def test_text_is_translated_while_it_is_written(client, server):
    wishes = {"phrases": {"good": 2.0}, "glossary": {"Pod": None, "Haus": "home"}}
    options = legonn.TranslateOptions(
        policy="latency-budget", max_delay_s=1.5, labels={"a": "b"}, mask_profanity=True, **wishes
    )
    pieces = ["gut", "en ", legonn.END_OF_SEGMENT, "fail"]
    events = list(client.translate_stream(pieces, source="de", options=options))
    kinds = ["Started", "TextPartial", "TextPartial", "TextFinal", "TextPartial", "TextFinal"]
    assert [type(event).__name__ for event in events] == [*kinds, "TextSummary"]
    assert [event.sequence for event in events] == list(range(7))
    assert events[2].text == "GUTEN "
    assert (events[3].text, events[3].end_character, events[3].reason) == ("GUTEN", 6, "FLUSH")
    assert events[5].text == "" and isinstance(events[5].error, legonn.BadText)
    assert events[6].characters_received == 10
    config = server.configs[0]
    assert (config.source_language_code, config.target_language_code) == ("de", "en")
    assert config.streaming.max_delay.ToMilliseconds() == 1500
    assert dict(config.labels) == {"a": "b"}
    assert (config.phrases[0].text, config.phrases[0].boost) == ("good", 2.0)
    assert [(one.keep, one.target) for one in config.glossary] == [(True, ""), (False, "home")]
    assert config.mask_profanity


def test_text_without_partials_asks_for_no_rule(client, server):
    options = legonn.TranslateOptions(interim_results=False)
    events = list(client.translate_stream(["ja"], source="de", options=options))
    assert [type(event).__name__ for event in events] == ["Started", "TextFinal", "TextSummary"]
    assert not server.configs[0].HasField("streaming")


def test_an_error_of_the_pieces_is_raised_where_the_caller_is(client, server):
    def pieces():
        yield "gut"
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        list(client.translate_stream(pieces(), source="de"))


def test_a_refused_stream_of_text_is_a_typed_error(client, server):
    server.refusal = (grpc.StatusCode.NOT_FOUND, "NO_ROUTE", "no such route", None)
    with pytest.raises(legonn.UnknownRoute, match="no such route"):
        list(client.translate_stream(["gut"], source="xx"))
