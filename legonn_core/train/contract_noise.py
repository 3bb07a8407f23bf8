"""What happens between two modules in training: the gate on gradients, and the contract's noise.

A reader trained on one encoder's rows as they are learns that encoder. Noise shows it what another
encoder or the wire may do to a row and still keep the contract: another temperature, another blank
bias, a cut tail, a row lost or said twice.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

SPARE_ROWS = 4
"""Columns that repeated rows may add; what goes beyond is cut."""


class ScaledGradient(torch.autograd.Function):
    """The identity, whose gradient is scaled: the gate on the interface (0 isolates modules)."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, gate: float) -> Tensor:
        """Pass on."""
        ctx.gate = gate
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        """Scale."""
        return gradients[0] * ctx.gate, None


def gated(x: Tensor, gate: float) -> Tensor:
    """``x`` with its gradient scaled; 0 cuts the graph and 1 leaves it as it is."""
    if gate == 0.0:
        return x.detach()
    return x if gate == 1.0 else ScaledGradient.apply(x, gate)  # type: ignore[no-untyped-call]  # torch has no type for apply


@dataclass(frozen=True, slots=True)
class ContractNoise:
    """How much an interface may be disturbed.

    Attributes:
        temperature: Half width of log temperature, uniform.
        blank_bias: Standard deviation of the blank's logit.
        cut: Lowest and highest natural log of the probability below which a class is cut off.
        undisturbed: Share of batches whose temperature and bias stay as they are.
        jitter: Probability that a row is lost, and that it comes twice.
    """

    temperature: float = 0.35
    blank_bias: float = 0.4
    cut: tuple[float, float] = (-8.0, -4.5)
    undisturbed: float = 0.5
    jitter: float = 0.01

    def __call__(self, log_probs: Tensor, rows: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Disturb rows.

        Args:
            log_probs: (B, U, V) float32.
            rows: (B,) how many of them count.

        Returns:
            Probabilities (B, U', V), the tail mass (B, U') that was cut off, rows (B,).
        """
        batch, device = log_probs.shape[0], log_probs.device
        if self.jitter:
            log_probs, rows = jittered(log_probs, rows, rate=self.jitter)
        threshold = torch.empty(batch, 1, 1, device=device).uniform_(*self.cut).exp()
        if torch.rand(()) < self.undisturbed:
            probs = log_probs.bfloat16().exp()
            probs = probs * (probs >= threshold.bfloat16())
        else:
            temperature = torch.empty(batch, 1, 1, device=device)
            temperature.uniform_(-self.temperature, self.temperature).exp_()
            bias = torch.zeros(batch, 1, log_probs.shape[2], device=device)
            bias[:, 0, 0] = torch.randn(batch, device=device) * self.blank_bias
            probs = (log_probs / temperature + bias).softmax(dim=-1)
            probs = probs * (probs >= threshold)
        return probs, (1.0 - probs.sum(dim=-1)).clamp(min=0.0), rows


def jittered(values: Tensor, rows: Tensor, *, rate: float) -> tuple[Tensor, Tensor]:
    """Lose some rows and say some twice.

    Args:
        values: (B, U, V).
        rows: (B,) at least 1.
        rate: Probability of either, a row.

    Returns:
        (B, U + spare, V) and the new row counts, at least 1.
    """
    batch, count, _ = values.shape
    drawn = torch.rand(batch, count + SPARE_ROWS, device=values.device)
    steps = torch.ones_like(drawn, dtype=torch.long)
    steps = steps.masked_fill(drawn < rate, 2).masked_fill(drawn > 1.0 - rate, 0)
    steps[:, 0] = 0
    places = steps.cumsum(dim=1)
    kept = (places < rows[:, None]).sum(dim=1)
    places = places.clamp(max=count - 1)[..., None].expand(-1, -1, values.shape[2])
    return values.gather(1, places), kept
