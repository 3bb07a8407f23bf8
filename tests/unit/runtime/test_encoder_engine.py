from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from legonn_core.errors import (
    AdmissionRefused,
    BadAudio,
    InternalFault,
    LegonnError,
    LimitExceeded,
    NonFiniteMarginals,
    ProtocolViolation,
    StateLost,
)
from legonn_core.interface import codec
from legonn_core.interface.card import Calibration
from legonn_core.interface.marginals import Marginals
from legonn_core.modules.registry import load_module
from legonn_core.runtime.encoder_engine import EncoderEngine, calibrated
from legonn_core.runtime.messages import EncodeResult, EncodeStep, SlotRef
from legonn_core.search.prefix import PrefixSearch
from tests.support.tiny import SPEECH, SPEECH_SHAPE, speech

SIZE = SPEECH_SHAPE.chunk_samples
ROWS = SPEECH_SHAPE.chunk_rows


@pytest.fixture
def engine(speech_module) -> EncoderEngine:
    return EncoderEngine(speech_module, capacity=4)


def steps(slot: SlotRef, samples: np.ndarray) -> list[EncodeStep]:
    """A whole recording as chunks, the last of which may be short or empty."""
    cut = list(range(0, len(samples), SIZE)) or [0]
    return [
        EncodeStep(slot, seq, samples[at : at + SIZE], is_last=at == cut[-1])
        for seq, at in enumerate(cut)
    ]


def one(engine: EncoderEngine, step: EncodeStep) -> EncodeResult:
    (answer,) = engine.step([step])
    if isinstance(answer, LegonnError):
        raise answer
    return answer


def whole(results: list[EncodeResult]) -> Marginals:
    return Marginals.concatenate([codec.decode(result.marginals) for result in results])


def alone(engine: EncoderEngine, samples: np.ndarray) -> list[EncodeResult]:
    slot = engine.open()
    return [one(engine, step) for step in steps(slot, samples)]


def test_streams_interleaved_equal_each_alone(engine, speech_module):
    lengths = (5 * SIZE, 3 * SIZE + 777, 6 * SIZE - 1, 2 * SIZE)
    recordings = [speech(n, seed=i) for i, n in enumerate(lengths)]
    waiting = [steps(engine.open(), recording) for recording in recordings]
    results: list[list[EncodeResult]] = [[] for _ in recordings]
    rng = np.random.default_rng(0)
    while any(waiting):
        ready = [i for i, left in enumerate(waiting) if left]
        chosen = rng.permutation(ready)[: rng.integers(1, len(ready) + 1)].tolist()
        answers = engine.step([waiting[i].pop(0) for i in chosen])
        for i, answer in zip(chosen, answers, strict=True):
            assert isinstance(answer, EncodeResult)
            results[i].append(answer)
    assert engine.slots.num_open == 0
    for recording, found in zip(recordings, results, strict=True):
        expected = alone(EncoderEngine(speech_module, capacity=1), recording)
        assert [r.best.tokens for r in found] == [r.best.tokens for r in expected]
        assert [r.total_rows for r in found] == [r.total_rows for r in expected]
        assert (whole(found).ids[:, 0] == whole(expected).ids[:, 0]).all()
        blanks = [b for r in found for b in r.blank_probs]
        assert np.allclose(blanks, [b for r in expected for b in r.blank_probs], atol=1e-5)


def test_rows_are_what_the_network_makes(engine):
    samples = speech(4 * SIZE, seed=2)
    found = whole(alone(engine, samples))
    padded = np.concatenate([samples, np.zeros(2 * SIZE, np.float32)])
    with torch.no_grad():
        logits, rows = engine.network(torch.from_numpy(padded)[None], torch.tensor([6]))
    expected = logits[0, : int(rows[0])].softmax(dim=-1).numpy()
    assert len(found) == len(expected)
    top = np.exp(found.log_probs[:, 0])
    assert np.abs(top - expected.max(axis=1)).max() < codec.VARIATION_LOSS
    assert (found.ids[:, 0] == expected.argmax(axis=1)).all()


def test_a_result_describes_its_rows(engine):
    results = alone(engine, speech(3 * SIZE + 100, seed=4))
    joined = whole(results)
    assert [r.num_rows for r in results[:3]] == [ROWS - 2, ROWS, ROWS]
    assert results[-1].total_rows == len(joined) == sum(r.num_rows for r in results)
    assert joined.times_ms.tolist() == [40 + 80 * i for i in range(len(joined))]
    assert joined.fingerprint == engine.module.card.contract.fingerprint
    for result in results:
        block = codec.decode(result.marginals)
        assert tuple(block.times_ms.tolist()) == result.times_ms
        assert len(result.blank_probs) == result.num_rows == len(block)
    search = PrefixSearch()
    again = search.best(search.advance(search.start(), joined))
    assert again.tokens == results[-1].best.tokens


@pytest.mark.parametrize("extra", [0, 1, SIZE // 2, SIZE])
def test_the_end_is_followed_by_enough_silence(engine, extra):
    """Whatever the last chunk holds, the rows of its last sample come out with their context."""
    slot = engine.open()
    samples = speech(SIZE + extra, seed=1)
    first = one(engine, EncodeStep(slot, 0, samples[:SIZE]))
    last = one(engine, EncodeStep(slot, 1, samples[SIZE:], is_last=True))
    heard_ms = len(samples) / 16
    assert last.total_rows * 80 >= heard_ms + 400 - 160
    assert last.total_rows == first.num_rows + last.num_rows
    with pytest.raises(StateLost):
        one(engine, EncodeStep(slot, 2, samples[:SIZE]))


def test_an_empty_stream_ends_too(engine):
    slot = engine.open()
    result = one(engine, EncodeStep(slot, 0, np.zeros(0, np.float32), is_last=True))
    assert result.total_rows > 0
    assert engine.slots.num_open == 0


def test_trailing_blank_counts_silent_rows(engine, speech_module):
    sure = replace(speech_module.card, calibration=Calibration(blank_bias=99.0))
    silent = EncoderEngine(replace(speech_module, card=sure), capacity=1)
    results = alone(silent, speech(3 * SIZE))
    assert [r.trailing_blank_ms for r in results] == [80 * r.total_rows for r in results]
    assert results[-1].best.tokens == ()
    never = replace(speech_module.card, calibration=Calibration(blank_bias=-99.0))
    loud = EncoderEngine(replace(speech_module, card=never), capacity=1)
    assert {r.trailing_blank_ms for r in alone(loud, speech(3 * SIZE))} == {0}


def test_calibration_divides_and_then_lifts_blank():
    logits = torch.tensor([[2.0, 4.0, -2.0]])
    expected = torch.tensor([[1.5, 2.0, -1.0]]).log_softmax(dim=-1)
    torch.testing.assert_close(calibrated(logits, 2.0, 0.5), expected)
    assert logits.tolist() == [[2.0, 4.0, -2.0]]


def test_there_are_as_many_streams_as_slots(engine):
    slots = [engine.open() for _ in range(4)]
    with pytest.raises(AdmissionRefused):
        engine.open()
    engine.close(slots[2])
    assert engine.open().slot == slots[2].slot


def test_a_stream_may_last_as_long_as_the_network_was_made_for(engine):
    slot = engine.open()
    chunk = np.zeros(SIZE, np.float32)
    for seq in range(SPEECH_SHAPE.max_chunks - 2):
        one(engine, EncodeStep(slot, seq, chunk))
    with pytest.raises(LimitExceeded, match="a segment may last 8 seconds"):
        one(engine, EncodeStep(slot, seq + 1, chunk, is_last=True))
    one(engine, EncodeStep(slot, seq + 1, chunk[:0], is_last=True))


BAD_SAMPLES = {
    "short": np.zeros(SIZE - 1, np.float32),
    "long": np.zeros(SIZE + 1, np.float32),
    "stereo": np.zeros((SIZE, 2), np.float32),
    "none": np.zeros(0, np.float32),
    "nan": np.full(SIZE, np.nan, np.float32),
    "infinite": np.full(SIZE, -np.inf, np.float32),
    "whole numbers": np.full(SIZE, 12000.0, np.float32),
    "huge": np.full(SIZE, 1e38, np.float32),
}


@pytest.mark.parametrize("samples", BAD_SAMPLES.values(), ids=BAD_SAMPLES.keys())
def test_a_refused_request_harms_nobody(engine, speech_module, samples):
    good, bad = engine.open(), engine.open()
    recording = speech(3 * SIZE, seed=8)
    for seq, step in enumerate(steps(good, recording)):
        refused, answer = engine.step([EncodeStep(bad, 0, samples), step])
        assert isinstance(refused, BadAudio)
        assert isinstance(answer, EncodeResult), seq
    assert one(engine, EncodeStep(bad, 0, recording[:SIZE])).num_rows == ROWS - 2
    expected = alone(EncoderEngine(speech_module, capacity=1), recording)
    assert answer.best == expected[-1].best


def test_a_stream_of_nonsense_numbers_ends_alone(engine):
    """NaN in a stream's state: that stream is told and closed, its row cleaned, others go on."""
    good, bad = engine.open(), engine.open()
    recording = speech(2 * SIZE, seed=8)
    first, second = steps(good, recording)
    engine.step([first])
    engine._state["values_0"][bad.slot] = float("nan")
    one_chunk = EncodeStep(bad, 0, recording[:SIZE], is_last=True)
    # masked positions hide the NaN nowhere: 0 * NaN is NaN
    broken, fine = engine.step([one_chunk, second])
    assert isinstance(broken, NonFiniteMarginals)
    assert isinstance(fine, EncodeResult)
    assert engine.slots.num_open == 0
    assert not any(tensor[bad.slot].any() for tensor in engine._state.tensors.values())


def test_names_and_order_are_checked(engine):
    slot, chunk = engine.open(), np.zeros(SIZE, np.float32)
    stale = replace(slot, epoch=slot.epoch - 1)
    answers = engine.step([EncodeStep(stale, 0, chunk)])
    assert isinstance(answers[0], StateLost)
    with pytest.raises(ProtocolViolation, match="step 1 came where 0 was due"):
        one(engine, EncodeStep(slot, 1, chunk))
    one(engine, EncodeStep(slot, 0, chunk))
    engine.close(stale)
    one(engine, EncodeStep(slot, 1, chunk))


def test_a_freed_row_is_zeroed(engine):
    """A canary: nothing that one caller said is left for the next."""
    canary, neighbour = engine.open(), engine.open()
    for slot in (canary, neighbour):
        one(engine, EncodeStep(slot, 0, speech(SIZE)))
    state = engine._state
    assert any(tensor[canary.slot].any() for tensor in state.tensors.values())
    engine.close(canary)
    assert not any(tensor[canary.slot].any() for tensor in state.tensors.values())
    assert any(tensor[neighbour.slot].any() for tensor in state.tensors.values())
    assert engine.open().slot == canary.slot
    assert alone(engine, speech(2 * SIZE, seed=3))[-1].total_rows


def test_a_stream_that_breaks_the_network_fails_alone(speech_module, tiny_store, monkeypatch):
    engine = EncoderEngine(load_module(tiny_store, SPEECH), capacity=3)
    alone = EncoderEngine(speech_module, capacity=3)
    size = engine.network.shape.chunk_samples
    chunks = [speech(2 * size, seed=seed).reshape(2, size) for seed in (1, 2, 3)]
    chunks[1][1, 7] = 1.5  # allowed, and here the mark of what breaks
    plain = engine.network.step

    def step(samples, state):
        if bool((samples == 1.5).any()):
            raise ZeroDivisionError
        return plain(samples, state)

    monkeypatch.setattr(engine.network, "step", step)
    slots = [engine.open() for _ in chunks]
    others = [alone.open() for _ in chunks]
    for seq in range(2):
        found = engine.step(
            [EncodeStep(s, seq, c[seq]) for s, c in zip(slots, chunks, strict=True)]
        )
        for row in (0, 2):
            (expected,) = alone.step([EncodeStep(others[row], seq, chunks[row][seq])])
            assert found[row].best.tokens == expected.best.tokens
            assert found[row].total_rows == expected.total_rows
    assert type(found[1]) is InternalFault
    assert not engine.slots.holds(slots[1].slot, slots[1].epoch)


def test_only_a_stream_that_sends_nothing_is_reaped(speech_module):
    engine = EncoderEngine(speech_module, capacity=2)
    size = engine.network.shape.chunk_samples
    idle, busy = engine.open(), engine.open()
    engine.step([EncodeStep(idle, 0, speech(size)), EncodeStep(busy, 0, speech(size))])
    assert engine.reap() == 0, "both were fed since the last time"
    engine.step([EncodeStep(busy, 1, speech(size))])
    assert engine.reap() == 1
    assert not any(bool(t[idle.slot].any()) for t in engine._state.tensors.values()), "zeroed"
    (answer,) = engine.step([EncodeStep(idle, 1, speech(size))])
    assert type(answer) is StateLost
    again = engine.open()
    assert (again.slot, again.epoch) == (idle.slot, idle.epoch + 1)
