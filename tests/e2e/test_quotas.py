"""What a tenant may use: refusals with reason, field and delay, and streams that are held back."""

from __future__ import annotations

import asyncio
from pathlib import Path

import grpc
import numpy as np
import pytest

import legonn
from legonn.v1 import speech_service_pb2 as pb
from legonn_server.gateway.doorkeeper import AccessOptions
from legonn_server.gateway.services import CallLimits
from legonn_server.routing.admission import AdmissionLimits
from tests.support.access import key_entry
from tests.support.gateway import (
    audio,
    chunked,
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

KEYS = key_entry("lk_acme", "acme", "speech", "translate") + key_entry(
    "lk_other", "other", "speech", "translate"
)


@pytest.fixture
def quotas(tmp_path: Path):
    """Options whose access file holds keys of two tenants and these quotas of one of them."""

    def options(**quota: object) -> AccessOptions:
        lines = [f"{name} = {value!r}".replace("'", '"') for name, value in quota.items()]
        path = tmp_path / "access.toml"
        path.write_text(KEYS + "[tenants.acme]\n" + "\n".join(lines) + "\n")
        return AccessOptions(file=str(path))

    return options


def bearer(key: str):
    return (("authorization", f"Bearer {key}"),)


async def test_a_tenant_has_its_calls_and_another_has_its_own(quotas):
    async with running(access=quotas(max_streams=1)) as server:
        held = server.speech.StreamingRecognize(metadata=bearer("lk_acme"))
        await held.write(first())
        await held.read()
        async with legonn.AsyncClient(
            server.gateway.address, access=legonn.Access("lk_acme"), retry=legonn.NO_RETRIES
        ) as client:
            with pytest.raises(legonn.QuotaExceeded) as caught:
                await client.translate("Guten Morgen", source="de")
            assert caught.value.reason == "TENANT_STREAMS"
            assert caught.value.field == "max_streams"
            assert caught.value.retry_after_s == pytest.approx(2.0)
        async with legonn.AsyncClient(
            server.gateway.address, access=legonn.Access("lk_other")
        ) as client:
            assert (await client.transcribe(tone(1.0))).text
        held.cancel()
        async with asyncio.timeout(60):
            while server.gateway.services.tenants.num_open("acme"):
                await asyncio.sleep(0.05)


async def test_a_recording_above_the_quota_is_refused_with_the_wait(quotas):
    async with running(access=quotas(audio_seconds_per_minute=6)) as server:
        request = pb.RecognizeRequest(config=first().config, audio=linear16(tone(4.0)))
        await server.speech.Recognize(request, metadata=bearer("lk_acme"))
        with pytest.raises(grpc.RpcError) as caught:
            await server.speech.Recognize(request, metadata=bearer("lk_acme"))
        told = refusal(caught.value)
        assert (told.code, told.reason) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "TENANT_AUDIO")
        await server.speech.Recognize(request, metadata=bearer("lk_other"))


async def test_characters_are_counted_over_both_kinds_of_translation(quotas):
    async with (
        running(access=quotas(characters_per_minute=60)) as server,
        legonn.AsyncClient(
            server.gateway.address, access=legonn.Access("lk_acme"), retry=legonn.NO_RETRIES
        ) as client,
    ):
        assert await client.translate("Guten Morgen, wie geht es dir?", source="de")
        with pytest.raises(legonn.Overloaded) as caught:
            await client.translate("Guten Morgen", source="de")
        assert caught.value.reason == "TENANT_CHARACTERS"
        with pytest.raises(legonn.Overloaded):
            async for _ in client.translate_stream(["Guten"], source="de"):
                pass


async def test_a_stream_above_the_quota_is_held_back_and_whole(quotas):
    async with running(access=quotas(audio_seconds_per_minute=36)) as server:
        messages = [first(), *chunked(linear16(np.tile(two_utterances(), 2)))]
        call = server.speech.StreamingRecognize(iter(messages), metadata=bearer("lk_acme"))
        throttled = texts([one async for one in call])
        held_s = server.gateway.metrics.held_back.labels("audio")._value.get()
        assert held_s > 0.0
        free = server.speech.StreamingRecognize(iter(messages), metadata=bearer("lk_other"))
        assert throttled == texts([one async for one in free])


async def test_bulk_leaves_the_last_places_to_others(quotas):
    limits = AdmissionLimits(max_streams=4)
    async with running(access=quotas(priority="bulk"), admission=limits) as server:

        async def opened(key: str):
            call = server.speech.StreamingRecognize(metadata=bearer(key))
            await call.write(first())
            assert await call.read() is not grpc.aio.EOF
            return call

        held = [await opened("lk_acme") for _ in range(3)]
        with pytest.raises(grpc.RpcError) as caught:
            await opened("lk_acme")
        assert refusal(caught.value).reason == "ADMISSION_REFUSED"
        held.append(await opened("lk_other"))
        for call in held:
            call.cancel()


async def test_crumbs_are_held_back_and_change_no_word():
    limits = CallLimits(small_messages_per_second=1.0)
    async with running(limits=limits) as server:
        content = linear16(tone(0.025))
        crumbs = [*map(audio, (content[:2], content[2:4], content[4:6], content[6:8]))]
        crumbs.append(audio(content[8:]))
        whole = [first(), *chunked(linear16(tone(1.0)))]
        expected = texts(await streamed(server.speech, [*whole, audio(content)]))
        assert texts(await streamed(server.speech, [*whole, *crumbs])) == expected
        assert server.gateway.metrics.held_back.labels("small_messages")._value.get() > 0.0


async def test_a_flood_of_flushes_is_held_back():
    limits = CallLimits(small_messages_per_second=1.0)
    async with running(limits=limits) as server:
        flood = [control(pb.CONTROL_ACTION_FLUSH)] * 4
        answers = await streamed(server.speech, [first(), audio(linear16(tone(1.0))), *flood])
        assert answers[-1].HasField("summary")
        assert server.gateway.metrics.held_back.labels("small_messages")._value.get() > 0.0
