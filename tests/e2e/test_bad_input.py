"""Every item of the bad-input list: a clear status, and a server that serves on."""

from __future__ import annotations

import asyncio
import struct

import grpc
import numpy as np
import pytest
from google.protobuf.duration_pb2 import Duration

from legonn.v1 import audio_pb2
from legonn.v1 import module_card_pb2 as card_pb
from legonn.v1 import module_service_pb2 as modules_pb
from legonn.v1 import speech_service_pb2 as speech_pb
from legonn.v1 import translation_service_pb2 as text_pb
from legonn_server.backends.fake import FakeScript
from tests.support.gateway import (
    Running,
    audio,
    chunked,
    config,
    control,
    first,
    linear16,
    refusal,
    running,
    streamed,
    texts,
    tone,
    two_utterances,
)

INVALID = grpc.StatusCode.INVALID_ARGUMENT
ORDER = grpc.StatusCode.FAILED_PRECONDITION
ABSENT = grpc.StatusCode.NOT_FOUND
UNSERVED = grpc.StatusCode.UNIMPLEMENTED
GOOD = linear16(two_utterances())


async def assert_unharmed(server: Running) -> None:
    """Another caller is served, and nothing of the refused one is left."""
    assert texts(await streamed(server.speech, [first(), *chunked(GOOD)])) == EXPECTED
    answer = await server.translation.Translate(
        text_pb.TranslateRequest(
            config=text_pb.TranslationConfig(source_language_code="de"), texts=["Hallo. Du!"]
        )
    )
    assert answer.items[0].translation.alternatives[0].text == "HALLO. DU!"
    async with asyncio.timeout(5):
        while server.backend.num_open_slots or server.gateway.services.speech_admission.num_open:
            await asyncio.sleep(0)


EXPECTED = [" ".join("d" + "g" * 12 + "d"), " ".join("h" + "o" * 9 + "m")]

BAD_STREAMS = {
    "no message": ([], ORDER, "PROTOCOL_VIOLATION"),
    "audio before config": ([audio(GOOD[:320])], ORDER, "PROTOCOL_VIOLATION"),
    "config twice": ([first(), audio(GOOD[:320]), first()], ORDER, "PROTOCOL_VIOLATION"),
    "control before config": (
        [control(speech_pb.CONTROL_ACTION_FLUSH)], ORDER, "PROTOCOL_VIOLATION",
    ),
    "empty message": (
        [first(), speech_pb.StreamingRecognizeRequest()], ORDER, "PROTOCOL_VIOLATION",
    ),
    "odd bytes": ([first(), audio(b"\0" * 321)], INVALID, "BAD_AUDIO"),
    "odd bytes of floats": (
        [first(encoding=audio_pb2.AUDIO_ENCODING_FLOAT32), audio(b"\0" * 6)], INVALID, "BAD_AUDIO",
    ),
    "NaN": (
        [first(encoding=audio_pb2.AUDIO_ENCODING_FLOAT32), audio(struct.pack("<f", np.nan))],
        INVALID,
        "BAD_AUDIO",
    ),
    "16-bit numbers as floats": (
        [first(encoding=audio_pb2.AUDIO_ENCODING_FLOAT32), audio(struct.pack("<f", 12_000.0))],
        INVALID,
        "BAD_AUDIO",
    ),
    "0 Hz": ([first(sample_rate_hertz=0)], INVALID, "BAD_CONFIG"),
    "1 MHz": ([first(sample_rate_hertz=1_000_000)], INVALID, "BAD_CONFIG"),
    "three channels": ([first(channel_count=3)], INVALID, "BAD_CONFIG"),
    "no encoding": ([first(encoding=0)], INVALID, "BAD_CONFIG"),
    "unknown encoding": ([first(encoding=99)], UNSERVED, "NOT_IMPLEMENTED"),
    "no FLAC": (
        [first(encoding=audio_pb2.AUDIO_ENCODING_FLAC), audio(GOOD)], INVALID, "BAD_AUDIO",
    ),
    "a resumed container": (
        [
            first(
                encoding=audio_pb2.AUDIO_ENCODING_FLAC,
                resume=speech_pb.ResumePoint(session_id="s"),
            )
        ],
        INVALID, "BAD_CONFIG",
    ),
    "unknown language": ([first(language_code="xx")], ABSENT, "NO_ROUTE"),
    "no language": ([first(language_code="!?")], INVALID, "BAD_CONFIG"),
    "unknown model": ([first(model="nobody")], ABSENT, "NO_ROUTE"),
    "task against languages": (
        [first(task=card_pb.TASK_TRANSLATE, target_language_code="en")], INVALID, "BAD_CONFIG",
    ),
    "too many alternatives": ([first(max_alternatives=11)], INVALID, "BAD_CONFIG"),
    "negative alternatives": ([first(max_alternatives=-1)], INVALID, "BAD_CONFIG"),
    "phrases": ([first(phrases=[speech_pb.Phrase(text=" ")])], INVALID, "BAD_CONFIG"),
    "boost": ([first(phrases=[speech_pb.Phrase(text="x", boost=21)])], INVALID, "BAD_CONFIG"),
    "glossary": ([first(glossary=[speech_pb.GlossaryEntry(source="x")])], INVALID, "BAD_CONFIG"),
    "too long a chunk": ([first(), audio(b"\0" * 64_002)], INVALID, "LIMIT_EXCEEDED"),
    "skipped audio": ([first(), audio(GOOD[:320], sample_offset=5)], INVALID, "BAD_AUDIO"),
    "control of nothing": ([first(), control(0)], INVALID, "BAD_CONFIG"),
    "resuming nothing": ([first(resume=speech_pb.ResumePoint())], INVALID, "BAD_CONFIG"),
    "resuming before the start": (
        [first(resume=speech_pb.ResumePoint(session_id="s", sample_offset=-1))],
        INVALID, "BAD_CONFIG",
    ),
    "resuming with too long a promise": (
        [first(resume=speech_pb.ResumePoint(session_id="s", committed_text="x" * 2_001))],
        INVALID, "BAD_CONFIG",
    ),
    "resuming at another sample": (
        [
            first(resume=speech_pb.ResumePoint(session_id="s", sample_offset=9)),
            audio(GOOD[:320], sample_offset=0),
        ],
        INVALID, "BAD_AUDIO",
    ),
}  # fmt: skip


@pytest.fixture
async def server():
    async with running() as found:
        yield found


@pytest.mark.parametrize("name", BAD_STREAMS)
async def test_a_bad_stream_is_refused(name: str, server: Running):
    requests, code, reason = BAD_STREAMS[name]
    with pytest.raises(grpc.RpcError) as caught:
        await streamed(server.speech, requests)
    found = refusal(caught.value)
    assert (found.code, found.reason) == (code, reason)
    assert found.message
    await assert_unharmed(server)


BAD_RECORDINGS = {
    "empty": (config(), b"", INVALID, "BAD_AUDIO"),
    "no config": (None, GOOD, INVALID, "BAD_CONFIG"),
    "odd bytes": (config(), b"\0" * 3, INVALID, "BAD_AUDIO"),
    "0 Hz": (config(sample_rate_hertz=0), GOOD, INVALID, "BAD_CONFIG"),
    "too long": (config(sample_rate_hertz=8000), b"\0" * 960_002, INVALID, "LIMIT_EXCEEDED"),
    "not a WAV": (config(encoding=7), b"RIFF" + b"\xff" * 400, INVALID, "BAD_AUDIO"),
    "truncated FLAC": (config(encoding=5), b"fLaC\0\0\0\x22" + b"\1" * 20, INVALID, "BAD_AUDIO"),
    "noise as OGG": (config(encoding=6), bytes(range(256)) * 9, INVALID, "BAD_AUDIO"),
    "unknown language": (config(language_code="xx"), GOOD, ABSENT, "NO_ROUTE"),
}


@pytest.mark.parametrize("name", BAD_RECORDINGS)
async def test_a_bad_recording_is_refused(name: str, server: Running):
    asked, content, code, reason = BAD_RECORDINGS[name]
    with pytest.raises(grpc.RpcError) as caught:
        await server.speech.Recognize(speech_pb.RecognizeRequest(config=asked, audio=content))
    found = refusal(caught.value)
    assert (found.code, found.reason) == (code, reason)
    await assert_unharmed(server)


async def test_a_stream_without_audio_ends_well(server: Running):
    answers = await streamed(server.speech, [first()])
    assert [one.WhichOneof("event") for one in answers] == ["started", "summary"]
    answers = await streamed(server.speech, [first(), audio(b"")])
    assert answers[-1].summary.samples_received == 0


async def test_a_message_of_100_mb_is_refused(server: Running):
    request = speech_pb.RecognizeRequest(config=config(), audio=bytes(100_000_000))
    with pytest.raises(grpc.RpcError) as caught:
        await server.speech.Recognize(request)
    assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert "larger than max" in caught.value.details()
    del request
    await assert_unharmed(server)


async def test_a_large_message_of_a_stream_is_refused(server: Running):
    with pytest.raises(grpc.RpcError) as caught:
        await streamed(server.speech, [first(), audio(bytes(5_000_000))])
    assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    with pytest.raises(grpc.RpcError) as caught:
        await streamed(server.speech, [first(), audio(bytes(2_000_000))])
    assert refusal(caught.value).reason == "LIMIT_EXCEEDED"
    await assert_unharmed(server)


def raw_text(content: bytes) -> bytes:
    """A TranslateRequest from German whose only text is these bytes, UTF-8 or not."""
    good = text_pb.TranslateRequest(config=text_pb.TranslationConfig(source_language_code="de"))
    return good.SerializeToString() + bytes([2 << 3 | 2, len(content)]) + content


@pytest.mark.parametrize(
    "content", [b"\xff\xfe", b"\xed\xa0\x80 lone surrogate", b"\xc3", b"ok\x00"]
)
async def test_text_that_is_no_text_is_refused(content: bytes, server: Running):
    call = server.channel.unary_unary("/legonn.v1.TranslationService/Translate")
    try:
        answer = text_pb.TranslateResponse.FromString(await call(raw_text(content)))
    except grpc.RpcError as error:
        found = refusal(error)
        assert (found.code, found.reason) == (INVALID, "BAD_TEXT")
    else:
        assert answer.items[0].error.message
    await assert_unharmed(server)


async def test_a_broken_message_in_a_stream_is_refused(server: Running):
    call = server.channel.stream_stream("/legonn.v1.SpeechService/StreamingRecognize")
    with pytest.raises(grpc.RpcError) as caught:
        async for _ in call(iter([first().SerializeToString(), b"\xff\xff\xff"])):
            pass
    assert refusal(caught.value).reason == "BAD_TEXT"
    await assert_unharmed(server)


async def test_a_text_of_a_million_characters_is_refused_alone(server: Running):
    request = text_pb.TranslateRequest(
        config=text_pb.TranslationConfig(source_language_code="de"), texts=["a" * 1_000_000, "gut"]
    )
    answer = await server.translation.Translate(request)
    assert answer.items[0].error.code == INVALID.value[0]
    assert answer.items[1].translation.alternatives[0].text == "GUT"
    await assert_unharmed(server)


@pytest.mark.parametrize(
    ("request_", "code", "reason"),
    [
        (text_pb.TranslateRequest(texts=["x"]), INVALID, "BAD_CONFIG"),
        (
            text_pb.TranslateRequest(config=text_pb.TranslationConfig(), texts=["x"]),
            INVALID,
            "BAD_CONFIG",
        ),
        (
            text_pb.TranslateRequest(
                config=text_pb.TranslationConfig(source_language_code="de"), texts=[]
            ),
            INVALID,
            "BAD_TEXT",
        ),
        (
            text_pb.TranslateRequest(
                config=text_pb.TranslationConfig(source_language_code="de"), texts=["x"] * 257
            ),
            INVALID,
            "LIMIT_EXCEEDED",
        ),
        (
            text_pb.TranslateRequest(
                config=text_pb.TranslationConfig(source_language_code="tlh"), texts=["x"]
            ),
            ABSENT,
            "NO_ROUTE",
        ),
    ],
)
async def test_a_bad_translation_is_refused(request_, code, reason, server: Running):
    with pytest.raises(grpc.RpcError) as caught:
        await server.translation.Translate(request_)
    found = refusal(caught.value)
    assert (found.code, found.reason) == (code, reason)
    await assert_unharmed(server)


async def test_unknown_modules_are_refused(server: Running):
    nobody = modules_pb.LoadModuleRequest(
        name="nobody", version="1", wait_duration=Duration(seconds=20)
    )
    escaping = modules_pb.LoadModuleRequest(name="../etc", version="1")
    serving = modules_pb.UnloadModuleRequest(name="speech-en", version="1")
    # One after the other: a version whose load has begun is known for a moment.
    for method, request, code in (
        (server.modules.GetModule, modules_pb.GetModuleRequest(name="nobody"), ABSENT),
        (server.modules.GetModule, modules_pb.GetModuleRequest(), INVALID),
        (server.modules.LoadModule, nobody, ABSENT),
        (server.modules.LoadModule, escaping, INVALID),
        (server.modules.UnloadModule, serving, ORDER),
    ):
        with pytest.raises(grpc.RpcError) as caught:
            await method(request)
        assert caught.value.code() is code
    await assert_unharmed(server)


async def test_a_client_that_vanishes_leaves_nothing_behind():
    async with running(FakeScript(latency_s=0.01)) as server:
        for num_answers in range(4):
            call = server.speech.StreamingRecognize(
                iter([first(interim_results=True), *chunked(linear16(tone(3.0)))])
            )
            answers = aiter(call)
            for _ in range(num_answers):
                await anext(answers)
            call.cancel()
        await assert_unharmed(server)


async def test_a_full_server_says_when_to_come_back():
    from legonn_server.routing.admission import AdmissionLimits

    async with running(admission=AdmissionLimits(max_streams=1)) as server:
        call = server.speech.StreamingRecognize()
        await call.write(first())
        assert (await call.read()).HasField("started")
        with pytest.raises(grpc.RpcError) as caught:
            await streamed(server.speech, [first()])
        assert refusal(caught.value).reason == "ADMISSION_REFUSED"
        await call.done_writing()
        assert (await call.read()).HasField("summary")
        await assert_unharmed(server)
