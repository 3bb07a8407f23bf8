"""Real Triton servers are killed, hung and cut off under live streams: no word is lost or doubled.

Each fault meets several paced streams in the middle of their audio, over a gateway with two
servers. What the streams say must equal what they say undisturbed, and each must have been replayed
at least once somewhere, else the fault was not met.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import signal
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass

import pytest

from legonn_server.backends.triton import TritonBackend
from tests.support.cable import cable
from tests.support.triton import Heard, Servers, gateway_over, listen, recordings

pytestmark = [pytest.mark.triton, pytest.mark.timeout(600)]

NUM_STREAMS = 4
ROUNDS = int(os.environ.get("ROUNDS", "2"))
SEED = int(os.environ.get("SEED", "0")) or random.randrange(1, 1 << 30)
HASTY = {"probe_interval_seconds": 0.5, "probe_timeout_seconds": 6.0, "silence_seconds": 6.0}
"""Quick to notice: a false alarm costs a replay, which these tests must survive as well."""


@dataclass
class Fault:
    """What happens to the streams.

    Attributes:
        strike: Does it, when each stream has heard something.
        heal: Undoes what would harm the next test.
    """

    strike: Callable[[], object]
    heal: Callable[[], object] = lambda: None


@pytest.fixture(scope="module")
def undisturbed() -> dict[int, Heard]:
    """What the streams say when nothing happens; filled by the first test."""
    return {}


@contextlib.asynccontextmanager
async def streams_over(servers: Servers, **options: object) -> AsyncIterator[str]:
    backend = TritonBackend(servers.options(**(HASTY | options)))
    async with gateway_over(backend) as address:
        await all_up(backend, servers)
        yield address


async def all_up(backend: TritonBackend, servers: Servers) -> None:
    """Wait until both servers are trusted: else nobody is where the fault strikes.

    A server whose model process stood still ends itself, some seconds later.
    """
    async with asyncio.timeout(240):
        while (await backend.health()).detail != "2 of 2 Triton servers":
            await asyncio.to_thread(servers.ensure)
            await asyncio.sleep(0.1)


async def heard_through(address: str, fault: Fault | None = None) -> list[Heard]:
    """All streams at once; the fault strikes when the slowest has been shown its first words."""
    shown = [asyncio.Event() for _ in range(NUM_STREAMS)]
    struck = asyncio.Event()

    async def strike() -> None:
        async with asyncio.timeout(240):  # a stream that is shown nothing would wait for ever
            for event in shown:
                await event.wait()
        if fault is not None:
            fault.strike()
        struck.set()

    async with asyncio.TaskGroup() as group:
        group.create_task(strike())
        listeners = [
            group.create_task(listen(address, samples, shown=event, go_on=struck))
            for samples, event in zip(recordings(NUM_STREAMS, seconds=4.0), shown, strict=True)
        ]
    return [listener.result() for listener in listeners]


async def expect(undisturbed: dict[int, Heard], found: list[Heard]) -> None:
    for index, heard in enumerate(found):
        assert heard.broken == ()
        assert heard.finals == undisturbed[index].finals, f"stream {index}"
        assert any(text for _, _, text in heard.finals), f"stream {index} heard nothing"


@pytest.fixture
async def reference(triton_servers: Servers, undisturbed: dict[int, Heard]):
    if not undisturbed:
        async with streams_over(triton_servers) as address:
            found = await heard_through(address)
        undisturbed.update(enumerate(found))
    return undisturbed


def faults(servers: Servers) -> dict[str, Fault]:
    """Each strikes the first server, which has half of the streams."""
    first = servers.all[0]

    def kill(pid: Callable[[], int], number: int = signal.SIGKILL) -> Callable[[], object]:
        return lambda: os.kill(pid(), number)

    def speech() -> int:
        return servers.stub(first, "speech-en")

    def decoder() -> int:
        return servers.stub(first, "decoder-en")

    def server() -> int:
        return first.pid

    return {
        "server killed": Fault(kill(server)),
        "encoder process killed": Fault(kill(speech)),
        "decoder process killed": Fault(kill(decoder)),
        "server hangs": Fault(kill(server, signal.SIGSTOP), kill(server, signal.SIGCONT)),
        "encoder process hangs": Fault(kill(speech, signal.SIGSTOP), kill(speech, signal.SIGCONT)),
    }


@pytest.mark.parametrize(
    "name",
    [
        "server hangs",
        "encoder process hangs",
        "server killed",
        "encoder process killed",
        "decoder process killed",
    ],
)
async def test_streams_go_on_elsewhere_without_a_word_lost(triton_servers, reference, name):
    fault = faults(triton_servers)[name]
    async with streams_over(triton_servers) as address:
        try:
            found = await heard_through(address, fault)
        finally:
            fault.heal()
    await expect(reference, found)
    assert sum(heard.replays for heard in found) > 0, "nobody met the fault"


async def test_faults_in_rounds_change_no_word(triton_servers, reference):
    """One gateway, and a fault drawn for every round; the streams of each say what they should."""
    dice = random.Random(SEED)
    options = triton_servers.options(**HASTY, wait_seconds=240.0)
    backend = TritonBackend(options)
    async with gateway_over(backend) as address:
        for number in range(ROUNDS):
            await all_up(backend, triton_servers)
            name = dice.choice(sorted(faults(triton_servers)))
            print(f"round {number} of seed {SEED}: {name}")
            fault = faults(triton_servers)[name]
            try:
                found = await heard_through(address, fault)
            finally:
                fault.heal()
            await expect(reference, found)
            assert sum(heard.replays for heard in found) > 0, "nobody met the fault"


async def test_a_wire_that_is_cut_is_left_and_taken_up_again(triton_servers, reference):
    """One server is cut off under load; it is mended, and the other is cut off under load."""
    one, two = triton_servers.all
    async with cable(one.address) as left, cable(two.address) as right:
        endpoints = f"{left.address},{right.address}"
        async with streams_over(triton_servers, endpoints=endpoints) as address:
            found = await heard_through(address, Fault(left.cut))
        left.mend()
        async with streams_over(triton_servers, endpoints=endpoints) as address:
            again = await heard_through(address, Fault(right.cut))
    for heard in (found, again):
        await expect(reference, heard)
        assert sum(one.replays for one in heard) > 0, "nobody met the fault"
    assert left.num_cut
    assert right.num_cut


async def test_servers_killed_in_turn_come_back_under_load(triton_servers, reference):
    """kill -9 of one, its restart, then kill -9 of the other: the gateway loads what they lost."""
    one, two = triton_servers.all
    async with streams_over(triton_servers, wait_seconds=240.0) as address:
        killed = asyncio.Event()

        async def in_turn() -> None:
            os.kill(one.pid, signal.SIGKILL)
            await asyncio.to_thread(lambda: (one.kill(), one.start()))
            killed.set()

        tasks: list[asyncio.Task[None]] = []
        fault = Fault(lambda: tasks.append(asyncio.create_task(in_turn())))
        found = await heard_through(address, fault)
        await asyncio.gather(*tasks)
        os.kill(two.pid, signal.SIGKILL)
        again = await heard_through(address)
    await expect(reference, found)
    await expect(reference, again)
