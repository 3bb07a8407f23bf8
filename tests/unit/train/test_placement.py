from __future__ import annotations

import pytest
import torch
from torch import nn

from legonn_core.errors import BadConfig
from legonn_core.train.placement import Placement


def test_a_network_is_put_where_the_recipe_says():
    network = nn.Linear(2, 2)
    Placement.of("cpu", "bf16").put(network)
    assert network.weight.dtype == torch.bfloat16
    assert Placement.of("cpu", "fp32").dtype == torch.float32
    expected = "cuda" if torch.cuda.is_available() else "cpu"
    assert Placement.of("auto", "bf16").device.type == expected


@pytest.mark.parametrize(
    ("device", "precision", "said"),
    [("cpu", "int4", "precision is 'int4'"), ("moon", "bf16", "device is 'moon'")],
)
def test_what_does_not_exist_is_refused(device, precision, said):
    with pytest.raises(BadConfig, match=said):
        Placement.of(device, precision)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
def test_a_missing_gpu_is_said():
    with pytest.raises(BadConfig, match="no GPU here"):
        Placement.of("cuda", "bf16")
