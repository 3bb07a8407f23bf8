"""A session that loses its gateway goes on at another one, as a client over the wire sees it."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack

import grpc
import numpy as np
import pytest
import soxr

from tests.support.gateway import (
    Running,
    audio,
    chunked,
    control,
    first,
    linear16,
    refusal,
    running,
    silence,
    speech_pb,
    streamed,
    texts,
    tone,
    two_utterances,
)

RATES = (16_000, 44_100)


def at_rate(rate: int) -> bytes:
    """The two utterances as they are recorded at ``rate``."""
    resampled = soxr.resample(two_utterances(), 16_000, rate)
    return linear16(np.clip(resampled, -1, 1))


async def until_final(
    server: Running, content: bytes, **fields: object
) -> list[speech_pb.StreamingRecognizeResponse]:
    """Send audio without an end; read up to the first final, then vanish."""
    asked = iter([first(interim_results=True, **fields), *chunked(content)])
    seen: list[speech_pb.StreamingRecognizeResponse] = []
    release = asyncio.Event()

    async def requests():
        for request in asked:
            yield request
        await release.wait()

    call = server.speech.StreamingRecognize(requests())
    async for answer in call:
        seen.append(answer)
        if answer.HasField("final"):
            break
    call.cancel()
    release.set()
    return seen


@pytest.mark.parametrize("rate", RATES)
async def test_another_gateway_goes_on_where_the_last_final_ended(rate: int):
    content = at_rate(rate)
    async with AsyncExitStack() as stack:
        one, other = [await stack.enter_async_context(running()) for _ in range(2)]
        asked = {"sample_rate_hertz": rate, "enable_word_offsets": True}
        whole = await streamed(one.speech, [first(**asked), *chunked(content)])
        heard = await until_final(one, content, **asked)
        final = heard[-1].final
        resume = speech_pb.ResumePoint(
            session_id=heard[0].started.session_id,
            sample_offset=final.end_sample,
            next_segment_index=final.segment_index + 1,
        )
        rest = content[2 * final.end_sample :]
        requests = [
            first(resume=resume, **asked),
            audio(rest[:320], sample_offset=final.end_sample),
        ]
        answers = await streamed(other.speech, [*requests, *chunked(rest[320:])])

    assert answers[0].started.session_id == heard[0].started.session_id
    expected = [one.final for one in whole if one.HasField("final")]
    found = [final, *(one.final for one in answers if one.HasField("final"))]
    assert [one.segment_index for one in found] == [one.segment_index for one in expected]
    assert answers[-1].summary.num_segments == len(expected) - 1
    assert answers[-1].summary.samples_received == len(rest) // 2
    for got, wanted in zip(found, expected, strict=True):
        # At another rate the resampler starts afresh, which may move a row by a sample.
        assert abs(got.start_sample - wanted.start_sample) <= (0 if rate == 16_000 else 200)
        assert abs(got.end_sample - wanted.end_sample) <= (0 if rate == 16_000 else 200)
        start = got.start_offset.ToNanoseconds()
        assert start == pytest.approx(got.start_sample * 1e9 / rate, abs=1e9 / rate)
        assert all(word.start_offset.ToNanoseconds() >= start for word in got.alternatives[0].words)
    if rate == 16_000:
        assert [one.alternatives[0].text for one in found] == texts(whole)


async def test_what_was_promised_begins_the_final():
    async with running() as server:
        resume = speech_pb.ResumePoint(session_id="s-1", sample_offset=160, committed_text="d  e")
        asked = first(resume=resume, interim_results=True)
        answers = await streamed(server.speech, [asked, *chunked(linear16(tone(1.0)))])
    assert texts(answers)[0].startswith("d e")
    assert answers[0].started.config.resume == resume
    for answer in answers:
        if answer.HasField("partial"):
            assert answer.partial.stable_text.startswith("d e")


async def test_the_newest_stream_holds_the_session():
    async with running() as server:
        release = asyncio.Event()

        async def held():
            yield first()
            await release.wait()

        old = server.speech.StreamingRecognize(held())
        started = await old.read()
        resume = speech_pb.ResumePoint(session_id=started.started.session_id)
        fresh = await streamed(server.speech, [first(resume=resume), *chunked(linear16(tone(0.5)))])
        assert fresh[-1].HasField("summary")
        with pytest.raises(grpc.RpcError) as caught:
            await old.read()
        found = refusal(caught.value)
        assert (found.code, found.reason) == (grpc.StatusCode.ABORTED, "SESSION_SUPERSEDED")
        release.set()
        again = await streamed(server.speech, [first(resume=resume), *chunked(linear16(tone(0.5)))])
        assert again[-1].HasField("summary")
        assert len(server.gateway.services.sessions) == 0


async def test_a_cancelled_segment_is_said_and_not_heard():
    async with running() as server:
        requests = [
            first(),
            *chunked(linear16(tone(0.5))),
            control(speech_pb.CONTROL_ACTION_CANCEL_SEGMENT),
            *chunked(linear16(silence(0.1))),
            *chunked(linear16(tone(0.5, level=0.9))),
        ]
        answers = await streamed(server.speech, requests)
    kinds = [one.notice.kind for one in answers if one.HasField("notice")]
    assert len(kinds) == 1
    (final,) = [one.final for one in answers if one.HasField("final")]
    assert (final.segment_index, final.start_sample) == (0, 8_000)
    summary = answers[-1].summary
    assert summary.samples_non_speech >= 8_000
    assert summary.samples_in_finals + summary.samples_non_speech == summary.samples_received
