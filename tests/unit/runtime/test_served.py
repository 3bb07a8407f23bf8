from __future__ import annotations

import threading
from pathlib import Path

import numpy as np
import pytest

from legonn_core.errors import AdmissionRefused, BadModule, StateLost
from legonn_core.runtime import wire
from legonn_core.runtime.host import EngineHost
from legonn_core.runtime.messages import DecodeJob, EncodeStep, EncodeText, SlotRef
from legonn_core.runtime.served import ServedModule, ServedOptions
from legonn_core.runtime.served_decoder import ServedDecoder
from legonn_core.runtime.served_model import load
from legonn_core.runtime.wire import Answer, Call, Letter, Op
from tests.support.tiny import DECODER, GERMAN, SPEECH, SPEECH_SHAPE, speech

SIZE = SPEECH_SHAPE.chunk_samples
SENTENCE = "Die Katze wartet."


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def served(tiny_store: Path, clock: Clock) -> ServedModule:
    return ServedModule(tiny_store, SPEECH, ServedOptions(slots=3, idle_seconds=60), clock=clock)


def ask(served: ServedModule, *letters: Letter) -> list[Answer]:
    return [wire.read_answer(letter) for letter in served.answer(letters)]


def step(opened: Answer, seq: int, samples: np.ndarray, **more: bool) -> Letter:
    filled = np.zeros(SIZE, np.float32)
    filled[: len(samples)] = samples
    call = Call(
        Op.STEP,
        life=opened.life,
        slot=opened.slot,
        epoch=opened.epoch,
        seq=seq,
        num_samples=len(samples),
        **more,
    )
    return wire.write_call(call, samples=filled)


def opening() -> Letter:
    return wire.write_call(Call(Op.OPEN))


def heard_in_process(store: Path, audio: np.ndarray) -> list[object]:
    host = EngineHost(store, slots=1)
    host.load(SPEECH)
    found = []
    host.accept(0, ("open", SPEECH))
    ((_, slot),) = host.turn()
    assert isinstance(slot, SlotRef)
    for seq, start in enumerate(range(0, len(audio), SIZE)):
        is_last = start + SIZE >= len(audio)
        host.accept(0, EncodeStep(slot, seq, audio[start : start + SIZE], is_last=is_last))
        found += [answer for _, answer in host.turn()]
    return found


def test_streams_served_in_batches_hear_what_they_hear_alone(tiny_store, served):
    recordings = [speech(3 * SIZE + 100 + seed, seed=seed) for seed in range(3)]
    streams = ask(served, *(opening() for _ in recordings))
    rounds = [
        ask(
            served,
            *(
                step(one, seq, audio[seq * SIZE : (seq + 1) * SIZE], is_last=seq == 3)
                for one, audio in zip(streams, recordings, strict=True)
            ),
        )
        for seq in range(4)
    ]
    for index, audio in enumerate(recordings):
        alone = heard_in_process(tiny_store, audio)
        found = [answers[index].encoded for answers in rounds]
        assert [one.best.tokens for one in found] == [one.best.tokens for one in alone]
    assert all(answer.batch_rows == 3 for answer in rounds[0])


def test_all_slots_taken_is_said_and_a_closed_one_is_free(served):
    first, *_ = ask(served, *(opening() for _ in range(3)))
    refused, *_ = ask(served, opening())
    assert isinstance(refused.fault.error(), AdmissionRefused)
    close = Call(Op.CLOSE, life=first.life, slot=first.slot, epoch=first.epoch)
    ask(served, wire.write_call(close))
    assert ask(served, opening())[0].fault is None


def test_a_slot_of_an_earlier_life_is_lost(tiny_store, served):
    earlier = ServedModule(tiny_store, SPEECH, ServedOptions(slots=3))
    (stale,) = ask(earlier, opening())
    (current,) = ask(served, opening())
    assert (stale.slot, stale.epoch) == (current.slot, current.epoch), "else this shows nothing"
    refused, fine = ask(served, step(stale, 0, speech(SIZE)), step(current, 0, speech(SIZE)))
    assert isinstance(refused.fault.error(), StateLost)
    assert fine.encoded is not None


def test_slots_of_a_gateway_that_is_gone_are_given_back(served, clock):
    kept, left, _ = ask(served, *(opening() for _ in range(3)))
    clock.now += 50
    ask(served, step(kept, 0, speech(SIZE)))
    clock.now += 20
    assert ask(served, opening(), opening())[1].fault is None
    late, still = ask(served, step(left, 0, speech(SIZE)), step(kept, 1, speech(SIZE)))
    assert isinstance(late.fault.error(), StateLost)
    assert still.encoded is not None


def test_a_letter_nobody_can_read_harms_no_other(served):
    bad, good = ask(served, Letter(b"{"), opening())
    assert bad.fault is not None
    assert good.fault is None


def test_a_probe_runs_the_network_and_leaves_nothing(served, monkeypatch):
    rows: list[int] = []
    monkeypatch.setattr(served, "exercise", rows.append)
    (answer,) = ask(served, Letter(b""))
    assert answer.health.is_alive
    ask(served, Letter(b""))
    assert rows == [1], "not every probe, or idling would cost"


def test_a_probe_says_what_is_wrong_with_the_network(served, monkeypatch):
    def fail(rows: int) -> None:
        raise BadModule(f"{rows} rows of nonsense")

    monkeypatch.setattr(served, "exercise", fail)
    (answer,) = ask(served, Letter(b""))
    assert answer.fault.message == "1 rows of nonsense"


def test_sentences_are_served(tiny_store):
    served = ServedModule(tiny_store, GERMAN, ServedOptions())
    one, two = ask(served, *(wire.write_call(Call(Op.TEXT, text=t)) for t in (SENTENCE, "")))
    assert one.encoded.num_rows
    assert two.fault is not None


class Waiting:
    """Who waits for a decode."""

    def __init__(self) -> None:
        self.answers: list[Answer] = []
        self.is_done = threading.Event()
        self.has_left = False

    def send(self, letter: Letter, *, is_last: bool) -> None:
        assert not self.is_done.is_set(), "something came after the last"
        self.answers.append(wire.read_answer(letter))
        if is_last:
            self.is_done.set()

    def is_gone(self) -> bool:
        return self.has_left


@pytest.fixture
def decoder(tiny_store):
    served = ServedDecoder(ServedModule(tiny_store, DECODER, ServedOptions()))
    yield served
    served.close()


@pytest.fixture(scope="module")
def job(tiny_store) -> DecodeJob:
    host = EngineHost(tiny_store, slots=1)
    host.load(GERMAN)
    host.accept(0, EncodeText(GERMAN, SENTENCE))
    ((_, encoded),) = host.turn()
    return DecodeJob(DECODER, (encoded.marginals,))


def decode(decoder: ServedDecoder, letter: Letter) -> Waiting:
    waiting = Waiting()
    decoder.submit(letter, waiting)
    return waiting


def test_decodes_are_answered_as_they_end(decoder, job):
    letter = wire.write_call(Call(Op.DECODE, job=job))
    waiting = [decode(decoder, letter) for _ in range(4)]
    assert all(one.is_done.wait(60) for one in waiting)
    found = {one.answers[-1].decoded.hypotheses[0].text for one in waiting}
    assert len(found) == 1
    assert found != {""}


def test_a_decoder_answers_probes_and_refuses_the_rest(decoder):
    probe, step_of_an_encoder = decode(decoder, Letter(b"")), decode(decoder, opening())
    again = decode(decoder, Letter(b""))
    assert all(one.is_done.wait(60) for one in (probe, step_of_an_encoder, again))
    assert probe.answers[-1].decoded is not None
    assert again.answers[-1].health.is_alive
    assert step_of_an_encoder.answers[-1].fault is not None


def test_closing_answers_who_still_waits(decoder, job):
    waiting = decode(decoder, wire.write_call(Call(Op.DECODE, job=job)))
    decoder.close()
    assert waiting.is_done.is_set() or not waiting.answers


def test_a_module_that_is_not_what_its_configuration_says_is_refused(tiny_store, tmp_path):
    (tmp_path / "store").symlink_to(tiny_store)
    settings = {
        "MODULE": str(GERMAN),
        "SLOTS": "2",
        "IDLE_SECONDS": "60",
        "THREADS": "1",
        "LOAD_NICENESS": "0",
        "DESCRIPTION": "{}",
    }
    with pytest.raises(BadModule, match="export it again"):
        load(tmp_path, settings, device="cpu")
