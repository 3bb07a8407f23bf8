"""Trials and shadows through a running gateway with the fake backend."""

from __future__ import annotations

import asyncio

import grpc
import numpy as np
import pytest

from legonn.v1 import module_card_pb2 as card_pb
from legonn.v1 import module_service_pb2 as pb
from legonn_core.errors import InternalFault
from legonn_core.interface import codec
from legonn_core.interface.marginals import Marginals
from legonn_core.runtime.messages import ModuleRef
from legonn_server.backends.fake import FakeBackend
from legonn_server.pools.routes_folder import RoutesFolder
from legonn_server.pools.shadowing import mean_divergence, word_edit_ratio
from legonn_server.routing import routes_file
from legonn_server.routing.swap import DrainRule, VersionState
from tests.support.gateway import Running, chunked, first, linear16, running, streamed, tone
from tests.support.versions import SPEECH_KEY, eventually, fake_version, state_reached

TWO = ModuleRef("speech-en", "2")
ABSENT = (fake_version("speech-en", "2"), fake_version("decoder-en", "2"))
AT_ONCE = DrainRule(retire_after_seconds=0.0)
SHORT = linear16(tone(0.6))


def route(**more: object) -> card_pb.Route:
    return card_pb.Route(
        modality=card_pb.MODALITY_SPEECH,
        source_language_code="en",
        target_language_code="en",
        encoder="speech-en/1",
        decoder="decoder-en/1",
        **more,
    )


async def try_out(server: Running, steps: list[int]) -> None:
    """Load the second version and put it on trial."""
    await server.gateway.services.modules.load(TWO)
    canary = card_pb.Canary(encoder=str(TWO), steps=steps, min_segments=8)
    canary.hold_duration.FromMilliseconds(1)
    await server.modules.SetRoute(pb.SetRouteRequest(route=route(canary=canary)))


async def talk(server: Running) -> str:
    """One short stream; the encoder that served it, or nothing if it failed."""
    try:
        answers = await streamed(server.speech, [first(), *chunked(SHORT)])
    except grpc.RpcError:
        return ""
    return next(one.final.encoder for one in answers if one.HasField("final"))


async def test_a_good_version_grows_into_service(tmp_path):
    async with running(absent=ABSENT, swap=AT_ONCE, routes=tmp_path) as server:
        await try_out(server, [50, 100])
        modules = server.gateway.services.modules
        used = set()
        async with asyncio.timeout(90):
            while modules.table.find(SPEECH_KEY).encoder != TWO:
                used |= set(await asyncio.gather(*(talk(server) for _ in range(6))))
        assert used >= {"speech-en/1", "speech-en/2"}, "both served while it was on trial"
        assert modules.table.find(SPEECH_KEY).canary is None
        await state_reached(modules, ModuleRef("speech-en", "1"), VersionState.RETIRED)
        assert routes_file.parse(RoutesFolder(tmp_path).read()).content_hash == (
            modules.table.content_hash
        )


async def test_a_version_that_fails_its_segments_is_given_up(monkeypatch):
    step = FakeBackend.step

    async def faulty(self, request):
        if request.slot.module == TWO:
            raise InternalFault("this version computes nonsense")
        return await step(self, request)

    monkeypatch.setattr(FakeBackend, "step", faulty)
    async with running(absent=ABSENT, swap=AT_ONCE) as server:
        await try_out(server, [50, 100])
        modules = server.gateway.services.modules
        async with asyncio.timeout(90):
            while modules.table.find(SPEECH_KEY).canary is not None:
                await asyncio.gather(*(talk(server) for _ in range(6)))
        await state_reached(modules, TWO, VersionState.FAILED)
        (failed,) = (one for one in modules.versions if one.ref == TWO)
        assert "more segments fail" in str(failed.error)
        assert [await talk(server) for _ in range(5)] == ["speech-en/1"] * 5
        await eventually(lambda: TWO not in {one.ref for one in modules.modules})


async def test_a_shadow_hears_and_nobody_hears_it():
    async with running(absent=ABSENT) as server:
        modules = server.gateway.services.modules
        for one in ABSENT:
            await modules.load(one.ref)
        shadow = card_pb.Shadow(encoder="speech-en/2", decoder="decoder-en/2")
        await server.modules.SetRoute(pb.SetRouteRequest(route=route(shadow=shadow)))
        await state_reached(modules, TWO, VersionState.SHADOW)
        assert {await talk(server) for _ in range(3)} == {"speech-en/1"}
        registry = server.gateway.metrics.registry
        compared = "legonn_shadow_segments_total"
        await eventually(lambda: registry.get_sample_value(compared, {"outcome": "compared"}) == 3)
        labels = {"module": "speech-en", "version": "2"}
        assert registry.get_sample_value("legonn_shadow_word_edit_ratio_sum", labels) == 0
        await eventually(lambda: not modules.pins.counts)
        assert server.backend.num_open_slots == 0


@pytest.mark.parametrize(
    ("served", "beside", "ratio"),
    [
        ("a b c", "a b c", 0.0),
        ("a b c d", "a x c", 0.5),
        ("", "a", 1.0),
        ("a", "", 1.0),
        ("", "", 0.0),
    ],
)
def test_word_edits_are_counted(served, beside, ratio):
    assert word_edit_ratio(served.split(), beside.split()) == ratio


def test_divergence_is_nought_for_equals_and_more_for_others():
    def block(peak: int) -> bytes:
        logits = np.zeros((5, 20), np.float32)
        logits[:, peak] = 3.0
        log_probs = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
        times = np.arange(5, dtype=np.int32)
        return codec.encode(
            Marginals.from_dense(log_probs, 8, times_ms=times, fingerprint="f" * 16)
        )

    assert mean_divergence((block(3),), (block(3),)) == pytest.approx(0.0, abs=1e-3)
    assert mean_divergence((block(3),), (block(4),)) > 0.5
    assert mean_divergence((), ()) is None
    assert mean_divergence((b"junk",), (block(3),)) is None
