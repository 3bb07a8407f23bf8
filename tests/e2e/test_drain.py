"""A server that is told to stop: segments finish, callers are told, and it leaves in time."""

from __future__ import annotations

import asyncio
import signal
import sys

import grpc
import pytest

from legonn.v1 import hypothesis_pb2
from legonn.v1.speech_service_pb2_grpc import SpeechServiceStub
from legonn_loadtest.load.scenario import SpeechLoad
from legonn_loadtest.load.sources import load_clips
from tests.support.gateway import (
    Running,
    audio,
    chunked,
    first,
    linear16,
    refusal,
    running,
    silence,
    tone,
)


async def opened(server: Running, **wishes: object):
    call = server.speech.StreamingRecognize()
    await call.write(first(interim_results=True, **wishes))
    assert (await call.read()).HasField("started")
    return call


async def test_a_stream_in_a_pause_is_handed_on_at_once():
    async with running() as server:
        call = await opened(server)
        stopping = asyncio.create_task(server.gateway.stop(grace_seconds=60))
        answer = await call.read()
        assert answer.notice.kind == hypothesis_pb2.NOTICE_KIND_DRAINING
        with pytest.raises(grpc.RpcError) as caught:
            await call.read()
        assert refusal(caught.value).reason == "DRAINING"
        await asyncio.wait_for(stopping, 20)


async def test_a_drain_finishes_what_was_said():
    async with running() as server:
        call = server.speech.StreamingRecognize()
        await call.write(first())
        await call.write(audio(linear16(tone(0.5))))
        assert (await call.read()).HasField("started")
        async with asyncio.timeout(5):
            while not server.backend.num_calls["step"]:
                await asyncio.sleep(0)
        await server.gateway.stop(grace_seconds=2)
        notice = (await call.read()).notice
        assert notice.kind == hypothesis_pb2.NOTICE_KIND_DRAINING
        assert notice.grace_duration.ToMilliseconds() == 2_000
        assert (await call.read()).final.alternatives[0].text
        with pytest.raises(grpc.RpcError) as caught:
            await call.read()
        assert refusal(caught.value).reason == "DRAINING"


async def test_what_is_being_said_is_heard_to_its_end():
    """The audio after the signal belongs to the segment: cutting it would cut a word in two."""
    async with running() as server:
        call = await opened(server)
        for message in chunked(linear16(tone(0.96))):
            await call.write(message)
        while not (await call.read()).HasField("partial"):
            pass
        stopping = asyncio.create_task(server.gateway.stop(grace_seconds=60))
        for message in chunked(linear16(tone(0.96, level=0.8))):
            await call.write(message)
        await call.write(audio(linear16(silence(1.6))))
        answers = []
        with pytest.raises(grpc.RpcError) as caught:
            while (answer := await call.read()) is not grpc.aio.EOF:
                answers.append(answer)
        assert refusal(caught.value).reason == "DRAINING"
        await asyncio.wait_for(stopping, 20)
        finals = [one.final for one in answers if one.HasField("final")]
        assert len(finals) == 1
        assert finals[0].reason == hypothesis_pb2.FINAL_REASON_ENDPOINT
        assert len(finals[0].alternatives[0].text.split()) == 24
        notices = [one.notice.kind for one in answers if one.HasField("notice")]
        assert notices == [hypothesis_pb2.NOTICE_KIND_DRAINING]


async def test_a_caller_who_has_ended_its_audio_gets_its_summary():
    async with running() as server:
        call = await opened(server)
        for message in chunked(linear16(tone(3.2))):
            await call.write(message)
        while not (await call.read()).HasField("partial"):
            pass
        await call.done_writing()
        stopping = asyncio.create_task(server.gateway.stop(grace_seconds=60))
        kinds = []
        while (answer := await call.read()) is not grpc.aio.EOF:
            kinds.append(answer.WhichOneof("event"))
        assert kinds[-2:] == ["final", "summary"]
        await asyncio.wait_for(stopping, 20)


async def test_the_process_leaves_in_its_grace_with_live_streams():
    content = load_clips(SpeechLoad())[0].content
    command = "-m legonn_server --backend fake --listen 127.0.0.1:0 --metrics= --http= --log-json"
    process = await asyncio.create_subprocess_exec(
        sys.executable, *command.split(), "--grace-seconds", "10",
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        env={"PYTHONPATH": ".:server:protos/python", "PATH": "/usr/bin:/bin"},
    )  # fmt: skip
    try:
        assert process.stdout is not None
        address = (await asyncio.wait_for(process.stdout.readline(), 30)).decode().split()[4]
        async with grpc.aio.insecure_channel(address) as channel:
            stub = SpeechServiceStub(channel)
            speaking = [asyncio.Event() for _ in range(4)]
            talks = [asyncio.create_task(talk(stub, content, one)) for one in speaking]
            await asyncio.wait_for(asyncio.gather(*(one.wait() for one in speaking)), 30)
            process.send_signal(signal.SIGTERM)
            ends = await asyncio.wait_for(asyncio.gather(*talks), 40)
        for kinds, reason in ends:
            assert reason == "DRAINING"
            assert kinds.index("notice") < kinds.index("final"), "told, then heard to the end"
            assert kinds[-1] == "final"
        _, errors = await asyncio.wait_for(process.communicate(), 30)
        assert process.returncode == 0, errors
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def talk(
    stub: SpeechServiceStub, content: bytes, speaking: asyncio.Event
) -> tuple[list[str], str]:
    """Speak on and on; the kinds of the answers, and why the stream ended."""
    kinds: list[str] = []

    async def messages():
        yield first(interim_results=True)
        for message in chunked(content) * 20:
            yield message
            await asyncio.sleep(0.1)

    try:
        async for answer in stub.StreamingRecognize(messages()):
            kinds.append(answer.WhichOneof("event"))
            if kinds[-1] == "partial":
                speaking.set()
    except grpc.RpcError as error:
        return kinds, refusal(error).reason
    return kinds, ""
