"""A text that ends the engine takes nobody's translation with it, and is not tried a third time."""

from __future__ import annotations

import asyncio

import pytest

from legonn.v1 import error_reason_pb2
from legonn.v1 import translation_service_pb2 as pb
from legonn_core.errors import BackendDown
from legonn_server.backends.fake import FakeBackend
from tests.support.gateway import running

DEADLY = "Gift."
WORDS = ["Eins.", "Zwei.", DEADLY, "Drei."]


@pytest.fixture
def engines(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """Texts that each engine was working on when it ended; the fake is made to die of one."""
    encode, flying, ended, together = FakeBackend.encode_text, [], [], asyncio.Event()

    async def mortal(self, request):
        lives = len(ended)
        flying.append(request.text)
        try:
            if len(flying) == len(WORDS) if not ended else request.text == DEADLY:
                ended.append(list(flying))
                together.set()
            await together.wait()
            if lives != len(ended):
                raise BackendDown("the engine ended while it worked on this", was_running=True)
        finally:
            flying.remove(request.text)
        return await encode(self, request)

    monkeypatch.setattr(FakeBackend, "encode_text", mortal)
    return ended


def config() -> pb.TranslationConfig:
    return pb.TranslationConfig(source_language_code="de", target_language_code="en")


async def test_its_neighbours_are_translated_and_it_alone_is_refused(engines):
    async with running() as server:
        request = pb.TranslateRequest(config=config(), texts=WORDS)
        answer = await server.translation.Translate(request, timeout=60)
        found = [
            item.translation.alternatives[0].text for item in (*answer.items[:2], answer.items[3])
        ]
        assert found == ["EINS.", "ZWEI.", "DREI."]
        assert answer.items[2].error.reason == error_reason_pb2.ERROR_REASON_POISON_SEGMENT
        assert sorted(engines[0]) == sorted(WORDS), "all were under way when the first one ended"
        assert engines[1:] == [[DEADLY]], "the second one ended with the guilty text alone"
