"""Swaps through a running gateway with the fake backend: no stream notices more than a version."""

from __future__ import annotations

import asyncio

import grpc
import pytest

from legonn.v1 import module_card_pb2 as card_pb
from legonn.v1 import module_service_pb2 as pb
from legonn_core.errors import BadModule, LegonnError
from legonn_core.runtime.messages import ModuleRef
from legonn_server.backends.fake import FakeScript
from legonn_server.pools.routes_folder import RoutesFolder
from legonn_server.routing import routes_file
from legonn_server.routing.routes import Route, RouteTable
from legonn_server.routing.swap import DrainRule, VersionState
from tests.support.gateway import (
    Running,
    chunked,
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
from tests.support.versions import SPEECH_KEY, eventually, fake_version, state_reached

TWO = ModuleRef("speech-en", "2")
ABSENT = (
    fake_version("speech-en", "2"),
    fake_version("speech-en", "3"),
    fake_version("decoder-en", "2"),
    fake_version("speech-en", "9", fingerprint="another"),
)
AT_ONCE = DrainRule(retire_after_seconds=0.0)
GOOD = linear16(two_utterances())


def speech_route(encoder: str = "speech-en/1", decoder: str = "decoder-en/1", **more: object):
    return card_pb.Route(
        modality=card_pb.MODALITY_SPEECH,
        source_language_code="en",
        target_language_code="en",
        encoder=encoder,
        decoder=decoder,
        **more,
    )


async def load(server: Running, name: str, version: str) -> card_pb.Module:
    request = pb.LoadModuleRequest(name=name, version=version)
    request.wait_duration.FromSeconds(30)
    return (await server.modules.LoadModule(request)).module


async def set_route(server: Running, *parts: str, expected: int = 0, **more: object) -> int:
    request = pb.SetRouteRequest(route=speech_route(*parts, **more), expected_generation=expected)
    return (await server.modules.SetRoute(request)).table.generation


async def swap(server: Running, old: ModuleRef, new: ModuleRef) -> None:
    """Every route that names one version names the other."""
    table = (await server.modules.GetRoutes(pb.GetRoutesRequest())).table
    for route in table.routes:
        if str(old) in (route.encoder, route.decoder):
            for side in ("encoder", "decoder"):
                if getattr(route, side) == str(old):
                    setattr(route, side, str(new))
            await server.modules.SetRoute(pb.SetRouteRequest(route=route))


@pytest.mark.parametrize("name", ["speech-en", "decoder-en"])
async def test_open_segments_keep_their_versions_and_new_ones_take_the_new(name):
    async with running(absent=ABSENT, swap=AT_ONCE) as server:
        flushed = asyncio.Event()
        swapped = asyncio.Event()

        async def requests():
            yield first(interim_results=True)
            for message in chunked(linear16(tone(1.0))):
                yield message
            await swapped.wait()
            yield control(speech_pb.CONTROL_ACTION_FLUSH)
            await flushed.wait()
            for message in chunked(linear16(tone(1.0))):
                yield message

        finals = []

        async def listen():
            async for answer in server.speech.StreamingRecognize(requests(), timeout=60):
                if answer.HasField("final"):
                    finals.append(answer.final)
                    flushed.set()

        listening = asyncio.create_task(listen())
        await eventually(lambda: bool(server.gateway.services.modules.pins.counts))
        old, new = ModuleRef(name, "1"), ModuleRef(name, "2")
        await load(server, new.name, new.version)
        await swap(server, old, new)
        await asyncio.sleep(1.2)
        assert old in {one.ref for one in await server.backend.describe()}, "a segment uses it"
        swapped.set()
        await listening
        used = [{final.encoder, final.decoder} for final in finals]
        assert str(old) in used[0] and str(new) not in used[0]
        assert str(new) in used[1] and str(old) not in used[1]
        await state_reached(server.gateway.services.modules, old, VersionState.RETIRED)
        assert old not in {one.ref for one in await server.backend.describe()}
        assert not server.gateway.services.modules.pins.counts
        assert texts(await streamed(server.speech, [first(), *chunked(GOOD)]))


async def test_a_watcher_sees_everything_and_then_each_step():
    async with running(absent=ABSENT, swap=AT_ONCE) as server:
        watch = server.modules.WatchModules(pb.WatchModulesRequest())
        snapshot = await watch.read()
        assert snapshot.is_snapshot and snapshot.routes.generation == 1
        await load(server, "speech-en", "2")
        await set_route(server, "speech-en/2")
        seen, number = [], snapshot.generation
        while ("speech-en/1", card_pb.MODULE_STATE_RETIRED) not in seen:
            change = await asyncio.wait_for(watch.read(), 30)
            assert change.generation > number
            number = change.generation
            seen += [(event.module, event.state) for event in change.events]
        of_two = [
            card_pb.ModuleState.Name(state) for module, state in seen if module == "speech-en/2"
        ]
        assert [name.removeprefix("MODULE_STATE_") for name in of_two] == [
            *("LOADING", "CHECKING", "WARM", "SERVING"),
        ]
        watch.cancel()


async def test_a_version_that_fails_changes_nothing():
    def fault(method: str, count: int) -> LegonnError | None:
        return BadModule("its golden output differs") if method == "load" else None

    async with running(FakeScript(fault=fault), absent=ABSENT) as server:
        with pytest.raises(grpc.RpcError) as caught:
            await load(server, "speech-en", "2")
        assert refusal(caught.value).reason == "BAD_MODULE"
        with pytest.raises(grpc.RpcError) as caught:
            await set_route(server, "speech-en/2")
        assert refusal(caught.value).reason == "NO_MODULE"
        listed = (await server.modules.GetModule(pb.GetModuleRequest(name="speech-en"))).module
        states = {one.version: (one.state, one.error) for one in listed.versions}
        assert states["2"] == (card_pb.MODULE_STATE_FAILED, "its golden output differs")
        assert states["1"] == (card_pb.MODULE_STATE_SERVING, "")
        assert texts(await streamed(server.speech, [first(), *chunked(GOOD)]))


async def test_a_version_in_use_is_not_unloaded_unless_drained():
    async with running(absent=ABSENT) as server:
        request = pb.UnloadModuleRequest(name="speech-en", version="1")
        with pytest.raises(grpc.RpcError) as caught:
            await server.modules.UnloadModule(request)
        assert refusal(caught.value).reason == "PINNED"
        await load(server, "speech-en", "2")
        await set_route(server, "speech-en/2")
        modules = server.gateway.services.modules
        with modules.pins.held(ModuleRef("speech-en", "1")):
            with pytest.raises(grpc.RpcError) as caught:
                await server.modules.UnloadModule(request)
            assert refusal(caught.value).reason == "PINNED"
            request.drain = True
            answer = await server.modules.UnloadModule(request)
            states = {one.version: one.state for one in answer.module.versions}
            assert states["1"] == card_pb.MODULE_STATE_DRAINING
        await state_reached(modules, ModuleRef("speech-en", "1"), VersionState.RETIRED)


async def test_a_segment_outlives_the_version_that_its_drain_gave_up():
    rule = DrainRule(retire_after_seconds=0.0, drain_seconds=0.0)
    async with running(absent=ABSENT, swap=rule) as server:
        swapped = asyncio.Event()

        async def requests():
            yield first(interim_results=True)
            for message in chunked(linear16(tone(1.0))):
                yield message
            await swapped.wait()
            for message in chunked(linear16(tone(1.0))):
                yield message

        async def listen():
            return [
                answer async for answer in server.speech.StreamingRecognize(requests(), timeout=60)
            ]

        listening = asyncio.create_task(listen())
        modules = server.gateway.services.modules
        await eventually(lambda: bool(modules.pins.counts))
        for name in ("speech-en", "decoder-en"):
            await load(server, name, "2")
            await swap(server, ModuleRef(name, "1"), ModuleRef(name, "2"))
        for name in ("speech-en", "decoder-en"):
            await state_reached(modules, ModuleRef(name, "1"), VersionState.RETIRED)
        swapped.set()
        answers = await listening
        (final,) = (one.final for one in answers if one.HasField("final"))
        assert (final.encoder, final.decoder) == ("speech-en/2", "decoder-en/2")
        assert final.replays and final.alternatives[0].text
        partials = [one.partial for one in answers if one.HasField("partial")]
        assert final.alternatives[0].text.startswith(partials[-1].stable_text)


async def test_routes_with_an_old_generation_are_stale():
    async with running(absent=ABSENT) as server:
        await load(server, "speech-en", "2")
        await load(server, "speech-en", "3")
        answers = await asyncio.gather(
            *(set_route(server, f"speech-en/{version}", expected=1) for version in "23"),
            return_exceptions=True,
        )
        assert sorted(type(one).__name__ for one in answers) == ["AioRpcError", "int"]
        (refused,) = (one for one in answers if not isinstance(one, int))
        assert refusal(refused).reason == "STALE_ROUTES"


async def test_the_routes_file_is_followed(tmp_path):
    file = RoutesFolder(tmp_path)
    decoder = ModuleRef("decoder-en", "1")
    table = RouteTable(5, {SPEECH_KEY: Route(ModuleRef("speech-en", "1"), decoder)})
    file.write(routes_file.dump(table))
    async with running(absent=ABSENT, swap=AT_ONCE, routes=tmp_path) as server:
        modules = server.gateway.services.modules
        assert (modules.table.number, len(modules.table.routes)) == (5, 1)
        newer = RouteTable(6, {SPEECH_KEY: Route(TWO, decoder)})
        file.write(routes_file.dump(newer))
        await eventually(lambda: modules.table.number == 6)
        assert modules.find(SPEECH_KEY).encoder.ref == TWO, "it was loaded because it was named"
        for text, said in (
            ("generation = ", "routes file"),
            (routes_file.dump(RouteTable(6, table.routes)), "does not follow 6"),
            (
                routes_file.dump(newer).replace("= 6", "= 7").replace("en/2", "en/8"),
                "no speech-en/8",
            ),
            (routes_file.dump(newer).replace("= 6", "= 8").replace("en/2", "en/9"), "vocabulary"),
        ):
            file.path.write_text(text, encoding="utf-8")
            await eventually(lambda said=said: said in str(modules.routes_error))
            assert modules.table == newer
        shown = await server.modules.GetRoutes(pb.GetRoutesRequest())
        assert "vocabulary" in shown.table.error
        file.path.unlink()
        await load(server, "speech-en", "3")
        await set_route(server, "speech-en/3")
        assert routes_file.parse(file.read()).number == 7
        assert modules.table.number == 7 and modules.routes_error is None


async def test_a_file_that_may_not_be_written_is_left_alone(tmp_path):
    text = routes_file.dump(
        RouteTable(
            1, {SPEECH_KEY: Route(ModuleRef("speech-en", "1"), ModuleRef("decoder-en", "1"))}
        )
    )
    (tmp_path / "routes.toml").write_text(text)
    async with running(absent=ABSENT, routes=tmp_path, is_read_only=True) as server:
        with pytest.raises(grpc.RpcError) as caught:
            await set_route(server, "speech-en/1", model="mine")
        found = refusal(caught.value)
        assert (found.code, found.reason) == (
            grpc.StatusCode.FAILED_PRECONDITION, "ROUTES_READ_ONLY",
        )  # fmt: skip
    assert (tmp_path / "routes.toml").read_text() == text


async def test_a_change_asked_for_twice_is_done_once():
    async with running(absent=ABSENT) as server:
        request = pb.SetRouteRequest(route=speech_route(model="mine"), request_id="r-1")
        answers = [await server.modules.SetRoute(request) for _ in range(2)]
        assert [one.table.generation for one in answers] == [2, 2]


async def test_fifty_swaps_leave_nothing_behind():
    async with running(absent=ABSENT, swap=AT_ONCE) as server:
        modules = server.gateway.services.modules
        for number in range(50):
            new, old = ("2", "1") if number % 2 == 0 else ("1", "2")
            await load(server, "speech-en", new)
            await set_route(server, f"speech-en/{new}")
            modules.tick()
            await state_reached(modules, ModuleRef("speech-en", old), VersionState.RETIRED)
        assert len(await server.backend.describe()) == 4
        assert server.backend.num_open_slots == 0
        assert not modules.pins.counts
