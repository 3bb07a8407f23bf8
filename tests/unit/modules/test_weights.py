from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from legonn_core.errors import BadModule
from legonn_core.interface.card import FileDigest
from legonn_core.modules import weights


@settings(max_examples=30)
@given(seed=st.integers(0, 999), shape=st.sampled_from([(3, 5), (1, 7), (4, 2, 3), (6, 1)]))
def test_a_matrix_comes_back_within_half_a_step(seed: int, shape: tuple[int, ...]) -> None:
    generator = torch.Generator().manual_seed(seed)
    matrix = torch.randn(shape, generator=generator) * 10 ** torch.randn(1, generator=generator)
    stored = weights.quantize({"m": matrix})
    assert stored["m"].dtype is torch.int8
    error = (weights.dequantize(stored)["m"] - matrix).abs()
    assert (error <= stored["m.scale"] * (0.5 + 1e-4)).all()


def test_vectors_and_odd_matrices_survive():
    given_weights = {
        "vector": torch.tensor([1.5, -2.25]),
        "half": torch.tensor([0.5], dtype=torch.bfloat16),
        "zero": torch.zeros(2, 3),
    }
    found = weights.dequantize(weights.quantize(given_weights))
    assert found.keys() == given_weights.keys()
    assert torch.equal(found["vector"], given_weights["vector"])
    assert found["half"].dtype is torch.float32
    assert torch.equal(found["zero"], torch.zeros(2, 3))


def test_what_is_saved_is_loaded(tmp_path):
    expected = weights.save(tmp_path / "w", {"m": torch.eye(3), "v": torch.ones(2)})
    content = weights.read_checked(tmp_path, "w", expected)
    assert expected == weights.digest(content)
    found = weights.load(content, what="it")
    torch.testing.assert_close(found["m"], torch.eye(3))


def test_files_that_are_not_the_cards_are_refused(tmp_path):
    folder = tmp_path / "speech-en" / "3"
    folder.mkdir(parents=True)
    (folder / "w").write_bytes(b"some bytes")
    right = weights.digest(b"some bytes")
    with pytest.raises(BadModule, match=r"speech-en/3: x cannot be read \(No such file"):
        weights.read_checked(folder, "x", right)
    with pytest.raises(BadModule, match="speech-en/3: w has 10 bytes, its card says 11"):
        weights.read_checked(folder, "w", FileDigest(right.sha256, 11))
    with pytest.raises(BadModule, match="speech-en/3: w does not have the sha256"):
        weights.read_checked(folder, "w", FileDigest("0" * 64, 10))


@pytest.mark.parametrize("content", [b"", b"not tensors", b"\xff" * 40])
def test_what_is_no_tensor_file_is_refused(content):
    with pytest.raises(BadModule, match="text-de/1: not a safetensors file"):
        weights.load(content, what="text-de/1")
