"""The gateway from outside, over real gRPC, with the fake behind it."""

from __future__ import annotations

import asyncio
import io
import signal
import sys
import urllib.request

import grpc
import numpy as np
import pytest
import soundfile
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from prometheus_client import generate_latest

from legonn.v1 import audio_pb2, hypothesis_pb2
from legonn.v1 import module_card_pb2 as card_pb
from legonn.v1 import module_service_pb2 as modules_pb
from legonn.v1 import speech_service_pb2 as speech_pb
from legonn.v1 import translation_service_pb2 as text_pb
from legonn_core.errors import BackendDown
from legonn_server.backends.fake import FakeBackend, FakeScript
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
    silence,
    streamed,
    texts,
    tone,
    two_utterances,
)

GOOD = linear16(two_utterances())
EXPECTED = [" ".join("d" + "g" * 12 + "d"), " ".join("h" + "o" * 9 + "m")]
DE = text_pb.TranslationConfig(source_language_code="de")


@pytest.fixture
async def server():
    async with running() as found:
        yield found


async def test_a_stream_keeps_its_promises(server: Running):
    wishes = {"enable_word_offsets": True, "enable_word_confidence": True, "max_alternatives": 2}
    answers = await streamed(
        server.speech, [first(interim_results=True, **wishes), *chunked(GOOD, 1000)]
    )
    assert [one.sequence for one in answers] == list(range(len(answers)))
    assert answers[0].started.config.endpointing.end_silence.ToMilliseconds() == 700
    assert answers[0].started.limits.max_message_bytes == 1 << 20
    assert texts(answers) == EXPECTED
    processed = [one.audio_processed.ToMilliseconds() for one in answers]
    assert processed == sorted(processed)
    stable = ""
    for one in answers:
        if one.HasField("partial"):
            assert one.partial.stable_text.startswith(stable)
            stable = one.partial.stable_text
        elif one.HasField("final"):
            assert one.final.alternatives[0].text.startswith(stable)
            assert len(one.final.alternatives) == 2
            stable = ""
    finals = [one.final for one in answers if one.HasField("final")]
    assert finals[0].start_sample == 0
    assert finals[1].start_sample == finals[0].end_sample
    word = finals[1].alternatives[0].words[0]
    assert finals[1].start_offset.ToMilliseconds() <= word.start_offset.ToMilliseconds()
    assert 2_700 <= word.start_offset.ToMilliseconds() <= 2_880
    assert finals[0].reason == hypothesis_pb2.FINAL_REASON_ENDPOINT
    assert finals[1].reason == hypothesis_pb2.FINAL_REASON_HALF_CLOSE
    assert (finals[0].encoder, finals[0].decoder) == ("speech-en/1", "decoder-en/1")
    summary = answers[-1].summary
    assert summary.samples_received == len(GOOD) // 2
    assert summary.samples_in_finals + summary.samples_non_speech == summary.samples_received
    assert summary.num_segments == 2


async def test_how_audio_is_cut_does_not_matter(server: Running):
    for size in (322, 1_000, 64_000):
        answers = await streamed(server.speech, [first(), *chunked(GOOD, size)])
        assert texts(answers) == EXPECTED
    # Sample by sample only a little: more of it is let in slowly.
    some = linear16(two_utterances()[:250])
    answers = await streamed(server.speech, [first(), *chunked(some, 2)])
    assert answers[-1].summary.samples_received == 250


async def test_a_flush_is_answered_and_the_stream_goes_on(server: Running):
    call = server.speech.StreamingRecognize()
    await call.write(first())
    assert (await call.read()).HasField("started")
    for _ in range(2):
        await call.write(audio(linear16(tone(0.5))))
        await call.write(control(speech_pb.CONTROL_ACTION_FLUSH))
        final = (await call.read()).final
        assert final.reason == hypothesis_pb2.FINAL_REASON_FLUSH
        assert final.alternatives[0].text
    await call.write(audio(linear16(silence(0.5))))
    await call.write(control(speech_pb.CONTROL_ACTION_KEEP_ALIVE))
    await call.write(control(speech_pb.CONTROL_ACTION_FLUSH))
    final = (await call.read()).final
    assert (final.segment_index, final.alternatives[0].text) == (2, "")
    assert final.end_sample == 24_000
    await call.done_writing()
    assert (await call.read()).summary.num_segments == 3


@pytest.mark.parametrize("rate", [8_000, 11_025, 44_100, 48_000])
async def test_other_sample_rates_are_mapped_back_exactly(rate: int, server: Running):
    wave = np.interp(
        np.arange(int(3.8 * rate)) / rate,
        np.arange(len(two_utterances())) / 16_000,
        two_utterances(),
    )
    answers = await streamed(
        server.speech, [first(sample_rate_hertz=rate), *chunked(linear16(wave), 2 * (rate // 10))]
    )
    finals = [one.final for one in answers if one.HasField("final")]
    assert len(finals) == 2
    assert finals[0].end_sample == finals[1].start_sample
    assert finals[1].end_sample == len(wave) == answers[-1].summary.samples_received


@pytest.mark.parametrize("encoding", ["FLOAT32", "MULAW", "ALAW"])
async def test_encodings_are_read(encoding: str, server: Running):
    subtype = {"FLOAT32": "FLOAT", "MULAW": "ULAW", "ALAW": "ALAW"}[encoding]
    content = io.BytesIO()
    soundfile.write(content, two_utterances(), 16_000, format="RAW", subtype=subtype)
    number = audio_pb2.AudioEncoding.Value(f"AUDIO_ENCODING_{encoding}")
    answers = await streamed(
        server.speech, [first(encoding=number), *chunked(content.getvalue(), 4_000)]
    )
    assert texts(answers) == EXPECTED


@pytest.mark.parametrize(
    ("encoding", "name", "subtype"),
    [(7, "WAV", "PCM_16"), (5, "FLAC", "PCM_16"), (6, "OGG", "OPUS")],
)
async def test_whole_files_are_recognized(encoding: int, name: str, subtype: str, server: Running):
    content = io.BytesIO()
    soundfile.write(content, two_utterances(), 16_000, format=name, subtype=subtype)
    answer = await server.speech.Recognize(
        speech_pb.RecognizeRequest(
            config=config(encoding=encoding, sample_rate_hertz=0), audio=content.getvalue()
        )
    )
    assert answer.audio_duration.ToMilliseconds() == 3_800
    found = [one.alternatives[0].text for one in answer.segments]
    assert len(found) == 2
    if name != "OGG":
        assert found == EXPECTED


async def test_the_request_id_comes_back(server: Running):
    call = server.translation.Translate(
        text_pb.TranslateRequest(config=DE, texts=["x"]), metadata=(("x-request-id", "r-1"),)
    )
    assert (await call).request_id == "r-1"
    assert ("x-request-id", "r-1") in tuple(await call.initial_metadata())
    assert ("x-request-id", "r-1") in tuple(await call.trailing_metadata())
    call = server.speech.StreamingRecognize(iter([]))
    with pytest.raises(grpc.RpcError):
        await call.read()
    assert dict(tuple(await call.trailing_metadata()))["x-request-id"]


async def test_texts_are_translated_in_order(server: Running):
    batch = ["Eins. Zwei!", "", "drei"]
    answer = await server.translation.Translate(text_pb.TranslateRequest(config=DE, texts=batch))
    found = [one.translation.alternatives[0].text for one in answer.items]
    assert found == ["EINS. ZWEI!", "", "DREI"]
    assert answer.items[0].translation.encoder == "text-de/1"


async def test_text_is_translated_as_it_is_written(server: Running):
    def said(text: str, *, end: bool = False) -> text_pb.StreamingTranslateRequest:
        return text_pb.StreamingTranslateRequest(
            input=text_pb.TextInput(text=text, end_of_segment=end)
        )

    requests = [
        text_pb.StreamingTranslateRequest(config=DE),
        said("Guten "),
        said("Tag. Wie"),
        said(" geht es", end=True),
        said("Ende\nRest"),
    ]
    answers = [one async for one in server.translation.StreamingTranslate(iter(requests))]
    assert answers[0].HasField("started")
    finals = [one.final for one in answers if one.HasField("final")]
    assert [one.item.translation.alternatives[0].text for one in finals] == [
        "GUTEN TAG.", "WIE GEHT ES", "ENDE", "REST",
    ]  # fmt: skip
    assert [(one.start_character, one.end_character) for one in finals] == [
        (0, 11), (11, 22), (22, 27), (27, 31),
    ]  # fmt: skip
    assert answers[-1].summary.characters_received == 31


async def test_a_lost_engine_is_replayed_and_said():
    def fault(method: str, count: int):
        return BackendDown("gone") if (method, count) in {("step", 3), ("decode", 0)} else None

    async with running(FakeScript(fault=fault)) as server:
        answers = await streamed(server.speech, [first(), *chunked(GOOD)])
        assert texts(answers) == EXPECTED
        assert answers[-1].summary.num_replays == 2
        assert sum(one.HasField("notice") for one in answers) == 2


async def test_a_lost_engine_that_stays_lost_ends_the_stream():
    def fault(method: str, count: int):
        return BackendDown("gone") if method == "step" and count else None

    async with running(FakeScript(fault=fault)) as server:
        # Few messages: a client of grpc.aio that still writes when the status comes sees INTERNAL.
        with pytest.raises(grpc.RpcError) as caught:
            await streamed(server.speech, [first(), *chunked(GOOD[:64_000], 64_000)])
        found = refusal(caught.value)
        assert (found.code, found.reason) == (grpc.StatusCode.UNAVAILABLE, "BACKEND_LOST")


async def test_our_own_mistakes_say_nothing_but_an_id():
    def fault(method: str, count: int):
        if method == "encode_text":
            raise ZeroDivisionError("secret")
        return

    async with running(FakeScript(fault=fault)) as server:
        with pytest.raises(grpc.RpcError) as caught:
            await server.translation.Translate(text_pb.TranslateRequest(config=DE, texts=["x"]))
        found = refusal(caught.value)
        assert (found.code, found.reason) == (grpc.StatusCode.INTERNAL, "INTERNAL")
        assert "secret" not in found.message


async def test_modules_and_routes_are_shown_and_changed(server: Running):
    listed = await server.modules.ListModules(modules_pb.ListModulesRequest(page_size=3))
    assert [one.name for one in listed.modules] == ["decoder-en", "speech-en", "text-de"]
    rest = await server.modules.ListModules(
        modules_pb.ListModulesRequest(page_token=listed.next_page_token)
    )
    assert [one.name for one in rest.modules] == ["text-ro"]
    one = await server.modules.GetModule(modules_pb.GetModuleRequest(name="speech-en"))
    assert one.module.versions[0].state == card_pb.MODULE_STATE_SERVING
    assert one.module.versions[0].chunk_duration.ToMilliseconds() == 320
    table = (await server.modules.GetRoutes(modules_pb.GetRoutesRequest())).table
    assert (table.generation, len(table.routes)) == (1, 3)
    route = card_pb.Route()
    route.CopyFrom(table.routes[0])
    route.model = "mine"
    changed = await server.modules.SetRoute(
        modules_pb.SetRouteRequest(route=route, expected_generation=1)
    )
    assert (changed.table.generation, len(changed.table.routes)) == (2, 4)
    with pytest.raises(grpc.RpcError) as caught:
        await server.modules.SetRoute(
            modules_pb.SetRouteRequest(route=route, expected_generation=1)
        )
    assert caught.value.code() is grpc.StatusCode.FAILED_PRECONDITION
    assert texts(await streamed(server.speech, [first(model="mine"), *chunked(GOOD)])) == EXPECTED
    loaded = await server.modules.LoadModule(
        modules_pb.LoadModuleRequest(name="text-de", version="1")
    )
    assert loaded.module.name == "text-de"
    watch = server.modules.WatchModules(modules_pb.WatchModulesRequest())
    everything = await watch.read()
    assert everything.is_snapshot and everything.routes == changed.table
    assert [one.name for one in everything.modules][:2] == ["decoder-en", "speech-en"]
    watch.cancel()


async def test_health_and_reflection_answer(server: Running):
    health = health_pb2_grpc.HealthStub(server.channel)
    serving = health_pb2.HealthCheckResponse.SERVING
    for service in ("", "legonn.v1.SpeechService"):
        answer = await health.Check(health_pb2.HealthCheckRequest(service=service))
        assert answer.status == serving
    await server.gateway.set_backend_state(is_up=False)
    answer = await health.Check(health_pb2.HealthCheckRequest())
    assert answer.status == health_pb2.HealthCheckResponse.NOT_SERVING
    reflection = reflection_pb2_grpc.ServerReflectionStub(server.channel)
    request = reflection_pb2.ServerReflectionRequest(list_services="")
    async for answer in reflection.ServerReflectionInfo(iter([request])):
        names = {one.name for one in answer.list_services_response.service}
        assert {"legonn.v1.SpeechService", "grpc.health.v1.Health"} <= names


async def test_nothing_is_served_before_the_modules_are(monkeypatch: pytest.MonkeyPatch):
    loading = asyncio.Event()

    async def start(self: FakeBackend) -> None:
        del self
        await loading.wait()

    from legonn_server.app import Gateway
    from legonn_server.config.settings import ServerSettings, Settings

    monkeypatch.setattr(FakeBackend, "start", start)
    settings = Settings(server=ServerSettings(listen="127.0.0.1:0", http="", metrics=""))
    gateway = Gateway(settings, FakeBackend())
    starting = asyncio.create_task(gateway.start())
    while not gateway.address:
        await asyncio.sleep(0)
    async with grpc.aio.insecure_channel(gateway.address) as channel:
        health = health_pb2_grpc.HealthStub(channel)
        answer = await health.Check(health_pb2.HealthCheckRequest())
        assert answer.status == health_pb2.HealthCheckResponse.NOT_SERVING
        loading.set()
        await starting
        answer = await health.Check(health_pb2.HealthCheckRequest())
        assert answer.status == health_pb2.HealthCheckResponse.SERVING
    await gateway.stop()


async def test_metrics_count_and_hold_no_text(server: Running):
    await streamed(server.speech, [first(interim_results=True), *chunked(GOOD)])
    with pytest.raises(grpc.RpcError):
        await streamed(server.speech, [first(sample_rate_hertz=0)])
    await server.translation.Translate(text_pb.TranslateRequest(config=DE, texts=["Geheimnisvoll"]))
    page = generate_latest(server.gateway.metrics.registry).decode()
    for line in (
        'legonn_rpc_completed_total{code="OK",method="StreamingRecognize"} 1.0',
        'legonn_rpc_completed_total{code="INVALID_ARGUMENT",method="StreamingRecognize"} 1.0',
        'legonn_errors_total{reason="BAD_CONFIG"} 1.0',
        "legonn_audio_received_seconds_total 3.8",
        'legonn_finals_total{reason="endpoint"} 1.0',
        'legonn_encoder_slots{module="speech-en",version="1"} 0.0',
        "legonn_sessions_active 0.0",
        "legonn_backend_up 1.0",
        'legonn_sessions_admitted_total{kind="speech"} 2.0',
        'legonn_sessions_open{kind="speech"} 0.0',
        'legonn_interface_rows_total{module="speech-en",version="1"} ',
        'legonn_decoder_queue_seconds_count{kind="final"} 2.0',
        "legonn_partial_words_total ",
        "legonn_decoder_in_flight_jobs 0.0",
    ):
        assert line in page, line
    assert "legonn_first_partial_latency_seconds_count 1.0" in page
    assert "legonn_partial_latency_seconds_count 0.0" not in page
    assert "eheimnis" not in page


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_the_command_serves_and_leaves_cleanly(number: signal.Signals):
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "legonn_server", "--backend", "fake", "--listen", "127.0.0.1:0",
        "--http", "", "--metrics", "127.0.0.1:0", "--log-json",
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        env={"PYTHONPATH": ".:server:protos/python", "PATH": "/usr/bin:/bin"},
    )  # fmt: skip
    try:
        assert process.stdout is not None
        async with asyncio.timeout(20):
            line = (await process.stdout.readline()).decode()
        assert line.startswith("legonn is ready at 127.0.0.1:")
        address = line.split()[4]
        async with grpc.aio.insecure_channel(address) as channel:
            from legonn.v1 import speech_service_pb2_grpc

            stub = speech_service_pb2_grpc.SpeechServiceStub(channel)
            assert texts(await streamed(stub, [first(), *chunked(GOOD)])) == EXPECTED
        url = line.split("metrics at ")[1].strip()
        page = await asyncio.to_thread(lambda: urllib.request.urlopen(url, timeout=5).read())
        assert b"legonn_rpc_started_total" in page
        process.send_signal(number)
        async with asyncio.timeout(10):
            _, errors = await process.communicate()
        assert process.returncode == 0, errors
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
