from __future__ import annotations

import pytest
import torch

from legonn_core.nn.transformer import (
    DecoderLayer,
    KeysValues,
    SharedDropout,
    TransformerLayer,
    masked_bias,
)
from tests.support.tiny import lively


def test_a_step_equals_the_whole():
    layer, x = lively(TransformerLayer(16, 2, 32, is_relative=False)), torch.randn(3, 12, 16)
    causal = torch.arange(12)[None, :] <= torch.arange(12)[:, None]
    whole = layer(x, mask=causal[None, None], positions=None)
    past, parts = KeysValues(x.new_zeros(3, 2, 0, 8), x.new_zeros(3, 2, 0, 8)), []
    for start, stop in ((0, 1), (1, 6), (6, 12)):
        mask = causal[None, None, start:stop, :stop]
        part, past = layer.step(x[:, start:stop], past, mask=mask)
        parts.append(part)
    torch.testing.assert_close(torch.cat(parts, dim=1), whole, atol=1e-5, rtol=0)


def test_a_relative_layer_does_not_care_where_it_begins():
    layer, x = lively(TransformerLayer(16, 2, 32)), torch.randn(2, 9, 16)
    here = layer(x, mask=None, positions=torch.arange(9))
    torch.testing.assert_close(here, layer(x, mask=None, positions=torch.arange(9) + 70))


def test_a_decoder_layer_looks_back_only():
    layer, x = lively(DecoderLayer(16, 2, 32)), torch.randn(1, 6, 16)
    memory = KeysValues(*layer.cross_attention.keys_values(torch.randn(1, 5, 16)))
    mask, positions = torch.ones(1, 1, 1, 5, dtype=torch.bool), torch.arange(6)
    before, _ = layer(x, memory, memory_mask=mask, positions=positions)
    x[:, 4:] += 1.0
    after, _ = layer(x, memory, memory_mask=mask, positions=positions)
    torch.testing.assert_close(after[:, :4], before[:, :4])
    assert (after[:, 4:] - before[:, 4:]).abs().max() > 1e-3


def test_shared_dropout_hides_whole_columns_and_keeps_the_mean():
    torch.manual_seed(0)
    dropout = SharedDropout(0.25)
    dropped = dropout(torch.ones(400, 3, 8))
    assert (dropped == dropped[:, :1]).all()
    assert dropped.unique().tolist() == pytest.approx([0.0, 4 / 3])
    assert float(dropped.mean()) == pytest.approx(1.0, abs=0.05)
    x = torch.randn(2, 3, 8)
    assert dropout.eval()(x) is x
    assert SharedDropout(0.0)(x) is x


def test_masked_bias_hides_without_infinities():
    bias = torch.ones(1, 1, 2, 2)
    assert masked_bias(bias, None) is bias
    hidden = masked_bias(bias, torch.tensor([[True, False], [True, True]]))
    assert hidden.isfinite().all()
    assert hidden[0, 0].softmax(dim=-1)[0].tolist() == [1.0, 0.0]
