from __future__ import annotations

import numpy as np
import pytest
import torch

from legonn_core.ingestors.beam_convolution import BeamConvolutionIngestor
from legonn_core.ingestors.ingestor import IngestorShape
from legonn_core.interface.marginals import Marginals
from tests.support.tiny import NUM_CLASSES, lively

RANKS = 4


def shape(**changes: int) -> IngestorShape:
    sizes = {"num_layers": 2, "max_rows": 50, "ranks": RANKS, "rank_width": 6} | changes
    return IngestorShape(NUM_CLASSES, 16, 2, 32, **sizes)


@pytest.fixture(scope="module")
def ingestor() -> BeamConvolutionIngestor:
    return lively(BeamConvolutionIngestor(shape(receptive_field=3)))


def rows(batch: int, count: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(count)
    return (3 * torch.randn(batch, count, NUM_CLASSES, generator=generator)).softmax(dim=-1)


def test_no_gradient_crosses(ingestor):
    logits = torch.randn(1, 4, NUM_CLASSES, requires_grad=True)
    probs = logits.softmax(dim=-1)
    kept, ids = probs.topk(8, dim=-1)
    for mixed in (
        ingestor.mix_dense(probs, torch.zeros(1, 4)),
        ingestor.mix_sparse(ids, kept, torch.zeros(1, 4)),
    ):
        out = ingestor(mixed, torch.tensor([4]))
        out.sum().backward()
        assert logits.grad is None
    assert ingestor.embedding.weight.grad is not None


def test_only_the_order_of_classes_is_read(ingestor):
    logits = 2 * torch.randn(2, 5, NUM_CLASSES, generator=torch.Generator().manual_seed(1))
    tail = torch.zeros(2, 5)
    sharp, flat = (ingestor.mix_dense((logits / t).softmax(-1), tail) for t in (0.5, 2.0))
    assert torch.equal(sharp, flat)
    other = ingestor.mix_dense((-logits).softmax(-1), tail)
    assert not torch.equal(sharp, other)


def test_wire_and_full_rows_are_read_alike(ingestor):
    probs = rows(1, 6)
    block = Marginals.from_dense(probs[0].log().numpy(), 8, times_ms=np.arange(6), fingerprint="x")
    ids = torch.from_numpy(block.ids.astype(np.int64))[None]
    listed = torch.from_numpy(np.exp(block.log_probs))[None]
    sparse = ingestor.mix_sparse(ids, listed, torch.from_numpy(block.tail)[None])
    # Blank is listed whatever its probability, so it may only replace the last listed class.
    assert torch.equal(sparse, ingestor.mix_dense(probs, torch.zeros(1, 6)))


def test_a_class_listed_twice_counts_once_with_its_whole_mass(ingestor):
    twice = ingestor.mix_sparse(
        torch.tensor([[[3, 5, 3]]]), torch.tensor([[[0.3, 0.4, 0.3]]]), torch.zeros(1, 1)
    )
    once = ingestor.mix_sparse(
        torch.tensor([[[5, 3]]]), torch.tensor([[[0.4, 0.6]]]), torch.zeros(1, 1)
    )
    assert torch.equal(twice, once)


def test_what_was_cut_off_is_absent_and_no_class(ingestor):
    probs = torch.zeros(1, 1, NUM_CLASSES)
    probs[0, 0, 7] = 1.0
    mixed = ingestor.mix_dense(probs, torch.zeros(1, 1)).view(RANKS, -1)
    table = ingestor.embedding.weight
    assert torch.equal(mixed[0], table[7])
    assert all(torch.equal(rank, table[NUM_CLASSES]) for rank in mixed[1:])


@torch.no_grad()
def test_batches_are_invisible_with_a_wide_field(ingestor):
    mixture, lengths = ingestor.mix_dense(rows(3, 9), torch.zeros(3, 9)), torch.tensor([4, 9, 1])
    together = ingestor(mixture, lengths)
    for row, length in enumerate(lengths.tolist()):
        alone = ingestor(mixture[row : row + 1, :length], lengths[row : row + 1])
        torch.testing.assert_close(together[row, :length], alone[0], atol=1e-5, rtol=0)


@pytest.mark.parametrize("wrong", [{"receptive_field": 2}, {"ranks": 0}, {"adapter_width": -1}])
def test_sizes_that_cannot_be(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        shape(**wrong)
