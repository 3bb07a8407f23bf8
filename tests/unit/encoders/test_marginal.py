from __future__ import annotations

import math

import pytest
import torch

from legonn_core.encoders.marginal import MarginalEncoder, MarginalEncoderShape
from tests.support.tiny import lively


def module(**changes: int | str) -> MarginalEncoder:
    sizes: dict[str, int | str] = {"width": 16, "hidden": 32, "num_heads": 2, "window": 4}
    shape = MarginalEncoderShape(12, 20, **(sizes | changes))  # type: ignore[arg-type] # mixed on purpose
    return lively(MarginalEncoder(shape))


def mixture(network: MarginalEncoder, batch: int, count: int) -> torch.Tensor:
    logits = 3 * torch.randn(batch, count, 12, generator=torch.Generator().manual_seed(count))
    return network.ingestor.mix_dense(logits.softmax(-1), torch.zeros(batch, count))


@torch.no_grad()
@pytest.mark.parametrize("rate", [(1, 2), (2, 3), (3, 2), (3, 8)])
@pytest.mark.parametrize("kind", ["weighted", "beam"])
def test_it_writes_as_many_rows_as_its_rate_says(rate, kind):
    network = module(rows_numerator=rate[0], rows_denominator=rate[1], ingestor=kind)
    logits, rows = network(mixture(network, 2, 11), torch.tensor([11, 5]))
    assert logits.shape == (2, math.ceil(11 * rate[0] / rate[1]), 20)
    assert rows.tolist() == [math.ceil(n * rate[0] / rate[1]) for n in (11, 5)]


@torch.no_grad()
def test_batches_are_invisible():
    network = module(receptive_field=3, rows_numerator=2, rows_denominator=3)
    mixed, lengths = mixture(network, 3, 10), torch.tensor([4, 10, 1])
    together, rows = network(mixed, lengths)
    for row, length in enumerate(lengths.tolist()):
        alone, count = network(mixed[row : row + 1, :length], lengths[row : row + 1])
        assert count[0] == rows[row]
        torch.testing.assert_close(together[row, : count[0]], alone[0], atol=1e-5, rtol=0)


def test_a_rate_must_be_positive():
    with pytest.raises(ValueError, match="0/2"):
        MarginalEncoderShape(12, 20, rows_numerator=0)
