"""Glossary, masks and memory over real gRPC; the fake translates by writing in capitals."""

from __future__ import annotations

import grpc
import pytest
from prometheus_client import generate_latest

from legonn.v1 import speech_service_pb2 as speech_pb
from legonn.v1 import translation_service_pb2 as pb
from tests.support.gateway import Running, first, refusal, running, streamed


@pytest.fixture
async def server():
    async with running() as found:
        yield found


async def translated(server: Running, texts: list[str], **fields: object) -> list[str]:
    config = pb.TranslationConfig(source_language_code="de", **fields)
    answer = await server.translation.Translate(pb.TranslateRequest(config=config, texts=texts))
    return [one.translation.alternatives[0].text for one in answer.items]


async def test_terms_are_kept_even_by_a_model_that_loses_every_name(server: Running):
    entries = [
        speech_pb.GlossaryEntry(source="Kube-System", keep=True),
        speech_pb.GlossaryEntry(source="straße", target="路 street"),
    ]
    (found,) = await translated(server, ["Das Kube-System der Straße."], glossary=entries)
    assert "Kube-System" in found and "路 street" in found


async def test_a_term_is_kept_in_a_stream_and_settled_text_stays(server: Running):
    entries = [speech_pb.GlossaryEntry(source="neue Welt", target="Новый")]
    config = pb.TranslationConfig(source_language_code="de", glossary=entries, interim_results=True)
    requests = [pb.StreamingTranslateRequest(config=config)]
    for word in ("Die ", "neue ", "Welt ", "ist ", "groß."):
        requests.append(pb.StreamingTranslateRequest(input=pb.TextInput(text=word)))
    answers = [one async for one in server.translation.StreamingTranslate(iter(requests))]
    final = answers[-2].final.item.translation.alternatives[0].text
    assert "Новый" in final
    for one in answers:
        if one.HasField("partial"):
            assert final.startswith(one.partial.stable_text)


async def test_coarse_words_are_masked_when_asked(server: Running):
    assert await translated(server, ["so ein Shit!"], mask_profanity=True) == ["SO EIN S***!"]
    assert await translated(server, ["so ein Shit!"]) == ["SO EIN SHIT!"]


async def test_a_repeated_sentence_is_answered_from_memory(server: Running):
    await translated(server, ["Guten Tag. Guten Morgen."])
    count = server.backend.num_calls["decode"]
    assert await translated(server, ["Guten Morgen.", "Guten Tag."]) == [
        "GUTEN MORGEN.",
        "GUTEN TAG.",
    ]
    assert server.backend.num_calls["decode"] == count
    await translated(server, ["Guten Tag."], max_alternatives=2)
    await translated(server, ["Guten Tag."], phrases=[speech_pb.Phrase(text="Good day")])
    assert server.backend.num_calls["decode"] == count + 2
    page = generate_latest(server.gateway.metrics.registry).decode()
    assert 'legonn_response_cache_total{outcome="hit"} 2.0' in page
    assert 'legonn_response_cache_total{outcome="miss"} 4.0' in page


@pytest.mark.parametrize(
    ("fields", "word"),
    [
        ({"phrases": [speech_pb.Phrase(text="")]}, "phrases[0].text"),
        ({"phrases": [speech_pb.Phrase(text="x", boost=-1)]}, "phrases[0].boost"),
        ({"phrases": [speech_pb.Phrase(text="x")] * 501}, "at most 500"),
        ({"glossary": [speech_pb.GlossaryEntry(source="", keep=True)]}, "glossary[0].source"),
        ({"glossary": [speech_pb.GlossaryEntry(source="x", keep=False)]}, "neither"),
        ({"glossary": [speech_pb.GlossaryEntry(source="x", target="")]}, "glossary[0].target"),
    ],
)
async def test_nonsense_is_refused_by_name(server: Running, fields: dict[str, object], word: str):
    with pytest.raises(grpc.RpcError) as caught:
        await translated(server, ["x"], **fields)
    found = refusal(caught.value)
    assert (found.code, found.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "BAD_CONFIG")
    assert word in found.message


async def test_speech_takes_the_same_wishes(server: Running):
    answers = await streamed(
        server.speech,
        [
            first(
                phrases=[speech_pb.Phrase(text="Zygmunt", boost=8)],
                glossary=[speech_pb.GlossaryEntry(source="x", keep=True)],
                mask_profanity=True,
                verbatim=True,
            )
        ],
    )
    assert answers[0].started.config.verbatim
    assert answers[-1].HasField("summary")
