"""Compressed reading: silent rows are left out, runs become one vector, alone or in a batch."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from legonn_core.ingestors.ingestor import IngestorShape
from legonn_core.ingestors.weighted_embedding import WeightedEmbeddingIngestor

CLASSES = 6
SHAPE = IngestorShape(
    CLASSES, 16, 2, 32, num_layers=1, max_rows=64, receptive_field=3, ranks=4, blank_limit=0.9
)


@pytest.fixture
def ingestor():
    torch.manual_seed(1)
    return WeightedEmbeddingIngestor(SHAPE).eval()


def rows(*classes: int, mass: float = 0.96) -> torch.Tensor:
    """(1, U, V): each row sure of one class."""
    probs = torch.full((1, len(classes), CLASSES), (1.0 - mass) / (CLASSES - 1))
    probs[0, torch.arange(len(classes)), torch.tensor(classes)] = mass
    return probs


def none(probs: torch.Tensor) -> torch.Tensor:
    return torch.zeros(probs.shape[:2])


@pytest.mark.parametrize(
    ("classes", "starts"),
    [
        ((0, 1, 1, 0, 0, 2, 3, 3, 0), [1, 5, 6]),
        ((1, 0, 1), [0, 2]),
        ((4, 4, 4), [0]),
        ((0, 0, 0), [0]),
        ((5,), [0]),
    ],
)
def test_what_is_left_is_where_a_token_begins(ingestor, classes, starts):
    probs = rows(*classes)
    read = ingestor.read_dense(probs, none(probs), torch.tensor([len(classes)]))
    assert read.lengths.tolist() == [len(starts)]
    assert read.rows[0].tolist() == starts


def test_a_run_is_its_mean_and_silence_leaves_no_trace(ingestor):
    probs = torch.cat([rows(1), rows(1, mass=0.6), rows(0), rows(2)], dim=1)
    read = ingestor.read_dense(probs, none(probs), torch.tensor([4]))
    mixed = ingestor.mix_dense(probs, none(probs))[0]
    assert torch.allclose(read.mixture[0, 0], (mixed[0] + mixed[1]) / 2, atol=1e-6)
    assert torch.allclose(read.mixture[0, 1], mixed[3], atol=1e-6)


def test_doubtful_blanks_stay_and_do_not_run_together(ingestor):
    probs = rows(0, 0, mass=0.8)
    read = ingestor.read_dense(probs, none(probs), torch.tensor([2]))
    assert read.lengths.tolist() == [2]


def test_sparse_rows_read_as_dense_ones(ingestor):
    torch.manual_seed(3)
    probs = (torch.randn(2, 9, CLASSES) * 4).softmax(dim=-1)
    ids = torch.arange(CLASSES).expand(2, 9, CLASSES)
    lengths = torch.tensor([9, 4])
    dense, sparse = (
        ingestor.read_dense(probs, none(probs), lengths),
        ingestor.read_sparse(ids, probs, none(probs), lengths),
    )
    assert torch.equal(dense.lengths, sparse.lengths)
    assert torch.equal(dense.rows, sparse.rows)
    assert torch.allclose(dense.mixture, sparse.mixture, atol=1e-6)


def test_alone_and_in_a_batch_the_memory_is_the_same(ingestor):
    probs = torch.cat([rows(0, 1, 1, 2, 0, 3), rows(0, 0, 4, 0, 0, 0)])
    lengths = torch.tensor([6, 3])
    read = ingestor.read_dense(probs, none(probs), lengths)
    memory = ingestor(read.mixture, read.lengths)
    alone = ingestor.read_dense(probs[1:, :3], none(probs[1:, :3]), torch.tensor([3]))
    assert alone.lengths.tolist() == [1] == read.lengths[1:].tolist()
    expected = ingestor(alone.mixture, alone.lengths)[0]
    assert torch.allclose(memory[1, :1], expected, atol=1e-5)


def test_gradients_go_through_to_every_row_that_is_read(ingestor):
    probs = rows(0, 1, 1, 2).requires_grad_()
    read = ingestor.read_dense(probs, none(probs), torch.tensor([4]))
    ingestor(read.mixture, read.lengths)[0, : read.lengths[0]].square().sum().backward()
    assert probs.grad is not None
    touched = probs.grad[0].abs().sum(dim=-1) > 0
    assert touched.tolist() == [False, True, True, True]


def test_without_a_limit_every_row_is_read():
    plain = WeightedEmbeddingIngestor(dataclasses.replace(SHAPE, blank_limit=1.0))
    probs = rows(0, 0, 1)
    read = plain.read_dense(probs, none(probs), torch.tensor([3]))
    assert read.lengths.tolist() == [3]
    assert torch.equal(read.mixture, plain.mix_dense(probs, none(probs)))
