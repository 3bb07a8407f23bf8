"""Cards: round trip, and refusals that name the key."""

from __future__ import annotations

from dataclasses import replace

import pytest

from legonn_core.errors import BadModule
from legonn_core.interface.card import (
    Calibration,
    ChunkGeometry,
    DataSource,
    DecodingDefaults,
    FileDigest,
    ModuleCard,
    ModuleKind,
    StateTensor,
    TrainingRecord,
)
from legonn_core.interface.contract import Contract

CARD = ModuleCard(
    name="speech-en",
    version="1",
    kind=ModuleKind.SPEECH_ENCODER,
    source_language="en",
    target_language="en",
    vocabulary="en/1",
    contract=Contract("0123456789abcdef", 2001, rows_per_second=12.5, top_k=8),
    architecture={"width": 256, "dropout": 0.1, "kind": "conformer", "causal": True},
    weights={"encoder.safetensors": FileDigest("a" * 64, 12)},
    training=TrainingRecord("speech-en.toml", "b" * 64, (DataSource("LJSpeech", "PD"),), "first"),
    num_parameters=8_200_000,
    created="2025-01-31",
    chunk=ChunkGeometry(16000, 5120, 4000.0, 80.0, 80.0),
    state_layout=(StateTensor("cache", "float32", (4, 50, 64)), StateTensor("n", "int64", ())),
    calibration=Calibration(1.1, -0.2),
    decoding=DecodingDefaults(0.4, 0.5, 8),
    scores={"librispeech_test_other_100.wer": 34.5},
)


def test_round_trip() -> None:
    assert ModuleCard.parse(CARD.to_toml()) == CARD
    plain = replace(CARD, name="decoder-en", kind=ModuleKind.DECODER, chunk=None, scores={})
    assert ModuleCard.parse(plain.to_toml()) == plain
    assert "chunk" not in plain.to_toml()


def test_sizes_and_digest() -> None:
    assert CARD.state_bytes == 4 * 50 * 64 * 4 + 8
    other = replace(CARD, weights={"encoder.safetensors": FileDigest("c" * 64, 12)})
    assert len(CARD.weights_digest) == 16
    assert CARD.weights_digest != other.weights_digest


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('name = "speech-en"', "", "name is missing"),
        ("num_classes = 2001", "", r"contract\.num_classes is missing"),
        ("top_k = 8", "top_k = 8\ntop_p = 1", r"contract\.top_p is not a known key"),
        ("top_k = 8", 'top_k = "8"', r"contract\.top_k is '8', not a value of type int"),
        ("top_k = 8", "top_k = true", r"contract\.top_k is True"),
        ("top_k = 8", "top_k = 0", "contract: top_k is 0"),
        ("SPEECH_ENCODER", "ENCODER", "kind is 'ENCODER', not one of SPEECH_ENCODER"),
        ("SPEECH_ENCODER", "DECODER", "chunk belongs"),
        ('version = "1"', 'version = "1.0"', "version '1.0'"),
        ('"speech-en"', '"Speech En"', "name 'Speech En'"),
        ("aaaa", "", r"weights\.encoder\.safetensors: sha256"),
        ("encoder.safetensors", "../encoder", "outside the module"),
        ('dtype = "float32"', 'dtype = "floaty"', r"state_layout\[0\]: dtype 'floaty'"),
        ("temperature = 1.1", "temperature = 9.0", "calibration: temperature"),
        ("ctc_weight = 0.4", "ctc_weight = 2.0", "decoding: ctc_weight"),
        ("beam = 8", "beam = 0", "decoding: beam"),
        ("row_ms = 80.0", "row_ms = 0", "chunk: .*row_ms"),
        ("lookahead_ms = 80.0", "lookahead_ms = -1", "chunk: .*lookahead_ms"),
        ('"float32"\nshape = [\n    4', '"float32"\nshape = [\n    -4', "shape has"),
        ("num_bytes = 12", "num_bytes = -12", "num_bytes is negative"),
        ("width = 256", "width = 1979-05-27", "architecture.width is"),
        ("width = 256", "width = ", "not TOML"),
    ],
)
def test_refusals(old: str, new: str, message: str) -> None:
    text = CARD.to_toml()
    assert old in text
    with pytest.raises(BadModule, match=message):
        ModuleCard.parse(text.replace(old, new, 1))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("weights = 1", "weights is not a table"),
        ("contract = 1", "contract is not a table"),
        ("state_layout = 1", "state_layout is not an array"),
    ],
)
def test_wrong_shapes(text: str, message: str) -> None:
    key = text.split()[0]
    lines = CARD.to_toml().splitlines()
    top = lines[: lines.index("")]
    known = {"weights": [], "contract": [], "state_layout": []}
    rest = {
        "contract": "[contract]\nfingerprint = 'a'\nnum_classes = 9",
        "weights": "[weights]",
        "architecture": "[architecture]",
        "training": "[training]\nrecipe = ''\nrecipe_sha256 = ''",
    }
    assert key in known
    tables = [table for name, table in rest.items() if name != key]
    with pytest.raises(BadModule, match=message):
        ModuleCard.parse("\n".join([*top, text, *tables]))
