"""The captions socket from outside: the same sessions as gRPC, and the same refusals."""

from __future__ import annotations

import asyncio
import json

import pytest
import websockets
from google.protobuf.json_format import ParseDict

from legonn.v1 import speech_service_pb2 as pb
from legonn_core.errors import BackendDown
from legonn_server.backends.fake import FakeScript
from legonn_server.gateway.web.policy import WebLimits
from legonn_server.routing.admission import AdmissionLimits
from tests.support.gateway import (
    Running,
    chunked,
    first,
    linear16,
    running,
    streamed,
    tone,
    two_utterances,
)
from tests.support.web import CONFIG, captions, finals, heard, say

GOOD = linear16(two_utterances())


@pytest.fixture
async def server():
    async with running(http="127.0.0.1:0") as found:
        yield found


async def test_the_socket_says_what_grpc_says(server: Running):
    wishes = {"enableWordOffsets": True, "enableWordConfidence": True}
    async with captions(server.gateway.page) as socket:
        over_socket = await say(socket, GOOD, **wishes)
    assert socket.close_code == 1000
    grpc_wishes = {"enable_word_offsets": True, "enable_word_confidence": True}
    over_grpc = await streamed(server.speech, [first(**grpc_wishes), *chunked(GOOD)])
    read = [ParseDict(one, pb.StreamingRecognizeResponse()) for one in over_socket]
    assert [one.sequence for one in read] == list(range(len(read)))
    assert [one.final for one in read] == [one.final for one in over_grpc]
    assert read[-1].summary == over_grpc[-1].summary


async def test_partials_hold_their_empty_fields(server: Running):
    async with captions(server.gateway.page) as socket:
        answers = await say(socket, GOOD, interimResults=True)
    partials = [one["partial"] for one in answers if "partial" in one]
    assert partials
    assert all({"stableText", "tailText", "segmentIndex"} <= set(one) for one in partials)


async def test_a_flush_is_answered_and_the_stream_goes_on(server: Running):
    async with captions(server.gateway.page) as socket:
        await socket.send(json.dumps({"config": CONFIG}))
        assert "started" in json.loads(await socket.recv())
        await socket.send(linear16(tone(0.5)))
        await socket.send('{"control": {"action": "CONTROL_ACTION_FLUSH"}}')
        assert json.loads(await socket.recv())["final"]["reason"] == "FINAL_REASON_FLUSH"
        await socket.send('{"end": {}}')
        assert json.loads(await socket.recv())["summary"]["numSegments"] == 1


@pytest.mark.parametrize(
    ("message", "reason", "code"),
    [
        ("nonsense", "BAD_TEXT", 1008),
        ("[]", "PROTOCOL_VIOLATION", 1008),
        ('{"config": {"encodign": 1}}', "BAD_TEXT", 1008),
        ('{"config": {"encoding": "AUDIO_ENCODING_LINEAR16"}}', "BAD_CONFIG", 1008),
        (json.dumps({"config": CONFIG | {"languageCode": "fr"}}), "NO_ROUTE", 1008),
        (b"\0\0", "PROTOCOL_VIOLATION", 1008),
        ('{"end": {}}', "PROTOCOL_VIOLATION", 1008),
    ],
)
async def test_a_bad_first_message_is_refused(
    message: str | bytes, reason: str, code: int, server: Running
):
    async with captions(server.gateway.page) as socket:
        await socket.send(message)
        error = json.loads(await socket.recv())["error"]
        assert error["details"][0]["reason"] == reason
        assert error["message"]
        await socket.wait_closed()
    assert (socket.close_code, socket.close_reason.partition(":")[0]) == (code, reason)


async def test_a_full_server_says_try_again_later():
    async with running(http="127.0.0.1:0", admission=AdmissionLimits(max_streams=1)) as server:
        async with captions(server.gateway.page) as holder, captions(server.gateway.page) as other:
            await holder.send(json.dumps({"config": CONFIG}))
            await holder.recv()
            error = json.loads(await other.recv())["error"]
            assert error["status"] == "RESOURCE_EXHAUSTED"
            assert error["details"][1]["retryDelay"] == "1s"
            await other.wait_closed()
        assert other.close_code == 1013


async def test_a_lost_engine_ends_the_session_as_a_restart():
    def fault(method: str, count: int) -> BackendDown | None:
        return BackendDown("gone") if method == "step" else None

    async with running(FakeScript(fault=fault), http="127.0.0.1:0") as server:
        async with captions(server.gateway.page) as socket:
            answers = await say(socket, GOOD)
        assert answers[-1]["error"]["status"] == "UNAVAILABLE"
        assert socket.close_code == 1012


async def test_a_drain_sends_the_finals_before_it_closes(server: Running):
    async with captions(server.gateway.page) as socket:
        await socket.send(json.dumps({"config": CONFIG}))
        await socket.recv()
        await socket.send(linear16(tone(1.0)))
        await asyncio.sleep(0.3)
        stopping = asyncio.create_task(server.gateway.stop(grace_seconds=5))
        answers = await heard(socket)
        await stopping
    assert finals(answers)
    assert answers[-1]["error"]["details"][0]["reason"] == "DRAINING"
    assert socket.close_code == 1012


async def test_who_leaves_gives_the_place_back(server: Running):
    for _ in range(3):
        async with captions(server.gateway.page) as socket:
            await socket.send(json.dumps({"config": CONFIG}))
            await socket.recv()
            await socket.send(GOOD[:3200])
    async with asyncio.timeout(5):
        while server.gateway.services.runners or server.backend.num_open_slots:
            await asyncio.sleep(0.02)
    assert server.gateway.services.speech_admission.num_open == 0


async def test_a_socket_that_says_nothing_is_closed():
    async with (
        running(http="127.0.0.1:0", web=WebLimits(config_seconds=0.2)) as server,
        captions(server.gateway.page) as socket,
    ):
        error = json.loads(await socket.recv())["error"]
        assert error["status"] == "DEADLINE_EXCEEDED"


async def test_a_slow_encoder_is_no_dead_peer():
    """While audio waits nothing is read, the caller's pongs neither: that must not end it."""
    async with (
        running(
            FakeScript(latency_s=0.3), http="127.0.0.1:0", web=WebLimits(ping_seconds=0.1)
        ) as server,
        captions(server.gateway.page) as socket,
    ):
        answers = await say(socket, linear16(tone(4.0)))
        assert server.gateway._web._server.config.ws_ping_timeout is None
    assert finals(answers)
    assert socket.close_code == 1000


async def test_the_socket_is_read_no_faster_than_the_encoder_follows():
    """A caller that sends an hour at once must be stopped by the network, not by our memory."""
    async with (
        running(FakeScript(latency_s=0.2), http="127.0.0.1:0") as server,
        captions(server.gateway.page) as socket,
    ):
        await socket.send(json.dumps({"config": CONFIG}))
        await socket.recv()
        second = linear16(tone(1.0))

        async def flood() -> None:
            for _ in range(3_000):
                await socket.send(second)

        flooding = asyncio.create_task(flood())
        await asyncio.sleep(1.5)
        assert not flooding.done()
        assert server.gateway.metrics.audio_received._value.get() < 60
        flooding.cancel()
        socket.transport.abort()


@pytest.mark.parametrize(
    ("origin", "is_allowed"),
    [("http://evil.example", False), ("null", False), ("https://friend.example", True)],
)
async def test_pages_of_other_sites_are_kept_out(origin: str, *, is_allowed: bool):
    async with running(
        http="127.0.0.1:0", web=WebLimits(origins="https://friend.example")
    ) as server:
        if is_allowed:
            async with captions(server.gateway.page, origin=origin) as socket:
                assert finals(await say(socket, GOOD))
        else:
            with pytest.raises(websockets.InvalidStatus) as refused:
                async with captions(server.gateway.page, origin=origin):
                    pass
            assert refused.value.response.status_code == 403


async def test_another_sub_protocol_is_refused(server: Running):
    url = server.gateway.page.replace("http", "ws", 1) + "v1/captions"
    with pytest.raises(websockets.InvalidStatus):
        await websockets.connect(url, subprotocols=["legonn.captions.v9"])


async def test_a_lost_session_is_taken_up_again(server: Running):
    async with captions(server.gateway.page) as socket:
        whole = finals(await say(socket, GOOD))
    async with captions(server.gateway.page) as lost:
        await lost.send(json.dumps({"config": CONFIG}))
        session = json.loads(await lost.recv())["started"]["sessionId"]
        for start in (0, 40_000):
            await lost.send(GOOD[start : start + 40_000])
        final = json.loads(await lost.recv())["final"]
        resume = {
            "sessionId": session,
            "sampleOffset": final["endSample"],
            "nextSegmentIndex": final["segmentIndex"] + 1,
        }
        async with captions(server.gateway.page) as again:
            rest = GOOD[2 * int(final["endSample"]) :]
            answers = await say(again, rest, resume=resume)
        error = (await heard(lost))[-1]["error"]
    assert [final["alternatives"][0]["text"], *finals(answers)] == whole
    assert answers[0]["started"]["sessionId"] == session
    assert answers[-2]["final"]["segmentIndex"] == 1
    assert error["status"] == "ABORTED"
