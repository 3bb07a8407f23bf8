"""Engines on a GPU that is not there: torch follows shapes and places, and lets none be mixed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from legonn_core.errors import BadConfig
from legonn_core.modules.registry import LoadedModule, load_module, read_card
from legonn_core.runtime.encoder_engine import EncoderEngine
from legonn_core.runtime.served_model import device_of, load
from legonn_core.runtime.text_engine import TextEngine
from legonn_core.runtime.triton_repository import TritonExport, config_text
from tests.support.tiny import DECODER, GERMAN, SPEECH


@contextmanager
def on_a_gpu(module: LoadedModule) -> Iterator[None]:
    """Move a module to a GPU of which only the name exists."""
    mode = FakeTensorMode()
    torch.__future__.set_overwrite_module_params_on_conversion(True)
    try:
        with mode, torch.no_grad():
            module.network._apply(lambda tensor: mode.from_tensor(tensor).to("cuda"))
            yield
    finally:
        torch.__future__.set_overwrite_module_params_on_conversion(False)


def test_speech_is_encoded_where_the_network_is(tiny_store):
    module = load_module(tiny_store, SPEECH)
    with on_a_gpu(module):
        engine = EncoderEngine(module, capacity=4)
        slots = [engine.open() for _ in range(2)]
        samples = np.zeros((2, engine.network.shape.chunk_samples), np.float32)
        rows, log_probs, state = engine.compute([one.slot for one in slots], samples)
        assert {rows.device.type, log_probs.device.type} == {"cuda"}
        assert {tensor.device.type for tensor in state.tensors.values()} == {"cuda"}
        engine._state.write(rows, state)
        engine.close(slots[0])


def test_sentences_are_encoded_where_the_network_is(tiny_store):
    module = load_module(tiny_store, GERMAN)
    with on_a_gpu(module):
        log_probs, rows = TextEngine(module).compute([[1, 2, 3], [4, 5]])
        assert (log_probs.device.type, rows.device.type) == ("cuda", "cuda")
        assert log_probs.shape[0] == 2


def test_places_that_mix_are_seen(tiny_store):
    """Else the tests above would prove nothing."""
    module = load_module(tiny_store, SPEECH)
    with on_a_gpu(module), pytest.raises(RuntimeError, match=r"(?i)device"):
        module.network.step(
            torch.zeros(1, module.network.shape.chunk_samples), module.network.start(1)
        )


def test_encoders_are_put_on_the_gpu_and_decoders_are_not(tiny_store):
    options = TritonExport(kind="gpu", gpu=1, decoder_instances=3)
    speech, decoder = (
        config_text(read_card(tiny_store, ref), options) for ref in (SPEECH, DECODER)
    )
    assert "kind: KIND_GPU count: 1 gpus: [ 1 ]" in speech
    assert "kind: KIND_CPU count: 3 " in decoder
    assert (device_of("GPU", "1"), device_of("CPU", "0")) == ("cuda:1", "cpu")


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
def test_a_gpu_that_is_not_there_is_said(tmp_path):
    settings = {"THREADS": "1", "LOAD_NICENESS": "0"}
    with pytest.raises(BadConfig, match="no cuda:0 on this server"):
        load(tmp_path, settings, device="cuda:0")
