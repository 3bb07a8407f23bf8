"""The world around a server breaks: full disks, clocks that jump, files that change under it."""

from __future__ import annotations

import errno
import itertools
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import grpc
import pytest

import legonn
from legonn.v1 import speech_service_pb2_grpc
from legonn_core.errors import BadModule, RoutesReadOnly
from legonn_core.runtime.messages import ModuleRef
from legonn_server.app import Gateway
from legonn_server.building import build_backend
from legonn_server.config.settings import ServerSettings, Settings
from legonn_server.pools.routes_folder import RoutesFolder
from tests.support.gateway import chunked, first, linear16, running, streamed, texts, two_utterances
from tests.support.process import READY, ROOT, free_port
from tests.support.tiny import SPEECH, speech, speech_encoder, write_tiny

SPOKEN = linear16(two_utterances())


def test_logs_that_cannot_be_written_stop_nobody():
    """Standard error is a full disk: what cannot be told is lost, what is served is not."""
    address = f"127.0.0.1:{free_port()}"
    path = os.pathsep.join(str(ROOT / one) for one in (".", "server", "protos/python"))
    command = [sys.executable, "-m", "legonn_server", "--backend", "fake", "--listen", address]
    with Path("/dev/full").open("w") as full:
        server = subprocess.Popen(
            [*command, "--http", "", "--metrics", ""],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": path, "LEGONN_LOG__LEVEL": "DEBUG"},
            stdout=subprocess.PIPE,
            stderr=full,
            text=True,
        )
    try:
        assert server.stdout is not None
        assert READY.search(server.stdout.readline())
        with legonn.Client(address) as client:
            assert client.translate("Guten Morgen", source="de") == "GUTEN MORGEN"
            pieces = [SPOKEN[at : at + 3_200] for at in range(0, len(SPOKEN), 3_200)]
            events = list(client.stream(iter(pieces)))
            assert isinstance(events[-1], legonn.Summary)
    finally:
        server.terminate()
        assert server.wait(60) == 0
        server.stdout.close()


def test_a_full_disk_leaves_the_routes_as_they_were(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    text = (
        'generation = 1\n[[routes]]\nmodality = "speech"\nsource = "en"\ntarget = "en"\n'
        'encoder = "speech-en/1"\ndecoder = "decoder-en/1"\n'
    )
    (tmp_path / "routes.toml").write_text(text)
    folder = RoutesFolder(tmp_path)

    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(RoutesReadOnly, match="No space left on device"):
        folder.write(text.replace("generation = 1", "generation = 2"))
    assert (tmp_path / "routes.toml").read_text() == text
    assert [path.name for path in tmp_path.iterdir()] == ["routes.toml"]


async def test_a_clock_that_jumps_changes_nothing(monkeypatch: pytest.MonkeyPatch):
    async with running() as server:
        requests = [first(interim_results=True), *chunked(SPOKEN)]
        expected = texts(await streamed(server.speech, requests))
        real, jumps = time.time, itertools.cycle([86_400.0, -86_400.0, 0.0])
        monkeypatch.setattr(time, "time", lambda: real() + next(jumps))
        # No deadline: the caller's own library would reckon it by that clock.
        call = server.speech.StreamingRecognize(iter(requests))
        assert texts([answer async for answer in call]) == expected


async def test_weights_that_rot_under_a_running_engine_harm_nobody(
    tiny_store: Path, tmp_path: Path
):
    """What serves is in memory; what is on disk is believed only if it is what its card says."""
    store = Path(shutil.copytree(tiny_store, tmp_path / "store"))
    server = ServerSettings(
        listen="127.0.0.1:0", http="", metrics="", modules=str(store), threads=1
    )
    settings = Settings(server=server)
    gateway = Gateway(settings, build_backend(settings, lambda is_up: None))
    await gateway.start()
    try:
        write_tiny(store, ModuleRef(SPEECH.name, "2"), speech_encoder(seed=7))
        requests = [first(), *chunked(linear16(speech(30_000, seed=4)))]
        async with grpc.aio.insecure_channel(gateway.address) as channel:
            stub = speech_service_pb2_grpc.SpeechServiceStub(channel)
            expected = texts(await streamed(stub, requests))
            for version in "12":
                path = store / SPEECH.name / version / "weights.safetensors"
                path.write_bytes(path.read_bytes()[:-9] + bytes(9))
            assert texts(await streamed(stub, requests)) == expected
            with pytest.raises(BadModule, match="sha256"):
                await gateway.services.modules.load(ModuleRef(SPEECH.name, "2"))
            assert texts(await streamed(stub, requests)) == expected
    finally:
        await gateway.stop(grace_seconds=0)
