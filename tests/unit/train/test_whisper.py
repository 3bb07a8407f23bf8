from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from legonn_core.train.whisper import load_trunk, read_tensors
from tests.support.tiny import SPEECH_SHAPE, speech_encoder
from tests.support.whisper_file import trunk_tensors, write


def test_only_the_floats_below_a_prefix_are_read(tmp_path):
    path = tmp_path / "model.bin"
    write(
        path,
        {
            "encoder/a": np.float32([[1.5, 2.5]]),
            "encoder/half": np.float16([0.25]),
            "encoder/whole": np.int8([3]),
            "decoder/b": np.float32([9.0]),
        },
    )
    found = read_tensors(path)
    assert found.keys() == {"a", "half"}
    assert found["a"].tolist() == [[1.5, 2.5]]
    assert found["half"].dtype == np.float32


def test_another_format_is_refused(tmp_path):
    write(tmp_path / "model.bin", {}, version=5)
    with pytest.raises(ValueError, match=r"model\.bin is of format version 5"):
        read_tensors(tmp_path / "model.bin")


def test_the_trunk_is_taken_and_the_rest_stays(tmp_path):
    whisper, encoder = speech_encoder(seed=1), speech_encoder(seed=2)
    write(tmp_path / "model.bin", trunk_tensors(whisper))
    before = {name: p.clone() for name, p in encoder.named_parameters()}
    load_trunk(encoder, tmp_path / "model.bin")
    theirs = dict(whisper.named_parameters())
    for name, parameter in encoder.named_parameters():
        is_trunk = name.startswith(("conv", "layers.", "trunk_norm"))
        assert torch.equal(parameter, (theirs if is_trunk else before)[name]), name


def test_a_model_of_another_size_is_refused(tmp_path):
    tensors = trunk_tensors(speech_encoder())
    deeper = speech_encoder(shape=replace(SPEECH_SHAPE, layers=3))
    write(tmp_path / "less.bin", {n: v for n, v in tensors.items() if "layer_norm" not in n})
    with pytest.raises(KeyError):
        load_trunk(speech_encoder(), tmp_path / "less.bin")
    write(tmp_path / "model.bin", tensors)
    with pytest.raises(KeyError):
        load_trunk(deeper, tmp_path / "model.bin")
