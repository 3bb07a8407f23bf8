from __future__ import annotations

import io

import pytest
import torch
from torch import nn

from legonn_core.train.optimize import MasterOptimizer, cosine_rate


def toy(seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(4, 16), nn.Tanh(), nn.Linear(16, 1)).bfloat16()


def optimizer_of(model: nn.Module, **more: object) -> MasterOptimizer:
    return MasterOptimizer(model.named_parameters(), rate=1e-2, **more)  # type: ignore[arg-type] # settings by name


def train(model: nn.Module, optimizer: MasterOptimizer, steps: range) -> float:
    """Learn the sum of four numbers; the loss of the last step."""
    loss = torch.zeros(())
    for step in steps:
        x = torch.randn(32, 4, generator=torch.Generator().manual_seed(step))
        loss = (model(x.bfloat16()).float() - x.sum(dim=1, keepdim=True)).square().mean()
        loss.backward()
        optimizer.step(cosine_rate(step / 200, step, warmup_steps=10))
    return float(loss.detach())


def test_the_rate_rises_and_falls():
    assert cosine_rate(0.0, 0, warmup_steps=10) == pytest.approx(0.1)
    assert cosine_rate(0.0, 9, warmup_steps=10) == pytest.approx(1.0)
    falling = [cosine_rate(p / 10, 1000, warmup_steps=10) for p in range(13)]
    assert falling == sorted(falling, reverse=True)
    assert falling[10:] == pytest.approx([0.02] * 3)


def test_it_learns_a_toy():
    model = toy()
    optimizer = optimizer_of(model)
    first = train(model, optimizer, range(1))
    assert train(model, optimizer, range(1, 100)) < first / 5


def test_the_model_holds_the_masters_rounded():
    model = toy()
    optimizer = optimizer_of(model)
    train(model, optimizer, range(7))
    for name, parameter in model.named_parameters():
        assert parameter.dtype is torch.bfloat16
        assert optimizer.masters[name].dtype is torch.float32
        assert torch.equal(parameter, optimizer.masters[name].bfloat16())
        assert parameter.grad is None


def test_a_resumed_run_is_the_same_to_the_last_bit():
    straight = toy()
    straight_optimizer = optimizer_of(straight)
    train(straight, straight_optimizer, range(9))
    saved = io.BytesIO()
    torch.save(straight_optimizer.state(), saved)
    train(straight, straight_optimizer, range(9, 20))

    saved.seek(0)
    resumed = toy(seed=1)
    optimizer = optimizer_of(resumed)
    optimizer.restore(torch.load(saved, weights_only=True))
    assert optimizer.steps == 9
    train(resumed, optimizer, range(9, 20))
    for name, parameter in straight.named_parameters():
        assert torch.equal(parameter, dict(resumed.named_parameters())[name])
        assert torch.equal(straight_optimizer.masters[name], optimizer.masters[name])
        assert torch.equal(straight_optimizer.average[name], optimizer.average[name])


def test_the_average_follows_more_slowly():
    model = toy()
    optimizer = optimizer_of(model, average_decay=0.9)
    start = {name: p.clone() for name, p in optimizer.average.items()}
    train(model, optimizer, range(40))
    for name, average in optimizer.average.items():
        master = optimizer.masters[name].detach()
        assert (average - start[name]).norm() < (master - start[name]).norm()
        assert (average - master).norm() < (start[name] - master).norm()


def test_a_step_without_a_finite_gradient_is_left_out():
    model = toy()
    optimizer = optimizer_of(model)
    train(model, optimizer, range(3))
    before = [p.clone() for p in model.parameters()]
    (model(torch.ones(1, 4).bfloat16()) * float("nan")).sum().backward()
    assert not torch.isfinite(torch.tensor(optimizer.step(1.0)))
    assert optimizer.steps == 3
    assert all(torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True))


def test_gradients_are_clipped_and_the_norm_told():
    model = nn.Linear(3, 1)
    optimizer = optimizer_of(model, clip_norm=1.0)
    (1000 * model(torch.ones(1, 3))).sum().backward()
    assert optimizer.step(1.0) == pytest.approx(2000.0)  # three weights and a bias of 1000 each
    taken = torch.cat([m.grad.flatten() for m in optimizer.masters.values() if m.grad is not None])
    assert float(taken.norm()) == pytest.approx(1.0, abs=1e-3)


def test_scales_follow_the_longest_prefix_and_vectors_do_not_decay():
    model = nn.ModuleDict({"a": nn.Linear(2, 2), "ab": nn.Linear(2, 2), "c": nn.Linear(2, 2)})
    optimizer = optimizer_of(model, scales={"a": 0.5, "ab": 0.1}, weight_decay=0.3)
    of = {
        id(parameter): (group["scale"], group["weight_decay"])
        for group in optimizer.optimizer.param_groups
        for parameter in group["params"]
    }
    found = {name: of[id(master)] for name, master in optimizer.masters.items()}
    assert found == {
        "a.weight": (0.5, 0.3),
        "a.bias": (0.5, 0.0),
        "ab.weight": (0.1, 0.3),
        "ab.bias": (0.1, 0.0),
        "c.weight": (1.0, 0.3),
        "c.bias": (1.0, 0.0),
    }


def test_a_frozen_parameter_stays():
    model = nn.ModuleDict({"a": nn.Linear(2, 2), "b": nn.Linear(2, 2)})
    optimizer = optimizer_of(model, weight_decay=0.0)
    model["a"].requires_grad_(False)
    frozen, free = model["a"].weight.clone(), model["b"].weight.clone()
    model["b"](model["a"](torch.ones(1, 2))).sum().backward()
    optimizer.step(1.0)
    assert torch.equal(model["a"].weight, frozen)
    assert not torch.equal(model["b"].weight, free)
