"""The Python clients lose their server in mid-speech and go on at another one: no word is lost."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import numpy as np
import pytest

import legonn
from legonn_loadtest.promises import PromiseCheck
from tests.support.gateway import Running, linear16, running, silence, tone

SPEECH = np.concatenate(
    [part for level in (0.2, 0.5, 0.9, 0.4) for part in (tone(1.1, level=level), silence(1.0))]
)
CONTENT = linear16(SPEECH)
CHUNKS = [CONTENT[start : start + 3_200] for start in range(0, len(CONTENT), 3_200)]
QUICK = legonn.RetryPolicy(base_s=0.01, cap_s=0.05)


def told(events: list[legonn.Event]) -> list[tuple[object, ...]]:
    """What must not depend on losses."""
    finals = [event for event in events if isinstance(event, legonn.Final)]
    return [(one.segment_index, one.start_sample, one.end_sample, one.text) for one in finals]


def assert_promises(events: list[legonn.Event]) -> None:
    check = PromiseCheck()
    for event in events:
        check.see(event)
    assert check.end(len(SPEECH)) == ()


async def slowly(chunks: list[bytes], pause_s: float = 0.002) -> AsyncIterator[bytes]:
    for chunk in chunks:
        await asyncio.sleep(pause_s)
        yield chunk


async def two_servers(stack: AsyncExitStack) -> tuple[list[Running], str]:
    servers = [await stack.enter_async_context(running()) for _ in range(2)]
    return servers, ",".join(server.gateway.address for server in servers)


async def kill(server: Running) -> None:
    """End its connections without a word, as a machine does that is gone."""
    assert server.gateway._server is not None
    await server.gateway._server.stop(None)


@pytest.mark.parametrize("seed", range(8))
async def test_asyncio_goes_on_at_the_next_server(seed: int):
    dice = random.Random(seed)
    async with AsyncExitStack() as stack:
        servers, addresses = await two_servers(stack)
        async with legonn.AsyncClient(servers[1].gateway.address) as client:
            whole = [event async for event in client.stream(slowly(CHUNKS))]
        events: list[legonn.Event] = []
        lost_after = dice.randint(1, len(whole) - 2)
        client = await stack.enter_async_context(legonn.AsyncClient(addresses, retry=QUICK))
        async for event in client.stream(slowly(CHUNKS)):
            events.append(event)
            if len(events) == lost_after:
                await kill(servers[0])
    assert told(events) == told(whole)
    assert_promises(events)
    kinds = [event.kind for event in events if isinstance(event, legonn.Notice)]
    assert kinds in (["RECONNECTING", "RECOVERED"], [])


async def test_blocking_goes_on_at_the_next_server():
    loop = asyncio.get_running_loop()
    async with AsyncExitStack() as stack:
        servers, addresses = await two_servers(stack)

        def talk() -> list[legonn.Event]:
            events = []
            with legonn.Client(addresses, retry=QUICK) as client:
                for event in client.stream(legonn.paced(iter(CHUNKS), 16_000, speed=20)):
                    events.append(event)
                    if isinstance(event, legonn.Final) and event.segment_index == 1:
                        stop = kill(servers[0])
                        asyncio.run_coroutine_threadsafe(stop, loop).result(20)
            return events

        events = await asyncio.to_thread(talk)
        async with legonn.AsyncClient(servers[1].gateway.address) as client:
            whole = [event async for event in client.stream(slowly(CHUNKS))]
    assert told(events) == told(whole)
    assert_promises(events)
    assert any(isinstance(event, legonn.Notice) and event.kind == "RECOVERED" for event in events)


async def test_a_drained_server_hands_the_session_on():
    async with AsyncExitStack() as stack:
        servers, addresses = await two_servers(stack)
        client = await stack.enter_async_context(legonn.AsyncClient(addresses, retry=QUICK))
        events: list[legonn.Event] = []
        draining = None
        async for event in client.stream(slowly(CHUNKS)):
            events.append(event)
            if draining is None and getattr(event, "segment_index", 0) == 1:
                draining = asyncio.create_task(servers[0].gateway.stop(grace_seconds=10))
        assert draining is not None
        await draining
    assert_promises(events)
    # The drained server closed its segment where it was: a boundary more, and nothing unheard.
    assert len(told(events)) >= 4
    ends = [end for _, _, end, _ in told(events)]
    assert ends == sorted(ends)


async def test_no_server_left_is_said():
    async with AsyncExitStack() as stack:
        (server, other), addresses = await two_servers(stack)
        policy = legonn.RetryPolicy(resume_for_s=0.3, base_s=0.01)
        client = await stack.enter_async_context(legonn.AsyncClient(addresses, retry=policy))
        with pytest.raises(legonn.Unavailable):
            async for event in client.stream(slowly(CHUNKS)):
                if isinstance(event, legonn.Final):
                    await kill(server)
                    await kill(other)
