"""Planted words: whatever is said to a server, nothing of it is in logs, metrics, errors or files.

Each word goes in by another door, at the lowest log level, through calls that go well, calls that
are refused, and engines that fail while they work on it. Standard output and error hold the lines
of the child processes too.
"""

from __future__ import annotations

import asyncio
import base64
import json
import logging
from collections.abc import AsyncIterator
from pathlib import Path

import grpc
import httpx2
import numpy as np
import pytest
from prometheus_client import generate_latest

from legonn.v1 import speech_service_pb2 as speech_pb
from legonn.v1 import translation_service_pb2 as text_pb
from legonn_core.errors import BackendDown, LegonnError
from legonn_core.runtime.faults import described
from legonn_core.runtime.wire import Letter, read_answer
from legonn_server.backends.fake import FakeScript
from legonn_server.telemetry.logs import LIBRARIES, LOGGER, set_up
from tests.support.gateway import Running, audio, chunked, first, linear16, refusal, running, tone
from tests.support.web import CONFIG, captions, heard, wav

WORDS = {
    door: f"kanarie{number}{door}"
    for number, door in enumerate(
        ("text", "stream", "phrase", "glossary", "label", "promise", "prompt", "json", "file",
         "form", "fault", "header")
    )
}  # fmt: skip
SAMPLES = (tone(0.7, level=0.37) * 0.9137).astype(np.float32)
"""A tone that is in no other test, so that its bytes are a marker."""


class Foreign(Exception):
    """What a library raises that repeats what it was given."""


@pytest.fixture
async def server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> AsyncIterator[Running]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(logging.getLogger("websockets.client"), "disabled", True)  # the caller's
    libraries = [logging.getLogger(name) for name in LIBRARIES]
    before = [(one, one.handlers, one.level, one.propagate) for one in libraries]
    handlers, level, propagate = LOGGER.handlers, LOGGER.level, LOGGER.propagate
    root, root_level = list(logging.root.handlers), logging.root.level
    faults = iter([BackendDown("gone")])

    def fault(method: str, count: int) -> LegonnError | None:
        if method == "encode_text" and count % 3 == 2:
            raise Foreign(f"cannot read {WORDS['fault']}")
        return next(faults, None) if method == "step" and count == 2 else None

    try:
        async with running(FakeScript(fault=fault), http="127.0.0.1:0") as found:
            yield found
    finally:
        LOGGER.handlers, LOGGER.propagate = handlers, propagate
        LOGGER.setLevel(level)
        logging.root.handlers = root
        logging.root.setLevel(root_level)
        for one, handlers, level, propagate in before:
            one.handlers, one.propagate = handlers, propagate
            one.setLevel(level)


def tell_everything() -> None:
    """The server's own set-up, at the lowest level; called where standard error is looked at."""
    set_up(as_json=True, level="DEBUG")
    logging.basicConfig(level=logging.DEBUG, force=True)


async def translate(server: Running, text: str) -> str:
    config = text_pb.TranslationConfig(source_language_code="de")
    config.phrases.add(text=WORDS["phrase"], boost=1.0)
    config.glossary.add(source=WORDS["glossary"], target=WORDS["glossary"])
    request = text_pb.TranslateRequest(config=config, texts=[text])
    try:
        await server.translation.Translate(request, metadata=(("x-note", WORDS["header"]),))
    except grpc.aio.AioRpcError as error:
        return refusal(error).message
    return ""


async def write(server: Running) -> None:
    requests = [
        text_pb.StreamingTranslateRequest(
            config=text_pb.TranslationConfig(source_language_code="de", interim_results=True)
        ),
        text_pb.StreamingTranslateRequest(input=text_pb.TextInput(text=f"{WORDS['stream']} ist. ")),
        text_pb.StreamingTranslateRequest(input=text_pb.TextInput(text=f"{WORDS['stream']} war. ")),
    ]
    try:
        async for _ in server.translation.StreamingTranslate(iter(requests)):
            pass
    except grpc.aio.AioRpcError:
        return


async def speak(server: Running, *, is_odd: bool = False) -> str:
    config = first(interim_results=True)
    config.config.labels["note"] = WORDS["label"]
    config.config.phrases.add(text=WORDS["phrase"], boost=1.0)
    config.config.resume.session_id = "s-0"
    config.config.resume.committed_text = WORDS["promise"]
    requests = [config, *chunked(linear16(SAMPLES))]
    if is_odd:
        requests += [
            audio(linear16(SAMPLES), sample_offset=77),
            speech_pb.StreamingRecognizeRequest(),
        ]
    try:
        async for _ in server.speech.StreamingRecognize(iter(requests)):
            pass
    except grpc.aio.AioRpcError as error:
        return refusal(error).message
    return ""


async def browse(server: Running) -> list[str]:
    said: list[str] = []
    page = server.gateway.page
    async with captions(page) as socket:
        await socket.send(json.dumps({"config": {**CONFIG, "phrases": WORDS["json"]}}))
        said += [str(message) for message in await heard(socket)]
    async with captions(page) as socket:
        await socket.send("{" + WORDS["json"])
        said += [str(message) for message in await heard(socket)]
    async with httpx2.AsyncClient(base_url=page) as http:
        for content in (wav(SAMPLES), WORDS["file"].encode(), wav(SAMPLES)[:-200]):
            answer = await http.post(
                "v1/audio/transcriptions",
                files={"file": (f"{WORDS['file']}.wav", content)},
                data={"model": "whisper-1", "prompt": WORDS["prompt"]},
            )
            if answer.status_code != 200:
                said.append(answer.text)
        answer = await http.post(
            "v1/audio/transcriptions", data={"model": "whisper-1", "prompt": WORDS["form"]}
        )
        said.append(answer.text)
    return said


async def test_nothing_that_is_said_is_written_anywhere(
    server: Running, capfd: pytest.CaptureFixture[str], tmp_path: Path
):
    tell_everything()
    errors = [await translate(server, f"{WORDS['text']} ist hier.") for _ in range(4)]
    await write(server)
    errors += [await speak(server), await speak(server, is_odd=True)]
    errors += await browse(server)
    errors.append(await translate(server, WORDS["text"] + "\x00"))
    assert any("the server made a mistake" in one for one in errors), "no engine failed: no test"
    assert sum(bool(one) for one in errors) >= 5
    lines = capfd.readouterr()
    registry = server.gateway.metrics.registry
    files = contents(tmp_path)
    written = {
        "standard error": lines.err,
        "standard output": lines.out,
        "metrics": generate_latest(registry).decode(),
        "errors": "\n".join(errors),
        "files": repr(files),
    }
    assert '"event": "fault"' in lines.err, "the fault was not logged: no test"
    markers = [*WORDS.values(), *audio_markers(linear16(SAMPLES))]
    found = [
        f"{marker} in {place}"
        for place, content in written.items()
        for marker in markers
        if marker.lower() in content.lower()
    ]
    assert not found


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def audio_markers(content: bytes) -> list[str]:
    """A piece of the audio in the forms in which it could be written."""
    piece = content[1_000:1_018]
    return [piece.hex(), base64.b64encode(piece).decode(), repr(piece)[2:-1]]


async def test_a_fault_is_told_by_its_place(caplog: pytest.LogCaptureFixture):
    try:
        try:
            raise KeyError(WORDS["fault"])
        except KeyError as cause:
            raise ExceptionGroup(WORDS["fault"], [BackendDown("gone"), Foreign("x")]) from cause
    except ExceptionGroup as error:
        text = described(error)
    assert WORDS["fault"] not in text
    assert "builtins.KeyError" in text
    assert "BackendDown: gone" in text
    assert "test_privacy.py" in text


def test_an_engine_s_answer_that_does_not_fit_is_not_repeated():
    table = {
        "life": "x",
        "decoded": {"hypotheses": [{"tokens": [], "text": 3, "score": WORDS["text"]}]},
    }
    with pytest.raises(LegonnError) as caught:
        read_answer(Letter(json.dumps(table).encode()))
    assert WORDS["text"] not in caught.value.message
    assert "decoded.hypotheses[0]" in caught.value.message


async def test_an_exception_nobody_awaited_is_not_repeated(
    server: Running, capfd: pytest.CaptureFixture[str]
):
    """asyncio's own handler writes the message of what was raised in a callback."""

    def fail() -> None:
        raise Foreign(WORDS["fault"])

    tell_everything()
    asyncio.get_running_loop().call_soon(fail)
    await asyncio.sleep(0.01)
    lines = capfd.readouterr().err
    assert "test_privacy.Foreign" in lines
    assert WORDS["fault"] not in lines
