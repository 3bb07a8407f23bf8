from __future__ import annotations

import numpy as np
import pytest
import torch

from legonn_core.ingestors.ingestor import IngestorShape
from legonn_core.ingestors.weighted_embedding import WeightedEmbeddingIngestor
from legonn_core.interface.marginals import Marginals
from tests.support.tiny import NUM_CLASSES, lively


@pytest.fixture(scope="module")
def ingestor() -> WeightedEmbeddingIngestor:
    shape = IngestorShape(NUM_CLASSES, 16, 2, 32, num_layers=2, max_rows=50)
    return lively(WeightedEmbeddingIngestor(shape))


def rows(batch: int, count: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(count)
    return (3 * torch.randn(batch, count, NUM_CLASSES, generator=generator)).softmax(dim=-1)


def test_sparse_and_dense_mixtures_are_one(ingestor):
    probs = rows(2, 6)
    kept, ids = probs.topk(8, dim=-1)
    tail = 1.0 - kept.sum(dim=-1)
    dense = torch.zeros_like(probs).scatter(-1, ids, kept)
    torch.testing.assert_close(
        ingestor.mix_sparse(ids, kept, tail), ingestor.mix_dense(dense, tail), atol=1e-5, rtol=0
    )


def test_what_crosses_the_wire_mixes_as_it_was_made(ingestor):
    probs = rows(1, 5)
    block = Marginals.from_dense(
        probs[0].log().numpy(), NUM_CLASSES, times_ms=np.arange(5), fingerprint="x"
    )
    ids = torch.from_numpy(block.ids.astype(np.int64))[None]
    listed = torch.from_numpy(np.exp(block.log_probs))[None]
    sparse = ingestor.mix_sparse(ids, listed, torch.from_numpy(block.tail)[None])
    torch.testing.assert_close(
        sparse, ingestor.mix_dense(probs, torch.zeros(1, 5)), atol=1e-5, rtol=0
    )


def test_a_certain_row_is_its_class(ingestor):
    certain = torch.eye(NUM_CLASSES)[None, [7]]
    mixed = ingestor.mix_dense(certain, torch.zeros(1, 1))
    torch.testing.assert_close(mixed[0, 0], ingestor.embedding[7])
    nothing = ingestor.mix_dense(torch.zeros(1, 1, NUM_CLASSES), torch.ones(1, 1))
    torch.testing.assert_close(nothing[0, 0], ingestor.rest)


@torch.no_grad()
def test_batches_are_invisible(ingestor):
    mixture, lengths = ingestor.mix_dense(rows(3, 9), torch.zeros(3, 9)), torch.tensor([4, 9, 1])
    together = ingestor(mixture, lengths)
    for row, length in enumerate(lengths.tolist()):
        alone = ingestor(mixture[row : row + 1, :length], lengths[row : row + 1])
        torch.testing.assert_close(together[row, :length], alone[0], atol=1e-5, rtol=0)


@pytest.mark.parametrize("form", ["dense", "sparse"])
def test_gradients_flow_through_the_marginals(ingestor, form):
    logits = torch.randn(1, 4, NUM_CLASSES, requires_grad=True)
    probs = logits.softmax(dim=-1)
    if form == "dense":
        mixture = ingestor.mix_dense(probs, torch.zeros(1, 4))
    else:
        kept, ids = probs.topk(6, dim=-1)
        mixture = ingestor.mix_sparse(ids, kept, 1.0 - kept.sum(dim=-1))
    ingestor(mixture, torch.tensor([4]))[..., 0].sum().backward()
    assert logits.grad is not None
    assert (logits.grad.abs().amax(dim=-1) > 0).all()
