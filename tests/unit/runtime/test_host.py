from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from legonn_core.errors import (
    BadModule,
    BadText,
    BrokenInvariant,
    EncodingMismatch,
    LegonnError,
    ProtocolViolation,
    RateMismatch,
    StateLost,
    UnknownModule,
)
from legonn_core.interface.card import ModuleCard
from legonn_core.interface.reference import ModuleRef
from legonn_core.runtime.host import EngineHost
from legonn_core.runtime.messages import (
    BackendHealth,
    DecodeJob,
    DecodeResult,
    EncodeResult,
    EncodeStep,
    EncodeText,
    SlotRef,
)
from tests.support.tiny import DECODER, GERMAN, SPEECH, SPEECH_SHAPE, speech

SIZE = SPEECH_SHAPE.chunk_samples
CHUNK = np.zeros(SIZE, np.float32)
SENTENCE = "Die Katze wartet."


@pytest.fixture(scope="module")
def loaded(tiny_store: Path) -> EngineHost:
    host = EngineHost(tiny_store, slots=3)
    for ref in host.newest():
        host.load(ref)
    return host


@pytest.fixture
def host(tiny_store: Path) -> EngineHost:
    return EngineHost(tiny_store, slots=3)


def answers(host: EngineHost, *payloads: object) -> list[object]:
    """File all, turn until nothing is left; answers in the order of the payloads."""
    for request_id, payload in enumerate(payloads):
        host.accept(request_id, payload)
    found: dict[int, object] = {}
    while host.has_work:
        for request_id, answer in host.turn():
            assert request_id not in found, "answered twice"
            found[request_id] = answer
    return [found[request_id] for request_id in range(len(payloads))]


def ask(host: EngineHost, payload: object) -> object:
    (answer,) = answers(host, payload)
    if isinstance(answer, LegonnError):
        raise answer
    return answer


def test_it_describes_what_it_has_loaded(loaded):
    assert loaded.newest() == [DECODER, SPEECH, GERMAN]
    found = {one.ref: one for one in ask(loaded, ("describe",))}
    assert found.keys() == {DECODER, SPEECH, GERMAN}
    assert found[SPEECH].chunk_samples == SIZE
    assert found[SPEECH].row_ms == 80.0
    assert (found[GERMAN].source_language, found[GERMAN].target_language) == ("de", "en")
    assert len({one.fingerprint for one in found.values()}) == 1


def test_the_newest_of_each_name_is_taken(tiny_store, tmp_path):
    shutil.copytree(tiny_store, tmp_path / "store")
    for version in ("9", "10"):
        shutil.copytree(tiny_store / "text-de/1", tmp_path / "store/text-de" / version)
    assert ModuleRef("text-de", "10") in EngineHost(tmp_path / "store", slots=1).newest()


def test_a_stream_and_its_final(loaded):
    samples = speech(3 * SIZE, seed=5)
    slot = ask(loaded, ("open", SPEECH))
    health = ask(loaded, ("health",))
    assert health == BackendHealth(True, open_slots=1, turn_seconds=health.turn_seconds)
    assert health.turn_seconds > 0, "warming measured the engines"
    parts = [
        ask(loaded, EncodeStep(slot, i, samples[i * SIZE :][:SIZE], is_last=i == 2))
        for i in range(3)
    ]
    blocks = tuple(part.marginals for part in parts)
    final = ask(loaded, DecodeJob(DECODER, blocks, row_ms=80.0))
    assert isinstance(final, DecodeResult)
    assert final.hypotheses[0].tokens
    assert ask(loaded, ("health",)).open_slots == 0


def test_chunks_that_came_together_go_in_order(loaded):
    slot = ask(loaded, ("open", SPEECH))
    found = answers(loaded, *(EncodeStep(slot, seq, CHUNK) for seq in range(3)))
    assert [one.total_rows for one in found] == [2, 6, 10]
    ask(loaded, ("close_slot", slot))


def test_closing_comes_before_chunks_that_wait(loaded):
    slot = ask(loaded, ("open", SPEECH))
    step, closed = answers(loaded, EncodeStep(slot, 0, CHUNK), ("close_slot", slot))
    assert isinstance(step, StateLost)
    assert closed is None


def test_many_things_at_once_each_get_their_answer(loaded):
    slots = [ask(loaded, ("open", SPEECH)) for _ in range(3)]
    lone = ask(loaded, EncodeText(GERMAN, SENTENCE))
    job = DecodeJob(DECODER, (lone.marginals,))
    expected = ask(loaded, job)
    found = answers(
        loaded,
        *(EncodeStep(slot, 0, CHUNK) for slot in slots),
        *(EncodeText(GERMAN, text) for text in (SENTENCE, "", SENTENCE)),
        job,
        replace(job, beam=2),
        ("health",),
        *(EncodeStep(slot, 9, CHUNK) for slot in slots),
    )
    assert all(isinstance(answer, EncodeResult) for answer in found[:4])
    assert isinstance(found[4], BadText)
    assert found[5].best.tokens == lone.best.tokens
    assert found[6].hypotheses[0].tokens == expected.hypotheses[0].tokens
    assert found[8].open_slots == 3
    assert all(isinstance(answer, ProtocolViolation) for answer in found[9:])
    for slot in slots:
        ask(loaded, ("close_slot", slot))


def test_a_cancelled_request_gets_no_answer(loaded):
    block = ask(loaded, EncodeText(GERMAN, SENTENCE)).marginals
    slot = ask(loaded, ("open", SPEECH))
    payloads = (DecodeJob(DECODER, (block,)), EncodeText(GERMAN, "x"), EncodeStep(slot, 0, CHUNK))
    for request_id, payload in enumerate(payloads):
        loaded.accept(request_id, payload)
        loaded.accept(99, ("cancel", request_id))
    assert not loaded.has_work
    assert loaded.turn() == []
    ask(loaded, ("close_slot", slot))


NOBODY = ModuleRef("nobody", "1")
MISDIRECTED = {
    "open what is not there": (("open", NOBODY), UnknownModule, "nobody/1 is not loaded"),
    "open a decoder": (("open", DECODER), UnknownModule, "is not a speech encoder"),
    "load what is not there": (("load", NOBODY), UnknownModule, "no module nobody/1"),
    "unload what is not there": (("unload", NOBODY), UnknownModule, "not loaded"),
    "decode by an encoder": (DecodeJob(GERMAN, ()), UnknownModule, "text-de/1 is not a decoder"),
    "decode by nobody": (DecodeJob(NOBODY, ()), UnknownModule, "nobody/1 is not loaded"),
    "text to speech": (EncodeText(SPEECH, "x"), UnknownModule, "not a loaded text encoder"),
    "a step for nobody": (EncodeStep(SlotRef(NOBODY, 0, 1), 0, CHUNK), StateLost, "not loaded"),
    "a word unknown": (("dance",), BrokenInvariant, "does not know tuple"),
    "no message": (None, BrokenInvariant, "does not know NoneType"),
    "a word too many": (("open", SPEECH, 3), BrokenInvariant, "does not know"),
    "a path": (("load", ModuleRef("../store", "1")), UnknownModule, "no module"),
}


@pytest.mark.parametrize(("payload", "error", "said"), MISDIRECTED.values(), ids=MISDIRECTED.keys())
def test_what_makes_no_sense_is_answered_with_a_reason(loaded, payload, error, said):
    (answer,) = answers(loaded, payload)
    assert type(answer) is error
    assert said in answer.message


def test_closing_what_is_not_open_is_nothing(loaded):
    assert ask(loaded, ("close_slot", SlotRef(SPEECH, 0, 99))) is None
    assert ask(loaded, ("close_slot", SlotRef(NOBODY, 0, 1))) is None


def test_modules_come_and_go(host):
    assert ask(host, ("load", SPEECH)).ref == SPEECH
    slot = ask(host, ("open", SPEECH))
    assert ask(host, ("load", SPEECH)).ref == SPEECH, "loading again changes nothing"
    assert isinstance(ask(host, EncodeStep(slot, 0, CHUNK)), EncodeResult)
    host.accept(7, EncodeStep(slot, 1, CHUNK))
    assert ask(host, ("unload", SPEECH)) is None
    assert ask(host, ("describe",)) == ()
    with pytest.raises(UnknownModule):
        ask(host, ("open", SPEECH))
    with pytest.raises(StateLost, match="not loaded any more"):
        ask(host, EncodeStep(slot, 1, CHUNK))


@pytest.fixture
def other_store(tiny_store: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny_store, tmp_path / "store"))


def rewrite(store: Path, ref: ModuleRef, **changes: object) -> None:
    path = store / ref.name / ref.version / "card.toml"
    card = ModuleCard.parse(path.read_text("utf-8"))
    path.write_text(replace(card, **changes).to_toml(), "utf-8")


def test_partners_that_do_not_fit_are_refused(other_store):
    card = ModuleCard.parse((other_store / "decoder-en/1/card.toml").read_text("utf-8"))
    rewrite(other_store, DECODER, contract=replace(card.contract, rows_per_second=50.0))
    for first, second in ((SPEECH, DECODER), (DECODER, SPEECH)):
        host = EngineHost(other_store, slots=1)
        host.load(first)
        with pytest.raises(RateMismatch, match=r"the encoder has 12\.5"):
            ask(host, ("load", second))
        assert [one.ref for one in host.describe()] == [first]


def test_a_module_that_computes_something_else_is_refused(other_store):
    shutil.copy(
        other_store / "text-de/1/golden/golden.npz", other_store / "decoder-en/1/golden/golden.npz"
    )
    host = EngineHost(other_store, slots=1)
    with pytest.raises(BadModule, match="golden"):
        ask(host, ("load", DECODER))
    rewrite(other_store, GERMAN, vocabulary="fr/1")
    with pytest.raises(BadModule, match="vocabulary fr/1"):
        ask(host, ("load", GERMAN))
    assert host.describe() == ()


def test_damaged_marginals_do_not_reach_a_decoder(loaded):
    block = ask(loaded, EncodeText(GERMAN, SENTENCE)).marginals
    (answer,) = answers(loaded, DecodeJob(DECODER, (block[:-3],)))
    assert type(answer) is EncodingMismatch
