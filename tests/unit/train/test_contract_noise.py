from __future__ import annotations

import pytest
import torch

from legonn_core.train.contract_noise import ContractNoise, gated, jittered


@pytest.mark.parametrize(("gate", "expected"), [(0.25, 0.25), (1.0, 1.0)])
def test_the_gate_scales_gradients_only(gate, expected):
    x = torch.ones(3, requires_grad=True)
    y = gated(x, gate)
    assert torch.equal(y, x)
    y.sum().backward()
    assert x.grad is not None
    assert x.grad.tolist() == [expected] * 3


def test_a_closed_gate_cuts_the_graph():
    x = torch.ones(3, requires_grad=True)
    assert not gated(x, 0.0).requires_grad


def test_noise_leaves_distributions():
    torch.manual_seed(0)
    logits = 4 * torch.randn(5, 7, 40)
    rows = torch.tensor([7, 5, 1, 7, 3])
    for _ in range(12):
        probs, tail, kept = ContractNoise(jitter=0.2)(logits.log_softmax(dim=-1), rows)
        total = probs.float().sum(-1) + tail.float()
        torch.testing.assert_close(total, torch.ones_like(total), atol=0.02, rtol=0)
        assert (tail >= 0).all() and (probs >= 0).all()
        assert (kept >= 1).all() and (kept <= probs.shape[1]).all()


def test_without_jitter_rows_stay_as_they_are():
    log_probs = torch.randn(2, 6, 9).log_softmax(-1)
    noise = ContractNoise(temperature=0.0, blank_bias=0.0, cut=(-90.0, -89.0), jitter=0.0)
    probs, tail, rows = noise(log_probs, torch.tensor([6, 4]))
    torch.testing.assert_close(probs.float(), log_probs.exp(), atol=4e-3, rtol=0)
    assert rows.tolist() == [6, 4]
    assert float(tail.max()) < 0.01


def test_jitter_loses_and_repeats_rows_in_order():
    values = torch.arange(40.0)[None, :, None].expand(64, -1, 2)
    torch.manual_seed(1)
    changed, rows = jittered(values, torch.full((64,), 40), rate=0.1)
    assert rows.float().std() > 0.5
    for row, count in zip(changed, rows.tolist(), strict=True):
        seen = row[:count, 0]
        assert seen[0] == 0.0
        steps = seen.diff()
        assert set(steps.tolist()) <= {0.0, 1.0, 2.0}
    repeated = (changed[:, 1:, 0] == changed[:, :-1, 0]).float().mean()
    assert 0.05 < repeated < 0.25
