"""The shipped modules behind a real server: a recording and two sentences through one decoder.

``LEGONN_MODULES`` names another store to try. A module that the store lacks skips its tests, by
name.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import grpc
import pytest
import pytest_asyncio

import legonn
from legonn.v1 import translation_service_pb2 as text_pb
from legonn.v1 import translation_service_pb2_grpc as text_grpc
from legonn_core.scoring.scores import normalized, word_error_rate
from legonn_loadtest.promises import PromiseCheck
from legonn_server.app import Gateway, build_backend
from legonn_server.config.settings import ServerSettings, Settings

# Measured: 40.9 with partials (text committed early stays), 31.8 without. One word is 4.5.
MAX_WER_PERCENT = 45.5
SENTENCES = {
    "de": ("Ich habe heute keine Zeit.", "time"),
    "ro": ("Tom spune că va aștepta.", "wait"),
}
STREAMS = {"with partials": True, "finals only": False}

ROOT = Path(__file__).parents[2]
MODULES = Path(os.environ.get("LEGONN_MODULES") or ROOT / "modules")
CLIP, TRANSCRIPT = ROOT / "tests/data/jfk.flac", ROOT / "tests/data/jfk.txt"
MODULE_OF = {"en": "speech-en", "de": "text-de", "ro": "text-ro"}

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(600),
    pytest.mark.asyncio(loop_scope="module"),
]


def need(*names: str) -> None:
    """Fail where a shipped module is missing; skip, and say so, in another store."""
    missing = [name for name in names if not any(MODULES.glob(f"{name}/*/card.toml"))]
    if missing:
        assert "LEGONN_MODULES" in os.environ, f"modules/ lacks {', '.join(missing)}"
        pytest.skip(f"NOT TESTED: {MODULES} has no {', '.join(missing)}")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def address():
    need("decoder-en")
    settings = Settings(
        server=ServerSettings(listen="127.0.0.1:0", http="", metrics="", modules=str(MODULES))
    )
    gateway = Gateway(settings, build_backend(settings, lambda is_up: None))
    try:
        await gateway.start()
        yield gateway.address
    finally:
        await gateway.stop(grace_seconds=0)


@dataclass(frozen=True)
class Heard:
    """Everything that came of the clip."""

    events: list[legonn.Event]
    broken: tuple[str, ...]
    duration_s: float

    @property
    def finals(self) -> list[legonn.Final]:
        return [event for event in self.events if isinstance(event, legonn.Final)]

    @property
    def text(self) -> str:
        return legonn.Transcript(tuple(self.finals)).text


async def hear(address: str, *, interim_results: bool) -> Heard:
    check = PromiseCheck()
    events = []
    options = legonn.SpeechOptions(interim_results=interim_results)
    with legonn.open_audio(CLIP) as file:
        async with legonn.AsyncClient(address) as client:
            async for event in client.stream(
                file.chunks(), options, sample_rate_hertz=file.sample_rate_hertz
            ):
                check.see(event)
                events.append(event)
        return Heard(events, check.end(file.num_samples), file.duration_s)


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=STREAMS)
async def heard(request: pytest.FixtureRequest, address: str):
    need("speech-en")
    return await hear(address, interim_results=STREAMS[request.param])


async def translate(address: str, language: str) -> text_pb.Translation:
    """Through the stubs: the client gives the text without the versions that made it."""
    need(MODULE_OF[language])
    sentence, _ = SENTENCES[language]
    config = text_pb.TranslationConfig(source_language_code=language)
    async with grpc.aio.insecure_channel(address) as channel:
        stub = text_grpc.TranslationServiceStub(channel)
        request = text_pb.TranslateRequest(config=config, texts=[sentence])
        answer = await stub.Translate(request, timeout=120)
    return answer.items[0].translation


async def test_the_clip_is_understood(heard: Heard):
    transcript = TRANSCRIPT.read_text(encoding="utf-8")
    assert word_error_rate([transcript], [heard.text]).value <= MAX_WER_PERCENT, heard.text


async def test_every_promise_of_the_stream_is_kept(heard: Heard):
    assert heard.broken == ()


async def test_partials_grow_before_finals_come(address: str):
    need("speech-en")
    heard = await hear(address, interim_results=True)
    partials = [event for event in heard.events if isinstance(event, legonn.Partial)]
    assert len(partials) >= 5
    stable = [partial.stable_text for partial in partials if partial.segment_index == 0]
    assert all(after.startswith(before) for before, after in pairwise(stable))
    assert stable[-1], "something was promised before the final came"
    assert heard.finals[0].text.startswith(stable[-1])


async def test_word_times_are_in_order_and_inside_the_audio(heard: Heard):
    words = [word for final in heard.finals for word in final.words]
    assert " ".join(word.text for word in words) == heard.text
    times = [time for word in words for time in (word.start_s, word.end_s)]
    assert None not in times
    assert times == sorted(times)
    assert times[0] >= 0 and times[-1] <= heard.duration_s


async def test_the_same_audio_gives_the_same_finals(address: str):
    need("speech-en")
    first, second = [await hear(address, interim_results=False) for _ in range(2)]
    assert [final.alternatives for final in first.finals] == [
        final.alternatives for final in second.finals
    ]


@pytest.mark.parametrize("language", SENTENCES)
async def test_a_sentence_becomes_english(language: str, address: str):
    translation = await translate(address, language)
    _, expected = SENTENCES[language]
    text = translation.alternatives[0].text
    assert expected in normalized(text).split(), text


async def test_one_decoder_wrote_all_of_it(address: str):
    need(*MODULE_OF.values())
    heard = await hear(address, interim_results=True)
    translations = [await translate(address, language) for language in SENTENCES]
    encoders = {final.encoder for final in heard.finals} | {one.encoder for one in translations}
    assert {encoder.partition("/")[0] for encoder in encoders} == set(MODULE_OF.values())
    decoders = {final.decoder for final in heard.finals} | {one.decoder for one in translations}
    assert len(decoders) == 1
    assert decoders.pop().startswith("decoder-en/")
