from __future__ import annotations

import pytest
import torch

from legonn_core.nn.conformer import CausalConvolution, ConformerLayer
from legonn_core.nn.transformer import KeysValues
from tests.support.tiny import lively


@pytest.mark.parametrize("kernel", [1, 2, 5])
def test_convolution_in_parts_equals_the_whole(kernel):
    layer, x = lively(CausalConvolution(8, kernel)), torch.randn(2, 11, 8)
    whole, last = layer(x, x.new_zeros(2, kernel - 1, 8), None)
    history, parts = x.new_zeros(2, kernel - 1, 8), []
    for part in x.split([1, 4, 6], dim=1):
        mixed, history = layer(part, history, None)
        parts.append(mixed)
    torch.testing.assert_close(torch.cat(parts, dim=1), whole, atol=1e-5, rtol=0)
    torch.testing.assert_close(history, last)


def test_positions_before_the_beginning_count_as_nothing():
    layer, x = lively(CausalConvolution(8, 3)), torch.randn(1, 5, 8)
    valid = torch.tensor([[False, False, True, True, True]])
    nothing = x.new_zeros(1, 2, 8)
    with_lead, _ = layer(x, nothing, valid)
    without, _ = layer(x[:, 2:], nothing, None)
    torch.testing.assert_close(with_lead[:, 2:], without, atol=1e-5, rtol=0)


def test_a_layer_in_parts_equals_the_whole():
    layer, x = lively(ConformerLayer(16, 2, 32, 4)), torch.randn(2, 10, 16)
    causal = torch.arange(10)[None, :] <= torch.arange(10)[:, None]
    empty = KeysValues(x.new_zeros(2, 2, 0, 8), x.new_zeros(2, 2, 0, 8))
    past, convolved = empty, x.new_zeros(2, 3, 16)
    whole, _, _ = layer(x, mask=causal, positions=torch.arange(10), past=past, convolved=convolved)
    parts = []
    for start, stop in ((0, 3), (3, 4), (4, 10)):
        part, past, convolved = layer(
            x[:, start:stop],
            mask=causal[start:stop, :stop],
            positions=torch.arange(start, stop),
            past=past,
            convolved=convolved,
        )
        parts.append(part)
    torch.testing.assert_close(torch.cat(parts, dim=1), whole, atol=1e-5, rtol=0)
