from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from legonn_core.errors import BadModule, NonFiniteMarginals
from legonn_core.modules import golden
from legonn_core.modules.registry import load_module
from tests.support.tiny import DECODER, GERMAN, NUM_CLASSES, SPEECH, SPEECH_SHAPE, speech_encoder

ALL = pytest.mark.parametrize("ref", [SPEECH, GERMAN, DECODER], ids=str)


def folder_of(store, ref):
    return store / ref.name / ref.version


@ALL
def test_a_module_does_what_it_did_at_home(tiny_store, ref):
    assert golden.check(load_module(tiny_store, ref), folder_of(tiny_store, ref)) < 1e-4


@ALL
def test_what_is_stored_are_distributions(tiny_store, ref):
    with np.load(folder_of(tiny_store, ref) / golden.FILE) as stored:
        found = golden.run(load_module(tiny_store, ref), stored["given"])
        rows = stored["probs"].shape[0]
    assert found.shape == (rows, NUM_CLASSES)
    assert np.allclose(found.sum(axis=1), 1.0, atol=1e-5)
    assert ref != SPEECH or rows == 3 * SPEECH_SHAPE.chunk_rows - SPEECH_SHAPE.held_rows


def change(store, ref, **arrays):
    path = folder_of(store, ref) / golden.FILE
    with np.load(path) as stored:
        content = {name: stored[name] for name in stored} | arrays
    np.savez_compressed(path, **content)


@ALL
def test_other_numbers_are_refused(store, ref):
    module = load_module(store, ref)
    with np.load(folder_of(store, ref) / golden.FILE) as stored:
        probs = stored["probs"]
    probs[-1, 0] += 0.01
    change(store, ref, probs=probs)
    with pytest.raises(BadModule, match=r"differs by 0\.0100 \(at most 0\.001\)"):
        golden.check(module, folder_of(store, ref))
    probs[-1, 0] = np.nan
    change(store, ref, probs=probs)
    with pytest.raises(BadModule, match="differs by nan"):
        golden.check(module, folder_of(store, ref))


def test_an_encoder_that_hears_seams_is_refused(tiny_store):
    """Chunk by chunk it does what it did at home, but the whole recording sounds otherwise."""
    module = load_module(tiny_store, SPEECH)
    whole = module.network.forward

    def otherwise(samples, chunks):
        logits, rows = whole(samples, chunks)
        logits[0, 1, 3] += 50.0
        return logits, rows

    module.network.forward = otherwise
    with pytest.raises(BadModule, match="otherwise than whole"):
        golden.check(module, folder_of(tiny_store, SPEECH))
    module.network.forward = lambda samples, chunks: (whole(samples, chunks)[0], chunks)
    with pytest.raises(BadModule, match="by inf"):
        golden.check(module, folder_of(tiny_store, SPEECH))


def test_other_weights_are_refused(store):
    module = load_module(store, SPEECH)
    other = replace(module, network=speech_encoder(seed=5))
    with pytest.raises(BadModule, match="do not compute what the card promises"):
        golden.check(other, folder_of(store, SPEECH))


def test_another_number_of_rows_is_refused(store):
    change(store, DECODER, probs=np.zeros((2, 8)), classes=np.zeros((2, 8), np.uint16))
    with pytest.raises(BadModule, match="golden output has 1 rows, 2 expected"):
        golden.check(load_module(store, DECODER), folder_of(store, DECODER))


def test_outputs_that_are_no_distribution_are_refused(store):
    module = load_module(store, DECODER)
    with torch.no_grad():
        module.network.norm.weight.fill_(float("inf"))
    with pytest.raises(NonFiniteMarginals, match="decoder-en/1"):
        golden.check(module, folder_of(store, DECODER))


@pytest.mark.parametrize(
    ("ref", "given"),
    [
        (SPEECH, np.zeros(SPEECH_SHAPE.chunk_samples - 1, np.int16)),
        (GERMAN, np.full(5, 999, np.int32)),
        (DECODER, np.full(5, 999, np.int32)),
        (DECODER, np.zeros((3, 3, 3), np.int32)),
    ],
    ids=["part of a chunk", "no such piece", "no such class", "no sequence"],
)
def test_an_input_that_does_not_fit_is_refused(store, ref, given):
    change(store, ref, given=given)
    with pytest.raises(BadModule, match=r"the input in golden/golden\.npz does not fit"):
        golden.check(load_module(store, ref), folder_of(store, ref))


@pytest.mark.parametrize("content", [b"", b"PK", b"junk", None], ids=["empty", "cut", "junk", "no"])
def test_a_file_that_cannot_be_read_is_refused(store, content):
    path = folder_of(store, DECODER) / golden.FILE
    path.unlink() if content is None else path.write_bytes(content)
    with pytest.raises(BadModule, match=r"decoder-en/1: golden/golden\.npz cannot be read"):
        golden.check(load_module(store, DECODER), folder_of(store, DECODER))


def test_a_damaged_file_is_refused(store):
    path = folder_of(store, SPEECH) / golden.FILE
    content = bytearray(path.read_bytes())
    content[200:260] = bytes(60)
    path.write_bytes(content)
    with pytest.raises(BadModule):
        golden.check(load_module(store, SPEECH), folder_of(store, SPEECH))
