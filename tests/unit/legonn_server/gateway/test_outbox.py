"""What waits for a slow caller."""

from __future__ import annotations

import asyncio

import pytest

from legonn_core.errors import QueueFull
from legonn_server.gateway.outbox import Outbox
from legonn_server.session.commands import EmitPartial, EmitReplaying


def partial(revision: int) -> EmitPartial:
    return EmitPartial(0, revision, "", "", 0)


async def test_unsent_partials_give_way():
    outbox = Outbox()
    for revision in (1, 2, 3):
        outbox.put(partial(revision))
    outbox.put(EmitReplaying(0))
    outbox.put(partial(4))
    assert [(await outbox.get()) for _ in range(3)] == [partial(3), EmitReplaying(0), partial(4)]


async def test_it_waits_for_the_next():
    outbox = Outbox()
    waiting = asyncio.create_task(outbox.get())
    await asyncio.sleep(0)
    outbox.put(partial(1))
    assert await waiting == partial(1)


async def test_a_caller_that_never_reads_is_refused():
    outbox = Outbox(max_waiting=2)
    outbox.put(EmitReplaying(0))
    outbox.put(EmitReplaying(0))
    with pytest.raises(QueueFull):
        outbox.put(EmitReplaying(0))
