"""Text that is translated while it is written, over real gRPC, with the fake behind it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import grpc
import pytest

from legonn.v1 import hypothesis_pb2
from legonn.v1 import translation_service_pb2 as pb
from legonn_core.errors import BackendDown
from legonn_server.backends.fake import FakeScript
from tests.support.gateway import Running, refusal, running


@pytest.fixture
async def server():
    async with running() as found:
        yield found


def opening(**fields: object) -> pb.StreamingTranslateRequest:
    config = pb.TranslationConfig(source_language_code="de", **fields)
    return pb.StreamingTranslateRequest(config=config)


def said(text: str, *, end: bool = False) -> pb.StreamingTranslateRequest:
    return pb.StreamingTranslateRequest(input=pb.TextInput(text=text, end_of_segment=end))


async def typed(
    server: Running, words: list[str], **fields: object
) -> list[pb.StreamingTranslateResponse]:
    """Send word after word, each when the one before has been answered or a moment has passed."""
    answered = asyncio.Event()

    async def requests() -> AsyncIterator[pb.StreamingTranslateRequest]:
        yield opening(interim_results=True, **fields)
        for word in words:
            answered.clear()
            yield said(word)
            try:
                await asyncio.wait_for(answered.wait(), 0.3)
            except TimeoutError:
                continue

    answers = []
    async for answer in server.translation.StreamingTranslate(requests(), timeout=20):
        answers.append(answer)
        answered.set()
    return answers


def partials(answers: list[pb.StreamingTranslateResponse]) -> list[tuple[str, str]]:
    return [
        (one.partial.stable_text, one.partial.tail_text)
        for one in answers
        if one.HasField("partial")
    ]


WORDS = ["Der ", "Hund ", "schläft ", "heute ", "nicht."]


async def test_settled_text_grows_and_the_final_begins_with_it(server: Running):
    answers = await typed(server, WORDS)
    assert [one.sequence for one in answers] == list(range(len(answers)))
    shown = partials(answers)
    assert ("", "DER") in shown and ("DER", " HUND SCHLÄFT") in shown
    stable = ""
    for settled, _ in shown:
        assert settled.startswith(stable)
        stable = settled
    (final,) = [one.final for one in answers if one.HasField("final")]
    assert final.item.translation.alternatives[0].text == "DER HUND SCHLÄFT HEUTE NICHT."
    assert final.reason == hypothesis_pb2.FINAL_REASON_HALF_CLOSE
    processed = [one.characters_processed for one in answers]
    assert processed == sorted(processed) and processed[-1] == len("".join(WORDS))


async def test_wait_k_keeps_its_distance_and_append_only_has_no_tail(server: Running):
    streaming = pb.TextStreaming(policy=pb.COMMIT_POLICY_WAIT_K, wait_words=2, append_only=True)
    answers = await typed(server, WORDS, streaming=streaming)
    assert partials(answers) == [("DER", ""), ("DER HUND", "")]
    assert answers[0].started.config.streaming.wait_words == 2


async def test_a_budget_settles_what_nobody_added_to(server: Running):
    streaming = pb.TextStreaming(policy=pb.COMMIT_POLICY_LATENCY_BUDGET)
    streaming.max_delay.FromMilliseconds(100)
    answers = await typed(server, ["Der Hund schläft ", "", ""], streaming=streaming)
    assert partials(answers)[-1] == ("DER HUND", " SCHLÄFT")


async def test_finals_only_settles_nothing(server: Running):
    streaming = pb.TextStreaming(policy=pb.COMMIT_POLICY_FINALS_ONLY)
    shown = partials(await typed(server, WORDS, streaming=streaming))
    assert shown and not any(stable for stable, _ in shown)


@pytest.mark.parametrize(
    ("fields", "word"),
    [
        ({"policy": 99}, "policy"),
        ({"agreement": 9}, "agreement"),
        ({"policy": pb.COMMIT_POLICY_WAIT_K, "wait_words": 21}, "wait_words"),
        ({"policy": pb.COMMIT_POLICY_FINALS_ONLY, "append_only": True}, "append_only"),
        ({"policy": pb.COMMIT_POLICY_LATENCY_BUDGET, "max_delay": {"seconds": 99}}, "max_delay"),
    ],
)
async def test_nonsense_is_refused_by_name(server: Running, fields: dict[str, object], word: str):
    with pytest.raises(grpc.RpcError) as caught:
        await typed(server, [], streaming=pb.TextStreaming(**fields))
    found = refusal(caught.value)
    assert (found.code, found.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "BAD_CONFIG")
    assert word in found.message


async def test_a_lost_engine_is_asked_again_and_said():
    def fault(method: str, count: int):
        return BackendDown("gone") if (method, count) == ("decode", 1) else None

    async with running(FakeScript(fault=fault)) as server:
        answers = await typed(server, WORDS)
        (final,) = [one.final for one in answers if one.HasField("final")]
        assert final.item.translation.alternatives[0].text == "DER HUND SCHLÄFT HEUTE NICHT."
        assert answers[-1].summary.num_replays == 1
        notices = [one.notice.kind for one in answers if one.HasField("notice")]
        assert notices == [hypothesis_pb2.NOTICE_KIND_REPLAYING]


async def test_a_long_text_at_once_is_translated_side_by_side():
    async with running(FakeScript(latency_s=0.05)) as server:
        requests = [opening(), said("Ein Satz. " * 40)]
        answers = [one async for one in server.translation.StreamingTranslate(iter(requests))]
        assert answers[-1].summary.num_segments == 40
        assert [one.final.segment_index for one in answers[1:-1]] == list(range(40))
