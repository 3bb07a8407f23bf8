"""HTTP from outside: OpenAI's own package, plain calls, and callers who must be kept out."""

from __future__ import annotations

import asyncio
import io
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import httpx2
import openai
import pytest
import webvtt

from legonn_core.errors import BackendDown
from legonn_server.backends.fake import FakeScript
from legonn_server.gateway.web.policy import WebLimits
from tests.support.gateway import Running, running, silence, tone, two_utterances
from tests.support.web import wav

HEARD = ["d" + " g" * 12 + " d", "h" + " o" * 9 + " m"]
FILE = ("talk.wav", wav(two_utterances()))
WORD_TIMES = {"response_format": "verbose_json", "timestamp_granularities": ["word", "segment"]}


@asynccontextmanager
async def client(page: str) -> AsyncIterator[openai.AsyncOpenAI]:
    async with openai.AsyncOpenAI(base_url=f"{page}v1", api_key="none", max_retries=0) as found:
        yield found


@pytest.fixture
async def server():
    async with running(http="127.0.0.1:0") as found:
        yield found


@pytest.fixture
async def openai_client(server: Running):
    async with client(server.gateway.page) as found:
        yield found


@pytest.fixture
async def http(server: Running):
    async with httpx2.AsyncClient(base_url=server.gateway.page) as found:
        yield found


@pytest.mark.parametrize("kind", ["WAV", "FLAC", "OGG", "MP3"])
async def test_files_are_read_by_what_they_hold(kind: str, openai_client: openai.AsyncOpenAI):
    file = ("misnamed.bin", wav(two_utterances(), kind=kind))
    answer = await openai_client.audio.transcriptions.create(file=file, model="whisper-1")
    if kind in ("WAV", "FLAC"):
        assert answer.text == " ".join(HEARD)
    assert answer.text
    assert answer.usage.seconds == 4


async def test_verbose_json_holds_words_and_segments(openai_client: openai.AsyncOpenAI):
    answer = await openai_client.audio.transcriptions.create(
        file=FILE, model="whisper-1", **WORD_TIMES
    )
    assert (answer.language, answer.duration) == ("english", 3.8)
    assert [one.text for one in answer.segments] == HEARD
    assert " ".join(word.word for word in answer.words) == answer.text
    starts = [word.start for word in answer.words]
    assert starts == sorted(starts)
    assert answer.words[-1].end <= answer.duration


async def test_verbose_json_holds_no_words_unless_asked(openai_client: openai.AsyncOpenAI):
    answer = await openai_client.audio.transcriptions.create(
        file=FILE, model="whisper-1", response_format="verbose_json"
    )
    assert answer.segments
    assert answer.words is None


async def test_captions_parse(openai_client: openai.AsyncOpenAI):
    create = openai_client.audio.transcriptions.create
    vtt = webvtt.from_buffer(
        io.StringIO(await create(file=FILE, model="whisper-1", response_format="vtt")), "vtt"
    )
    srt = webvtt.from_buffer(
        io.StringIO(await create(file=FILE, model="whisper-1", response_format="srt")), "srt"
    )
    lines = [line for cue in vtt.captions for line in cue.lines]
    assert " ".join(lines) == " ".join(HEARD)
    assert max(map(len, lines)) <= 42
    assert [(cue.start, cue.text) for cue in srt] == [(cue.start, cue.text) for cue in vtt]
    assert (
        await create(file=FILE, model="whisper-1", response_format="text") == " ".join(HEARD) + "\n"
    )


async def test_streamed_events_add_up(openai_client: openai.AsyncOpenAI):
    events = await openai_client.audio.transcriptions.create(
        file=FILE, model="gpt-4o-transcribe", stream=True
    )
    found = [event async for event in events]
    assert found[-1].type == "transcript.text.done"
    assert "".join(event.delta for event in found[:-1]) == found[-1].text == " ".join(HEARD)
    assert len(found) > 2


async def test_translations_leave_english_as_it_is(openai_client: openai.AsyncOpenAI):
    with pytest.warns(
        DeprecationWarning, match="deprecated"
    ):  # the package's own word about this call
        answer = await openai_client.audio.translations.create(file=FILE, model="whisper-1")
    assert answer.text == " ".join(HEARD)


@pytest.mark.parametrize(
    ("wishes", "error", "code"),
    [
        ({"file": ("a.wav", b"nonsense")}, openai.BadRequestError, "BAD_AUDIO"),
        ({"file": ("a.wav", b"")}, openai.BadRequestError, "BAD_AUDIO"),
        ({"file": ("a.wav", wav(silence(0)))}, openai.BadRequestError, "BAD_AUDIO"),
        ({"model": "unheard-of"}, openai.NotFoundError, "NO_ROUTE"),
        ({"language": "fr"}, openai.NotFoundError, "NO_ROUTE"),
        ({"language": "?"}, openai.BadRequestError, "BAD_CONFIG"),
        ({"response_format": "diarized_json"}, openai.BadRequestError, "BAD_CONFIG"),
        ({"include": ["logprobs"]}, openai.InternalServerError, "NOT_IMPLEMENTED"),
        ({"extra_body": {"colour": "blue"}}, openai.BadRequestError, "BAD_CONFIG"),
    ],
)
@pytest.mark.parametrize("is_streamed", [False, True])
async def test_refusals_arrive_as_the_packages_own_errors(
    wishes: dict,
    error: type[openai.APIStatusError],
    code: str,
    openai_client: openai.AsyncOpenAI,
    *,
    is_streamed: bool,
):
    call = {"file": FILE, "model": "whisper-1", "stream": is_streamed} | wishes
    with pytest.raises(error) as refused:
        await openai_client.audio.transcriptions.create(**call)
    assert refused.value.code == code
    assert refused.value.response.headers["x-should-retry"] == "false"
    assert refused.value.request_id


async def test_a_lost_engine_is_told_in_the_stream():
    def fault(method: str, count: int) -> BackendDown | None:
        return BackendDown("gone") if method == "decode" and count > 4 else None

    async with (
        running(FakeScript(fault=fault), http="127.0.0.1:0") as server,
        client(server.gateway.page) as package,
    ):
        events = await package.audio.transcriptions.create(
            file=FILE, model="whisper-1", stream=True
        )
        with pytest.raises(openai.APIError, match="gone"):
            [event async for event in events]


async def test_too_much_is_refused():
    limits = WebLimits(max_upload_bytes=100_000, max_upload_seconds=2)
    async with (
        running(http="127.0.0.1:0", web=limits) as server,
        client(server.gateway.page) as package,
    ):
        for samples in (tone(60.0), tone(2.5)):
            with pytest.raises(openai.APIStatusError) as refused:
                await package.audio.transcriptions.create(
                    file=("long.wav", wav(samples)), model="whisper-1"
                )
            assert refused.value.status_code == 413


async def test_who_leaves_ends_the_work():
    async with running(FakeScript(latency_s=0.05), http="127.0.0.1:0") as server:
        async with httpx2.AsyncClient(base_url=server.gateway.page) as http:
            with pytest.raises(httpx2.ReadTimeout):
                await http.post(
                    "v1/audio/transcriptions",
                    files={"file": ("long.wav", wav(tone(120.0)))},
                    timeout=0.5,
                )
        async with asyncio.timeout(5):
            while server.gateway.services.runners or server.backend.num_open_slots:
                await asyncio.sleep(0.02)


async def test_texts_are_translated(http: httpx2.AsyncClient):
    question = {"config": {"source_language_code": "de"}, "texts": ["Guten Tag. Wo?", "Hier"]}
    answer = await http.post("v1/translate", json=question)
    assert [one["translation"]["alternatives"][0]["text"] for one in answer.json()["items"]] == [
        "GUTEN TAG. WO?",
        "HIER",
    ]
    assert answer.headers["x-request-id"] == answer.json()["requestId"]


@pytest.mark.parametrize(
    ("body", "status"),
    [(b"nonsense", 400), (b"\xff", 400), (b"{}", 400), (b'{"texts": [7]}', 400),
     (b'{"config": {"sourceLanguageCode": "fr"}, "texts": ["x"]}', 404),
     (b" " * (5 << 20), 413)],
)  # fmt: skip
async def test_bad_questions_are_refused_in_json(
    body: bytes, status: int, http: httpx2.AsyncClient
):
    answer = await http.post("v1/translate", content=body)
    assert answer.status_code == status
    assert answer.json()["error"]["message"]


async def test_routes_and_modules_are_told(http: httpx2.AsyncClient):
    routes = (await http.get("v1/routes")).json()["table"]["routes"]
    assert {one["sourceLanguageCode"] for one in routes} == {"en", "de", "ro"}
    modules = (await http.get("v1/modules")).json()["modules"]
    assert "speech-en" in {one["name"] for one in modules}
    assert (await http.get("v1/nothing")).status_code == 404


def _as_evil_host(http: httpx2.AsyncClient):
    return http.get("/", headers={"host": "evil.example"})


def _from_evil_page(http: httpx2.AsyncClient):
    return http.post("v1/translate", headers={"origin": "http://evil.example"}, json={})


@pytest.mark.parametrize("call", [_as_evil_host, _from_evil_page])
async def test_browsers_of_other_sites_are_kept_out(call: Callable, http: httpx2.AsyncClient):
    answer = await call(http)
    assert answer.status_code == 403
    assert answer.json()["error"]["code"] == "ORIGIN"


async def test_listed_sites_may_call():
    limits = WebLimits(origins="https://friend.example")
    async with (
        running(http="127.0.0.1:0", web=limits) as server,
        httpx2.AsyncClient(base_url=server.gateway.page) as http,
    ):
        answer = await http.get("v1/routes", headers={"origin": "https://friend.example"})
        assert answer.headers["access-control-allow-origin"] == "https://friend.example"


async def test_a_taken_port_is_named():
    async with running(http="127.0.0.1:0") as server:
        port = server.gateway.page.rstrip("/").rpartition(":")[2]
        with pytest.raises(Exception, match=f"cannot serve HTTP on 127.0.0.1:{port}"):
            async with running(http=f"127.0.0.1:{port}"):
                pass


async def test_every_answer_carries_the_policy(http: httpx2.AsyncClient):
    for path in ("/", "v1/routes", "v1/nothing"):
        headers = (await http.get(path)).headers
        assert "default-src 'none'" in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff"
