"""The engine against the simple reference on the shipped modules: the same tokens, in any batch."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from legonn_core.decoders.decoder import Decoder
from legonn_core.interface import codec
from legonn_core.interface.reference import ModuleRef
from legonn_core.modules.registry import LoadedModule, load_module
from legonn_core.runtime.decode_jobs import PEAKS
from legonn_core.runtime.decoder_engine import DecoderEngine
from legonn_core.runtime.messages import DecodeJob, DecodeResult, EncodeResult, EncodeText
from legonn_core.runtime.text_engine import TextEngine
from legonn_core.search.joint import JointSettings
from tests.support.simple_search import SimpleSearch

MODULES = Path(__file__).parents[2] / "modules"
SENTENCES = {
    "text-de": (
        "Ich habe heute keine Zeit.",
        "Der Hund schl\u00e4ft unter dem alten Tisch.",
        "Nein.",
    ),
    "text-ro": ("Tom spune c\u0103 va a\u0219tepta.", "Unde este gara?"),
}

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def decoder() -> LoadedModule:
    return load_module(MODULES, ModuleRef("decoder-en", "1"))


@pytest.fixture(scope="module")
def jobs(decoder: LoadedModule) -> list[DecodeJob]:
    """Every sentence with its own encoder's weights, in two beam widths."""
    found = []
    for name, sentences in SENTENCES.items():
        module = load_module(MODULES, ModuleRef(name, "1"))
        answers = TextEngine(module).encode([EncodeText(module.ref, text) for text in sentences])
        for beam, answer in zip((5, 2, 5), answers, strict=False):
            assert isinstance(answer, EncodeResult)
            found.append(
                DecodeJob(
                    decoder.ref,
                    (answer.marginals,),
                    beam=beam,
                    ctc_weight=module.card.decoding.ctc_weight,
                    length_bonus=module.card.decoding.length_bonus,
                )
            )
    return found


def run(decoder: LoadedModule, jobs: list[DecodeJob]) -> list[tuple[int, ...]]:
    engine: DecoderEngine[int] = DecoderEngine(decoder)
    for number, job in enumerate(jobs):
        engine.submit(number, job)
    found: dict[int, tuple[int, ...]] = {}
    while engine.num_jobs:
        for number, answer in engine.step():
            assert isinstance(answer, DecodeResult)
            found[number] = answer.hypotheses[0].tokens
    return [found[number] for number in range(len(jobs))]


@torch.no_grad()
def reference(module: LoadedModule, job: DecodeJob) -> tuple[int, ...]:
    """Token by token with ``Decoder.step``, caches copied, one search in the log domain."""
    network, block = module.network, codec.decode(job.marginals[0])
    assert isinstance(network, Decoder)
    assert job.ctc_weight is not None
    assert job.length_bonus is not None
    settings = JointSettings(
        beam=job.beam,
        ctc_weight=job.ctc_weight,
        length_bonus=job.length_bonus,
        peaks=PEAKS,
        needs_trace=True,
    )
    search = SimpleSearch(settings, block.dense(module.card.contract.num_classes))
    ids = torch.from_numpy(block.ids.astype(np.int64))[None]
    probs, tail = torch.from_numpy(np.exp(block.log_probs))[None], torch.from_numpy(block.tail)
    lengths = torch.tensor([len(block)])
    read = network.ingestor.read_sparse(ids, probs, tail[None], lengths)
    memory = network.remember(read.mixture, read.lengths)
    state, found = network.start(1, job.beam), search.start()
    while not found.is_done:
        log_probs, state = network.step(torch.from_numpy(found.last_tokens), memory, state)
        found = search.advance(found, log_probs.numpy())
        state = state.reorder(torch.from_numpy(found.parents))
    return search.finish(found)[0].tokens


def test_batched_equals_alone_and_both_equal_the_reference(decoder, jobs):
    together = run(decoder, jobs)
    assert all(together)
    for job, tokens in zip(jobs, together, strict=True):
        assert run(decoder, [job]) == [tokens]
        assert reference(decoder, job) == tokens
