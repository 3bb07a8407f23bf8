"""Streams that talk while modules change under them, and what swaps are asked through."""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import grpc

from legonn.v1 import hypothesis_pb2, speech_service_pb2_grpc
from legonn_core.interface.card import ModuleCard
from legonn_core.runtime.messages import ModuleRef
from legonn_server.app import Gateway
from legonn_server.routing.routes import Route
from legonn_server.routing.swap import VersionState
from tests.support.gateway import chunked, control, first, linear16, speech_pb
from tests.support.tiny import DECODER, SPEECH, speech
from tests.support.versions import SPEECH_KEY, eventually, state_reached

SPEECH_2, SPEECH_3 = ModuleRef(SPEECH.name, "2"), ModuleRef(SPEECH.name, "3")
DECODER_2 = ModuleRef(DECODER.name, "2")
UTTERANCE = linear16(speech(30_000, seed=4))
PATIENCE_S = 600.0
"""Longest wait for a version on a busy machine."""


@dataclass(frozen=True)
class Said:
    """What one utterance came to: the versions of its finals, and their texts."""

    versions: frozenset[tuple[str, str]]
    texts: tuple[str, ...]


@dataclass(frozen=True)
class Pace:
    """How a stream talks: so many bytes at a time, then so many seconds of nothing."""

    message_bytes: int = 6_400
    pause_s: float = 0.02


REAL_TIME = Pace(message_bytes=3_200, pause_s=0.1)


async def talk(
    address: str, count: int | None, stop: asyncio.Event | None = None, *, pace: Pace | None = None
) -> list[Said]:
    """Say the same utterance ``count`` times, or until ``stop``, each ended by a flush."""
    heard: asyncio.Queue[None] = asyncio.Queue()
    pace = pace or Pace()

    async def requests():
        yield first(interim_results=True)
        number = 0
        while (number < count) if count is not None else not stop.is_set():
            for message in chunked(UTTERANCE, pace.message_bytes):
                yield message
                await asyncio.sleep(pace.pause_s)
            yield control(speech_pb.CONTROL_ACTION_FLUSH)
            await heard.get()
            number += 1

    said, finals = [], []
    async with grpc.aio.insecure_channel(address) as channel:
        stub = speech_service_pb2_grpc.SpeechServiceStub(channel)
        async for answer in stub.StreamingRecognize(requests()):
            if not answer.HasField("final"):
                continue
            finals.append(answer.final)
            if answer.final.reason == hypothesis_pb2.FINAL_REASON_FLUSH:
                versions = frozenset((one.encoder, one.decoder) for one in finals)
                said.append(Said(versions, tuple(one.alternatives[0].text for one in finals)))
                finals = []
                heard.put_nowait(None)
    return said


@asynccontextmanager
async def talking(
    gateway: Gateway, *, streams: int = 4, pace: Pace | None = None
) -> AsyncIterator[list[Said]]:
    """Streams that talk for the length of a ``with`` block; gives what they said at its end."""
    stop, said = asyncio.Event(), []
    tasks = [
        asyncio.create_task(talk(gateway.address, None, stop, pace=pace)) for _ in range(streams)
    ]
    modules = gateway.services.modules
    await eventually(lambda: sum(modules.pins.counts.values()) >= streams, seconds=PATIENCE_S)
    try:
        yield said
    finally:
        stop.set()
    for task in tasks:
        said += await task


def route_to(gateway: Gateway, encoder: ModuleRef, decoder: ModuleRef) -> None:
    """Set all routes to a decoder, and those of speech to an encoder."""
    modules = gateway.services.modules
    for key, route in modules.table.routes.items():
        new = Route(encoder if key == SPEECH_KEY else route.encoder, decoder)
        modules.set_route(key, new, expected=0)


async def swapped(gateway: Gateway, encoder: ModuleRef, decoder: ModuleRef) -> None:
    """Swap, and wait until the old versions are gone."""
    modules = gateway.services.modules
    old = modules.table.find(SPEECH_KEY)
    for ref in (encoder, decoder):
        await modules.load(ref)
    route_to(gateway, encoder, decoder)
    for before, after in ((old.encoder, encoder), (old.decoder, decoder)):
        if before != after:
            await state_reached(modules, before, VersionState.RETIRED, seconds=PATIENCE_S)


def other_card(store: Path, version: str, **changes: object) -> ModuleRef:
    """A copy of the speech encoder with another card."""
    folder = store / SPEECH.name / version
    shutil.copytree(store / SPEECH.name / "1", folder, dirs_exist_ok=True)
    card = ModuleCard.parse((folder / "card.toml").read_text("utf-8"))
    card = replace(card, version=version, **changes)
    (folder / "card.toml").write_text(card.to_toml(), "utf-8")
    return ModuleRef(SPEECH.name, version)


@dataclass(frozen=True)
class Resources:
    """What a process holds: resident bytes, open files and threads."""

    memory: int
    files: int
    threads: int

    @classmethod
    def of(cls, pid: int) -> Resources:
        """Of a running process."""
        folder = Path(f"/proc/{pid}")
        resident = int((folder / "statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
        threads = len(list((folder / "task").iterdir()))
        return cls(resident, len(list((folder / "fd").iterdir())), threads)

    def grew_little(self, before: Resources, *, threads: int = 8) -> bool:
        """Whether nothing of it grew by more than a few channels and an allocator's rounding.

        Args:
            before: What it held then.
            threads: How many more there may be.
        """
        return (
            self.memory - before.memory < 64 << 20
            and self.files - before.files <= 8
            and self.threads - before.threads <= threads
        )
