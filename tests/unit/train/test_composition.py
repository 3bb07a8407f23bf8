from __future__ import annotations

import pytest
import torch

from legonn_core.encoders.marginal import MarginalEncoder, MarginalEncoderShape
from legonn_core.train.composition import Boundary, Composition, Handed, Link
from legonn_core.train.contract_noise import ContractNoise
from tests.support.tiny import NUM_CLASSES, NUM_SOURCE_PIECES, decoder, lively, text_encoder

TARGETS = [(3, 4, 9), (7,), (5, 6)]


def inputs() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(3)
    tokens = torch.randint(1, NUM_SOURCE_PIECES, (3, 8), generator=generator)
    return tokens, torch.tensor([8, 5, 6])


def middle(*, seed: int = 4) -> MarginalEncoder:
    shape = MarginalEncoderShape(
        NUM_CLASSES, NUM_CLASSES, width=16, hidden=32, num_heads=2, rows_numerator=2,
        rows_denominator=3, window=4,
    )  # fmt: skip
    return lively(MarginalEncoder(shape), seed=seed)


def chain(*boundaries: Boundary) -> Composition:
    modules = [middle(seed=place) for place in range(len(boundaries) - 1)]
    return Composition(text_encoder(), middle=modules, decoder=decoder(), boundaries=boundaries)


def gradient(module: torch.nn.Module) -> float:
    found = [p.grad.abs().sum() for p in module.parameters() if p.grad is not None]
    return float(sum(found))


@pytest.mark.parametrize("count", [1, 2, 3])
def test_a_chain_has_ctc_at_every_boundary(count):
    system = chain(*[Boundary()] * count)
    losses = system.losses(inputs(), [TARGETS] * count)
    names = ["ctc", *(f"ctc_{i}" for i in range(1, count)), "ce"]
    assert list(losses.parts) == names
    assert float(losses.total.detach()) == pytest.approx(sum(losses.parts.values()), rel=1e-5)


def test_the_decoder_alone_teaches_the_whole_chain():
    system = chain(Boundary(ctc_weight=0.0), Boundary(ctc_weight=0.0))
    system.losses(inputs(), [TARGETS, TARGETS]).total.backward()
    assert gradient(system.encoder) > 0
    assert gradient(system.middle[0]) > 0


def test_gates_scale_what_flows_back():
    found = []
    for gate in (1.0, 0.5, 0.0):
        system = chain(Boundary(ctc_weight=0.0, gate=gate))
        system.losses(inputs(), [TARGETS]).total.backward()
        found.append(gradient(system.encoder))
        assert gradient(system.decoder) > 0
    assert found[1] == pytest.approx(0.5 * found[0], rel=1e-4)
    assert found[2] == 0.0


def test_a_frozen_decoder_with_adapters_lets_only_them_learn():
    system = chain(Boundary())
    for parameter in system.decoder.parameters():
        parameter.requires_grad_(False)
    system.losses(inputs(), [TARGETS]).total.backward()
    assert gradient(system.encoder) > 0
    assert gradient(system.decoder) == 0.0


@torch.no_grad()
def test_a_one_hot_link_sees_the_best_class_only():
    system = chain(Boundary(link=Link.ONE_HOT)).eval()
    handed = system.hand_on(*inputs())[-1]
    sharper = Handed(handed.logits * 3.0, handed.rows)
    for before, after in zip(
        system.remember(handed).layers, system.remember(sharper).layers, strict=True
    ):
        assert torch.equal(before.keys, after.keys)


@torch.no_grad()
def test_the_baseline_has_as_many_parameters_and_no_softmax():
    plain, lego = chain(Boundary(link=Link.STATES)), chain(Boundary())
    assert sum(p.numel() for p in plain.parameters()) == sum(p.numel() for p in lego.parameters())
    handed = plain.eval().hand_on(*inputs())[-1]
    moved = Handed(handed.logits + 1.0, handed.rows)  # the same distribution
    same = lego.eval().remember(handed).layers[0].keys, lego.remember(moved).layers[0].keys
    torch.testing.assert_close(*same)
    other = plain.remember(handed).layers[0].keys, plain.remember(moved).layers[0].keys
    assert not torch.allclose(*other, atol=1e-3)


def test_noise_is_for_training_only():
    system = chain(Boundary(noise=ContractNoise(jitter=0.3)))
    with torch.no_grad():
        system.eval()
        calm = [float(system.losses(inputs(), [TARGETS]).total) for _ in range(2)]
        system.train()
        disturbed = {float(system.losses(inputs(), [TARGETS]).total) for _ in range(4)}
    assert calm[0] == calm[1]
    assert len(disturbed) > 1


def test_targets_that_do_not_fit_are_counted():
    long = tuple(range(1, 30))
    losses = chain(Boundary()).losses(inputs(), [[long, (3,), (4, 4)]])
    assert losses.infeasible == 1
    assert losses.total.isfinite()


def test_every_module_but_the_last_has_a_boundary():
    with pytest.raises(ValueError, match="2 boundaries behind 1"):
        Composition(text_encoder(), boundaries=[Boundary(), Boundary()])
