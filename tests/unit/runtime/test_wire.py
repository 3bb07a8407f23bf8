from __future__ import annotations

import numpy as np
import pytest

from legonn_core.errors import BrokenInvariant, InternalFault, StateLost, error_classes
from legonn_core.interface.reference import ModuleDescription, ModuleRef
from legonn_core.runtime import wire
from legonn_core.runtime.messages import (
    BackendHealth,
    DecodedText,
    DecodeJob,
    DecodeKind,
    DecodeResult,
    EncodeResult,
    Prefix,
    Word,
)
from legonn_core.runtime.wire import Answer, Call, Fault, Letter, Op

JOB = DecodeJob(
    ModuleRef("decoder-en", "1"),
    (b"\x00rows", b"more\xff"),
    kind=DecodeKind.COMMIT,
    forced=(3, 4),
    ctc_weight=0.1 + 0.2,
    max_row=7,
)
WORD = Word("naïve", 10, 90, 1 / 3, 2, 4)
ENCODED = EncodeResult(b"\x00\xff", 2, 4, Prefix((5,), (1,), -0.1), 80, (0.25, 1.0), (40, 120))
CALLS = [
    Call(Op.PROBE),
    Call(Op.OPEN),
    Call(Op.STEP, life="a1", slot=3, epoch=9, seq=2, num_samples=5120, is_last=True),
    Call(Op.CLOSE, life="a1", slot=3, epoch=9),
    Call(Op.TEXT, text='„Guten "Tag"\\\n'),
    Call(Op.DECODE, job=JOB),
]
ANSWERS = [
    Answer(),
    Answer(life="a1", slot=3, epoch=9, batch_rows=4, compute_us=1500),
    Answer(encoded=ENCODED),
    Answer(decoded=DecodeResult((DecodedText((1, 2), "naïve", -1e-300, 0.5, (WORD,)),))),
    Answer(health=BackendHealth(is_alive=True, open_slots=2)),
    Answer(fault=Fault.of(StateLost("gone"))),
]


@pytest.mark.parametrize("call", CALLS, ids=lambda call: call.op.value)
def test_a_call_arrives_as_it_was_sent(call):
    assert wire.read_call(wire.write_call(call)) == call


@pytest.mark.parametrize("answer", ANSWERS, ids=range(len(ANSWERS)))
def test_an_answer_arrives_as_it_was_sent(answer):
    assert wire.read_answer(wire.write_answer(answer)) == answer


def test_what_is_large_travels_beside_the_json():
    decode = wire.write_call(Call(Op.DECODE, job=JOB))
    assert decode.blocks == JOB.marginals
    assert b"rows" not in decode.text
    step = wire.write_call(Call(Op.STEP), samples=np.ones(3, np.float32))
    assert step.samples.tolist() == [1, 1, 1]
    assert wire.write_answer(Answer(encoded=ENCODED)).blocks == (ENCODED.marginals,)


def test_a_decode_without_rows_arrives_without_rows():
    """A tensor cannot be empty: an empty block stands for none."""
    empty = wire.write_call(Call(Op.DECODE, job=DecodeJob(JOB.module, ())))
    job = wire.read_call(Letter(empty.text, blocks=(b"",))).job
    assert job is not None
    assert job.marginals == ()


def test_an_empty_letter_is_a_probe():
    assert wire.read_call(Letter(b"")) == Call(Op.PROBE)


@pytest.mark.parametrize(
    "text",
    [b"{", b"[]", b"\xff", b'{"op":"dance"}', b'{"op":"open","x":1}', b'{"op":"step","slot":"0"}'],
)
def test_anything_else_is_refused(text):
    with pytest.raises(BrokenInvariant):
        wire.read_call(Letter(text))


@pytest.mark.parametrize("kind", error_classes()[1:], ids=lambda kind: kind.reason)
def test_every_error_of_the_tree_comes_back_as_itself(kind):
    error = Fault.of(kind("why")).error()
    assert type(error) is kind
    assert error.message == "why"


def test_an_unknown_reason_is_a_fault_of_the_engine():
    assert type(Fault("FROM_THE_FUTURE", "why").error()) is InternalFault


def test_names_of_models_lead_back_to_modules():
    module = ModuleDescription(
        ModuleRef("text-de-x", "12"), "TEXT_ENCODER", "de", "en", "f", "en/1", "0123456789abcdef", 0
    )
    name = wire.model_name(module)
    assert name == "text-de-x-12-0123456789abcdef"
    assert wire.parse_model_name(name) == module.ref
    assert wire.parse_model_name("resnet-50") is None
