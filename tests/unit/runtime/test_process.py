"""The engine as a real child process, asked over its socket as a gateway would."""

from __future__ import annotations

import os
import pickle
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from legonn_core.errors import BadModule, UnknownModule
from legonn_core.interface.reference import ModuleRef
from legonn_core.runtime.host import EngineHost
from legonn_core.runtime.messages import (
    DecodeJob,
    DecodeResult,
    EncodeResult,
    EncodeStep,
    EncodeText,
    ModuleDescription,
)
from legonn_core.runtime.process import HEADER, Channel, serve
from tests.support.tiny import DECODER, GERMAN, SPEECH, SPEECH_SHAPE, speech

pytestmark = pytest.mark.timeout(60)

ROOT = Path(__file__).parents[3]
SIZE = SPEECH_SHAPE.chunk_samples


@contextmanager
def child(store: Path) -> Iterator[tuple[Channel, socket.socket, subprocess.Popen[bytes]]]:
    ours, theirs = socket.socketpair()
    ours.settimeout(60)
    command = ["-m", "legonn_core.runtime.process", "--modules", str(store), "--threads", "1"]
    with theirs:
        process = subprocess.Popen(
            [sys.executable, *command, "--slots", "2", "--fd", str(theirs.fileno())],
            pass_fds=[theirs.fileno()],
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stderr=subprocess.PIPE,
        )
    try:
        yield Channel(ours), ours, process
    finally:
        ours.close()
        process.communicate(timeout=30)


def started(channel: Channel) -> object:
    """What the child says when it is ready, or why it is not; the lines before are progress."""
    while True:
        frame = channel.receive()
        assert frame is not None
        if frame[0] == 0:
            return frame[1]
        assert frame[0] == -1
        assert "ready in" in str(frame[1]) or "is refused" in str(frame[1])


def ask(channel: Channel, payload: object) -> object:
    channel.send(5, payload)
    frame = channel.receive()
    assert frame is not None
    assert frame[0] == 5
    return frame[1]


def test_a_child_hears_translates_and_leaves_with_its_parent(tiny_store):
    samples = speech(3 * SIZE, seed=6)
    with child(tiny_store) as (channel, ours, process):
        ready = started(channel)
        assert isinstance(ready, tuple)
        assert all(isinstance(one, ModuleDescription) for one in ready)
        assert {one.ref for one in ready} == {SPEECH, GERMAN, DECODER}
        slot = ask(channel, ("open", SPEECH))
        blocks = []
        for seq in range(3):
            chunk = samples[seq * SIZE : (seq + 1) * SIZE]
            heard = ask(channel, EncodeStep(slot, seq, chunk, is_last=seq == 2))
            assert isinstance(heard, EncodeResult)
            blocks.append(heard.marginals)
        final = ask(channel, DecodeJob(DECODER, tuple(blocks), row_ms=80.0))
        assert isinstance(final, DecodeResult)
        encoded = ask(channel, EncodeText(GERMAN, "Die Katze wartet."))
        assert isinstance(encoded, EncodeResult)
        translated = ask(channel, DecodeJob(DECODER, (encoded.marginals,)))
        assert isinstance(translated, DecodeResult)
        error = ask(channel, ("open", ModuleRef("nobody", "1")))
        assert isinstance(error, UnknownModule)
        assert error.message == "nobody/1 is not loaded"

        host = EngineHost(tiny_store, slots=1)
        for ref in host.newest():
            host.load(ref)
        for job, answer in (
            (DecodeJob(DECODER, tuple(blocks), row_ms=80.0), final),
            (DecodeJob(DECODER, (encoded.marginals,)), translated),
        ):
            host.accept(1, job)
            found = []
            while host.has_work:
                found += host.turn()
            assert found[0][1].hypotheses[0].text == answer.hypotheses[0].text

        ours.close()
        assert process.wait(timeout=30) == 0


def test_a_child_says_which_module_it_cannot_load(tiny_store, tmp_path):
    store = Path(shutil.copytree(tiny_store, tmp_path / "store"))
    (store / "speech-en/1/weights.safetensors").write_bytes(b"")
    with child(store) as (channel, _, process):
        error = started(channel)
        assert isinstance(error, BadModule)
        assert "speech-en/1: weights.safetensors has 0 bytes" in error.message
        assert channel.receive() is None
        assert process.wait(timeout=30) == 0


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    ours, theirs = socket.socketpair()
    ours.settimeout(10)
    with ours, theirs:
        yield ours, theirs


def test_frames_come_out_as_they_went_in(pair):
    ours, theirs = Channel(pair[0]), Channel(pair[1])
    payloads = [None, ("open", SPEECH), EncodeText(GERMAN, "é"), b"x" * 3_000_000]
    sender = threading.Thread(target=lambda: [ours.send(i, p) for i, p in enumerate(payloads)])
    sender.start()
    assert [theirs.receive() for _ in payloads] == list(enumerate(payloads))
    sender.join()
    ours.send(3, EncodeStep(None, 0, np.arange(5, dtype=np.float32)))  # type: ignore[arg-type]  # a stranger's slot
    frame = theirs.receive()
    assert frame is not None
    assert frame[1].samples.tolist() == [0, 1, 2, 3, 4]  # type: ignore[attr-defined]  # as sent


@pytest.mark.parametrize("keep", [0, 2, 4, 9])
def test_a_frame_cut_short_is_the_end(pair, keep):
    body = pickle.dumps((1, "hello"))
    pair[0].sendall((HEADER.pack(len(body)) + body)[:keep])
    pair[0].close()
    assert Channel(pair[1]).receive() is None


@pytest.mark.parametrize("ending", ["shutdown", "gone"])
def test_serving_ends_when_told_or_left_alone(pair, tiny_store, ending):
    host = EngineHost(tiny_store, slots=1)
    if ending == "shutdown":
        Channel(pair[0]).send(2, ("shutdown",))
    else:
        pair[0].close()
    serve(Channel(pair[1]), host)
    assert not host.has_work
