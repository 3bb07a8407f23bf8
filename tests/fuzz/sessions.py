"""Bytes as the whole life of a stream: messages legal and not, cancels, half-closes, engine faults.

A program of one byte an instruction is played against a gateway with the fake backend, everything
but the transport: configs, admission, session machine, pools. Whatever it says, the stream ends in
one way, with our own kind of error or with its summary, no slot stays taken, nobody stays counted
as a caller, and the guard saw no promise broken.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from functools import cache
from itertools import cycle

from legonn.v1 import speech_service_pb2 as pb
from legonn.v1 import translation_service_pb2 as text_pb
from legonn_core.errors import BackendDown, LegonnError, NonFiniteMarginals, StateLost
from legonn_server.app import Gateway
from legonn_server.backends.fake import FakeBackend, FakeScript
from legonn_server.config.settings import ServerSettings, Settings
from legonn_server.gateway.recognition import Recognition
from legonn_server.gateway.translation import TranslationService
from tests.support.gateway import audio, broken_promises, config, control, linear16, silence, tone

LONGEST_S = 20.0
"""No stream of a few messages takes so long; one that does hangs."""

_TONES = tuple(
    linear16(tone(seconds, level=level)) for seconds in (0.1, 0.7) for level in (0.2, 0.9)
)
_PAUSES = tuple(linear16(silence(seconds)) for seconds in (0.05, 0.9))
_WORDS = (
    "Wo ",
    "ist der",
    " Bahnhof? ",
    "Heute",
    " regnet es. ",
    "\n",
    "…",
    "a" * 300,
    "\x00",
    "🚆",
)
_FAULTS = (StateLost("lost"), BackendDown("gone"), BackendDown("died", was_running=True),
           NonFiniteMarginals("NaN"), None, None, None, None)  # fmt: skip


class _Playground:
    """A gateway without ports, on a loop of its own; one for all runs of a process."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self.faults: Iterator[int] = cycle([7])
        self.is_serving = False
        self.backend = FakeBackend(FakeScript(fault=self._fault))
        server = ServerSettings(listen="127.0.0.1:0", http="", metrics="", backend="fake")
        self.gateway = Gateway(Settings(server=server), self.backend)
        self.loop.run_until_complete(self.gateway.start())
        self.is_serving = True
        self.recognition = Recognition(self.gateway.services)
        self.translation = TranslationService(self.gateway.services)

    def _fault(self, method: str, count: int) -> LegonnError | None:
        del count
        if not self.is_serving or method in ("describe", "load", "unload"):
            return None
        return _FAULTS[next(self.faults) & 7]

    def assert_clean(self) -> None:
        """Nothing is left of the streams that were."""
        services = self.gateway.services
        assert self.backend.num_open_slots == 0
        assert not services.runners
        assert not services.text_runners
        assert not services.workers.pins.counts
        assert services.speech_admission.num_open == services.text_admission.num_open == 0
        assert broken_promises(self.gateway.metrics) == {}


@cache
def playground() -> _Playground:
    """The gateway of this process."""
    return _Playground()


def _program(data: bytes) -> bytes:
    """The instructions; a legal config is the first of them, as a rule."""
    return (b"" if data[:1] == b"\xff" else b"\x01") + data[8:72]


def speech_session(data: bytes) -> None:
    """One stream of speech, as the bytes say."""
    ground = playground()
    faults, program = data[:8], _program(data)
    ground.faults = cycle(faults or b"\x07")
    check = _Heard()
    ground.loop.run_until_complete(_speech(ground, program, check))
    ground.assert_clean()
    check.assert_fine()


def text_session(data: bytes) -> None:
    """One stream of text, as the bytes say."""
    ground = playground()
    faults, program = data[:8], _program(data)
    ground.faults = cycle(faults or b"\x07")
    ground.loop.run_until_complete(_text(ground, program))
    ground.assert_clean()


class _Heard:
    """What the caller saw, kept to the promises as far as these messages say."""

    def __init__(self) -> None:
        self.responses: list[pb.StreamingRecognizeResponse] = []
        self.is_complete = False
        self.num_samples = 0

    def assert_fine(self) -> None:
        kinds = [one.WhichOneof("event") for one in self.responses]
        assert [one.sequence for one in self.responses] == list(range(len(kinds)))
        assert kinds.count("started") <= 1
        assert ("summary" in kinds) == self.is_complete
        if not self.is_complete:
            return
        summary = self.responses[-1].summary
        assert summary.samples_received == self.num_samples
        assert summary.samples_in_finals + summary.samples_non_speech == self.num_samples
        assert summary.num_segments == kinds.count("final")


class _Gone(Exception):
    """The caller left."""


async def _speech(ground: _Playground, program: bytes, heard: _Heard) -> None:
    async def requests() -> AsyncIterator[pb.StreamingRecognizeRequest]:
        for instruction in program:
            for request in _speech_messages(instruction):
                if request is None:
                    raise _Gone
                if request.HasField("audio"):
                    heard.num_samples += len(request.audio.content) // 2
                yield request
            if instruction & 0x80:
                await asyncio.sleep(0)

    async def write(response: pb.StreamingRecognizeResponse) -> None:
        heard.responses.append(response)
        await asyncio.sleep(0)

    await _ended(ground.recognition.stream(requests(), write), heard)


def _speech_messages(instruction: int) -> Iterator[pb.StreamingRecognizeRequest | None]:
    """A legal life is likely; each illegal turn is one instruction."""
    what, how = instruction >> 3 & 15, instruction & 7
    if what < 3:
        yield pb.StreamingRecognizeRequest(
            config=config(interim_results=bool(how & 1), max_alternatives=how)
        )
    elif what < 9:
        yield audio((_TONES + _PAUSES)[how % 6])
    elif what < 11:
        yield control(how % 5)
    elif what == 11:
        yield audio(b"\x00" * how)
    elif what == 12:
        yield audio(_TONES[0], sample_offset=how * 800)
    elif what == 13:
        yield pb.StreamingRecognizeRequest()
    elif what == 14:
        odd = {"sample_rate_hertz": (0, 8_000, 44_100, 1 << 30)[how & 3], "channel_count": how}
        yield pb.StreamingRecognizeRequest(config=config(**odd))
    else:
        yield None if how == 7 else control(1)


async def _text(ground: _Playground, program: bytes) -> None:
    responses: list[text_pb.StreamingTranslateResponse] = []

    async def requests() -> AsyncIterator[text_pb.StreamingTranslateRequest]:
        for instruction in program:
            request = _text_message(instruction)
            if request is None:
                raise _Gone
            yield request
            if instruction & 0x80:
                await asyncio.sleep(0)

    async def write(response: text_pb.StreamingTranslateResponse) -> None:
        responses.append(response)

    heard = _Heard()
    await _ended(ground.translation.live(requests(), write), heard)
    kinds = [one.WhichOneof("event") for one in responses]
    assert ("summary" in kinds) == heard.is_complete
    assert [one.sequence for one in responses] == list(range(len(kinds)))


def _text_message(instruction: int) -> text_pb.StreamingTranslateRequest | None:
    what, how = instruction >> 4 & 7, instruction & 15
    if what == 0:
        asked = text_pb.TranslationConfig(source_language_code="de", interim_results=bool(how & 1))
        asked.streaming.policy = how >> 1
        asked.streaming.append_only = how > 9
        return text_pb.StreamingTranslateRequest(config=asked)
    if what < 7:
        piece = text_pb.TextInput(text=_WORDS[how % len(_WORDS)], end_of_segment=what == 6)
        return text_pb.StreamingTranslateRequest(input=piece)
    return None if how == 15 else text_pb.StreamingTranslateRequest()


async def _ended(stream: object, heard: _Heard) -> None:
    try:
        async with asyncio.timeout(LONGEST_S):
            await stream  # type: ignore[misc]  # a coroutine of either service
        heard.is_complete = True
    except* (LegonnError, _Gone):
        pass
