"""Every encoding over the wire, streamed and whole: one text, and bad files end only themselves."""

from __future__ import annotations

import asyncio
import random

import grpc
import numpy as np
import pytest
import soxr

from legonn.v1 import audio_pb2
from tests.support.gateway import (
    Running,
    chunked,
    config,
    control,
    first,
    linear16,
    refusal,
    running,
    speech_pb,
    streamed,
    texts,
    tone,
    two_utterances,
)
from tests.support.recordings import LOSSLESS, every_format, webm

RATE = 16_000


@pytest.fixture
async def server():
    async with running() as found:
        yield found


async def test_every_container_gives_one_text(server: Running):
    samples = np.rint(two_utterances() * 32767).clip(-32768, 32767).astype("<i2")
    expected = await streamed(server.speech, [first(), *chunked(samples.tobytes())])
    for name, (encoding, content) in every_format(samples / 32768.0, RATE).items():
        asked = {"encoding": encoding, "sample_rate_hertz": 0}
        answers = await streamed(server.speech, [first(**asked), *chunked(content, 2_000)])
        request = speech_pb.RecognizeRequest(config=config(**asked), audio=content)
        whole = (await server.speech.Recognize(request)).segments
        found = [one.final for one in answers if one.HasField("final")]
        assert list(whole) == found or len(whole) == len(found), name
        if name in LOSSLESS:
            assert texts(answers) == texts(expected), name
            assert answers[-1].summary == expected[-1].summary
        else:
            assert len(texts(answers)) == len(texts(expected)), name
            assert abs(answers[-1].audio_processed.ToMilliseconds() - 3_800) < 150, name


@pytest.mark.parametrize("rate", [8_000, 22_050, 44_100, 48_000])
async def test_stereo_is_mixed_and_counted_once(rate: int, server: Running):
    mono = soxr.resample(two_utterances(), RATE, rate).clip(-1, 1)
    stereo = np.stack([mono, mono], axis=1)
    one = await streamed(server.speech, [first(sample_rate_hertz=rate), *chunked(linear16(mono))])
    two = await streamed(
        server.speech,
        [first(sample_rate_hertz=rate, channel_count=2), *chunked(linear16(stereo), 3_200)],
    )
    assert texts(two) == texts(one)
    assert two[-1].summary == one[-1].summary


async def test_a_flush_covers_the_file_so_far(server: Running):
    content = webm(tone(1.0), RATE)
    requests = [
        first(encoding=audio_pb2.AUDIO_ENCODING_WEBM_OPUS, sample_rate_hertz=0),
        *chunked(content[: len(content) // 2]),
        control(speech_pb.CONTROL_ACTION_FLUSH),
        *chunked(content[len(content) // 2 :]),
    ]
    finals = [one.final for one in await streamed(server.speech, requests) if one.HasField("final")]
    assert len(finals) == 2
    assert finals[0].end_sample == finals[1].start_sample
    assert finals[1].end_sample == 48_000


async def test_bad_files_end_only_themselves(server: Running):
    """While a stream is read, others send what is no audio; it notices nothing."""
    dice = random.Random(3)
    content = linear16(two_utterances())
    expected = await streamed(server.speech, [first(), *chunked(content)])
    files = list(every_format(tone(0.5), RATE).values())

    async def slowly():
        yield first()
        for chunk in chunked(content):
            await asyncio.sleep(0.02)
            yield chunk

    async def attack() -> None:
        encoding, good = dice.choice(files)
        hostile = bytearray(good[: dice.randrange(1, len(good))])
        for _ in range(dice.choice([0, 5, 100])):
            hostile[dice.randrange(len(hostile))] = dice.randrange(256)
        asked = first(encoding=encoding, sample_rate_hertz=0)
        try:
            await streamed(server.speech, [asked, *chunked(bytes(hostile))])
        except grpc.RpcError as error:
            found = refusal(error)
            assert found.code is grpc.StatusCode.INVALID_ARGUMENT, found
            assert found.reason == "BAD_AUDIO"
            assert found.message

    async def attacks() -> None:
        for _ in range(12):
            await attack()

    attacking = asyncio.create_task(attacks())
    answers = [one async for one in server.speech.StreamingRecognize(slowly())]
    await attacking
    assert texts(answers) == texts(expected)
    assert answers[-1].summary == expected[-1].summary
    assert server.backend.num_open_slots == 0
