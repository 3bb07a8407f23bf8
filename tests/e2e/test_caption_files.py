"""``POST /v1/captions``: the page's save buttons get what the command line writes."""

from __future__ import annotations

from collections.abc import AsyncIterator

import httpx2
import pytest

import legonn
from legonn import captions_write
from tests.support.gateway import running

SEGMENTS = [
    {"text": "Ask not.", "start": 0.5, "end": 1.5, "confidence": 0.9, "words": [
        {"text": "Ask", "start": 0.5, "end": 0.8}, {"text": "not.", "start": 0.9, "end": 1.5},
    ]},
    {"text": "What <you> can do", "start": 4.0, "end": 6.0},
]  # fmt: skip


@pytest.fixture
async def http() -> AsyncIterator[httpx2.AsyncClient]:
    async with (
        running(http="127.0.0.1:0") as server,
        httpx2.AsyncClient(base_url=server.gateway.page) as found,
    ):
        yield found


@pytest.mark.parametrize("kind", ["vtt", "srt", "txt"])
async def test_finals_become_the_files_of_the_command_line(kind: str, http: httpx2.AsyncClient):
    answer = await http.post("v1/captions", json={"format": kind, "segments": SEGMENTS})
    assert answer.status_code == 200
    timed = tuple(
        legonn.Word(one["text"], one["start"], one["end"]) for one in SEGMENTS[0]["words"]
    )
    finals = [
        legonn.Final(0, 0.5, 1.5, 0, 0, (legonn.Hypothesis("Ask not.", 1.0, timed),)),
        legonn.Final(1, 4.0, 6.0, 0, 0, (legonn.Hypothesis("What <you> can do", 1.0),)),
    ]
    assert answer.text == captions_write.render(finals, kind)
    assert "not." in answer.text


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"{", "not JSON"),
        (b"[]", "an object"),
        (b'{"segments": [], "fromat": "vtt"}', "'fromat' is not a field"),
        (b'{"segments": [], "format": "ass"}', "format is one of"),
        (b'{"format": "vtt"}', "segments is a list"),
        (b'{"segments": [7]}', "segments[0] needs text"),
        (b'{"segments": [{"text": "a", "start": 2, "end": 1}]}', "needs start and end"),
        (b'{"segments": [{"text": "a", "start": NaN, "end": 1}]}', "needs start and end"),
        (b'{"segments": [{"text": "a", "start": 0, "end": 1, "words": 7}]}', "words is no list"),
        (b'{"segments": [{"text": "%s", "start": 0, "end": 1}]}' % (b"a " * 50_001), "at most"),
    ],
)
async def test_what_is_no_captions_is_refused(body: bytes, said: str, http: httpx2.AsyncClient):
    answer = await http.post("v1/captions", content=body)
    assert answer.status_code in (400, 413)
    assert said in answer.json()["error"]["message"]
