"""The same audio and sentences through a child process and through Triton: the same words.

On Triton the streams run all at once over two servers, in the child one after another: so this is
also the proof that batches and neighbours change nothing.
"""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

import pytest

import legonn
from legonn_server.backends.embedded import EmbeddedBackend, EmbeddedOptions
from legonn_server.backends.triton import TritonBackend
from tests.support.triton import Heard, Servers, gateway_over, listen, recordings

pytestmark = [pytest.mark.triton, pytest.mark.timeout(600)]

NUM_STREAMS = 16
SENTENCES = ("Die Katze sitzt auf der Matte.", "Ein Hund rennt.", "Es regnet in der Stadt.")
ROOT = Path(__file__).parents[2]


def in_a_child(store: Path) -> EmbeddedBackend:
    program = ("-m", "legonn_core.runtime.process", f"--modules={store}", "--threads=1")
    path = os.pathsep.join(str(ROOT / part) for part in (".", "server", "protos/python"))
    return EmbeddedBackend(
        EmbeddedOptions(
            command=(sys.executable, *program, "--slots=4"),
            environment={**os.environ, "PYTHONPATH": path},
        )
    )


async def translated(address: str) -> list[str]:
    async with legonn.AsyncClient(address) as client:
        return [await client.translate(text, source="de") for text in SENTENCES]


async def test_sixteen_streams_on_triton_say_what_each_says_alone_in_a_child(
    tiny_store: Path, triton_servers: Servers
):
    audio = recordings(NUM_STREAMS, seconds=3.0)
    async with gateway_over(in_a_child(tiny_store)) as address:
        alone = [await listen(address, samples) for samples in audio]
        texts = await translated(address)
    async with gateway_over(TritonBackend(triton_servers.options())) as address:
        together = await asyncio.gather(*(listen(address, samples) for samples in audio))
        assert await translated(address) == texts
    assert [heard.finals for heard in together] == [heard.finals for heard in alone]
    assert {heard.broken for heard in [*alone, *together]} == {()}
    assert len({text for heard in alone for _, _, text in heard.finals}) >= NUM_STREAMS
    assert all(texts)
    assert all(isinstance(heard, Heard) and heard.replays == 0 for heard in together)
