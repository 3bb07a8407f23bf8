from __future__ import annotations

import pytest
import torch

from legonn_core.nn.attention import Attention, attend


@pytest.fixture
def parts():
    generator = torch.Generator().manual_seed(0)
    shapes = ((2, 2, 5, 8), (2, 2, 7, 8), (2, 2, 7, 8))
    return [torch.randn(shape, generator=generator) for shape in shapes]


@pytest.mark.parametrize("kind", ["none", "bool", "float"])
def test_training_and_inference_attend_alike(parts, kind):
    visible = torch.arange(7)[None, :] <= torch.arange(5)[:, None]
    mask = {"none": None, "bool": visible, "float": torch.randn(1, 2, 5, 7)}[kind]
    trained = attend(*parts, mask=mask)
    with torch.no_grad():
        served = attend(*parts, mask=mask)
    torch.testing.assert_close(served, trained, atol=1e-5, rtol=0)


def test_what_is_masked_has_no_influence(parts):
    query, keys, values = parts
    mask = torch.arange(7) < 4
    before = attend(query, keys, values, mask=mask)
    keys[:, :, 4:], values[:, :, 4:] = 1e3, -1e3
    torch.testing.assert_close(attend(query, keys, values, mask=mask), before)


def test_attention_is_a_weighted_mean(parts):
    query, keys, values = parts
    weights = (query @ keys.mT / 8**0.5).softmax(dim=-1)
    torch.testing.assert_close(attend(query, keys, values, mask=None), weights @ values)


def test_width_must_divide_into_heads():
    with pytest.raises(ValueError, match="10 is not a multiple of 4"):
        Attention(10, 4)


def test_rotary_attention_sees_differences_of_positions_only():
    torch.manual_seed(0)
    layer, x = Attention(16, 2, rotary=True), torch.randn(1, 6, 16)

    def at(offset: int) -> torch.Tensor:
        positions = torch.arange(6) + offset
        keys, values = layer.keys_values(x, positions)
        return layer(x, keys, values, positions=positions)

    torch.testing.assert_close(at(0), at(1000), atol=1e-4, rtol=0)
    assert (
        at(0) - layer(x, *layer.keys_values(x, torch.arange(6) * 3), positions=torch.arange(6))
    ).abs().max() > 1e-3
