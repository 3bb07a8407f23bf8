"""Where things are: sinusoidal tables added to inputs, and rotary angles for attention."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn


def sinusoids(length: int, width: int, *, max_timescale: float = 10000.0) -> Tensor:
    """Sinusoidal position table with all sines before all cosines (the layout of Whisper).

    Returns:
        (length, width) float32.
    """
    increment = math.log(max_timescale) / (width // 2 - 1)
    inverse = torch.exp(-increment * torch.arange(width // 2, dtype=torch.float32))
    angles = torch.arange(length, dtype=torch.float32)[:, None] * inverse[None, :]
    return torch.cat([angles.sin(), angles.cos()], dim=1)


def rotate(x: Tensor, positions: Tensor) -> Tensor:
    """Turn query or key vectors by their positions (RoFormer, arXiv 2104.09864, eq. 34).

    Args:
        x: (..., S, dh) with even dh.
        positions: (S,) or broadcastable to x's leading dimensions and S; any integer offset is
            allowed, since only differences of positions reach the scores.

    Returns:
        (..., S, dh) in x's type.
    """
    half = x.shape[-1] // 2
    frequency = torch.exp(
        torch.arange(half, dtype=torch.float32, device=x.device) * (-math.log(10000.0) / half)
    )
    angles = positions[..., None].float() * frequency
    cos, sin = angles.cos().to(x.dtype), angles.sin().to(x.dtype)
    first, second = x[..., :half], x[..., half:]
    return torch.cat([first * cos - second * sin, second * cos + first * sin], dim=-1)


class RelativeBias(nn.Module):
    """A learned score for every distance between query and key, one a head (as in T5, 1910.10683).

    On a CPU it costs one addition to the scores; rotating queries and keys cost twenty times that.

    Args:
        num_heads: H.
        reach: Distances beyond it share the outermost score.
    """

    def __init__(self, num_heads: int, *, reach: int = 48) -> None:
        super().__init__()
        self.reach = reach
        self.table = nn.Parameter(torch.zeros(num_heads, 2 * reach + 1))

    def forward(self, queries: Tensor, keys: Tensor) -> Tensor:
        """Scores to add.

        Args:
            queries: (Q,) positions.
            keys: (S,) positions.

        Returns:
            (1, H, Q, S).
        """
        distance = (keys[None, :] - queries[:, None]).clamp(-self.reach, self.reach)
        return self.table[:, distance + self.reach][None]
