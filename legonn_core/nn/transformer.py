"""Pre-norm Transformer layers: one that sees itself, one that also sees a memory."""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from legonn_core.nn.attention import Attention
from legonn_core.nn.positions import RelativeBias


class FeedForward(nn.Module):
    """Two linear maps with an exact GELU between them; (..., D) to (..., D)."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.expand = nn.Linear(width, hidden)
        self.contract = nn.Linear(hidden, width)

    def forward(self, x: Tensor) -> Tensor:
        """Apply position by position."""
        result: Tensor = self.contract(F.gelu(self.expand(x)))
        return result


class SharedDropout(nn.Module):
    """Dropout with one mask for all positions of a row (variational dropout, arXiv 1512.05287).

    A mask a row costs (B, 1, D) random numbers where the usual one costs (B, S, D); on a CPU the
    usual one took longer than the matrix products around it.
    """

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.rate = rate

    def forward(self, x: Tensor) -> Tensor:
        """(B, S, D) to the same shape; the identity in evaluation."""
        if not self.training or self.rate == 0.0:
            return x
        keep = torch.rand(x.shape[0], 1, x.shape[2], device=x.device) >= self.rate
        return x * (keep.to(x.dtype) / (1.0 - self.rate))


def masked_bias(bias: Tensor, mask: Tensor | None) -> Tensor:
    """An additive mask: the bias where ``mask`` is True, as good as minus infinity elsewhere."""
    return bias if mask is None else bias.masked_fill(~mask, -1e9)


class KeysValues(NamedTuple):
    """Keys and values of one layer, each (B, H, S, dh)."""

    keys: Tensor
    values: Tensor


class TransformerLayer(nn.Module):
    """Self-attention, then feed-forward; both pre-norm and residual.

    Args:
        width: D.
        num_heads: H.
        hidden: Feed-forward width.
        dropout: Of both branches.
        is_relative: Score distances; without, positions must be in the input.
    """

    def __init__(
        self,
        width: int,
        num_heads: int,
        hidden: int,
        *,
        dropout: float = 0.0,
        is_relative: bool = True,
    ) -> None:
        super().__init__()
        self.attention_norm = nn.LayerNorm(width)
        self.attention = Attention(width, num_heads)
        self.bias = RelativeBias(num_heads) if is_relative else None
        self.feed_forward_norm = nn.LayerNorm(width)
        self.feed_forward = FeedForward(width, hidden)
        self.dropout = SharedDropout(dropout)

    def forward(self, x: Tensor, *, mask: Tensor | None, positions: Tensor | None) -> Tensor:
        """One layer over whole sequences.

        Args:
            x: (B, S, D).
            mask: (B, 1, 1 or S, S) bool, True may be attended.
            positions: (S,); None if not relative.
        """
        normed = self.attention_norm(x)
        keys, values = self.attention.keys_values(normed)
        if self.bias is not None:
            assert positions is not None
            mask = masked_bias(self.bias(positions, positions), mask)
        x = x + self.dropout(self.attention(normed, keys, values, mask=mask))
        result: Tensor = x + self.dropout(self.feed_forward(self.feed_forward_norm(x)))
        return result

    def step(self, x: Tensor, past: KeysValues, *, mask: Tensor) -> tuple[Tensor, KeysValues]:
        """One layer over the next chunk of a stream, for layers that are not relative.

        Args:
            x: (B, S, D).
            past: Keys and values of earlier positions, (B, H, P, dh).
            mask: (B, 1, S, P + S) bool.

        Returns:
            (B, S, D), and past and new keys and values together.
        """
        normed = self.attention_norm(x)
        keys, values = self.attention.keys_values(normed)
        joined = KeysValues(
            torch.cat([past.keys, keys], dim=2), torch.cat([past.values, values], dim=2)
        )
        x = x + self.attention(normed, joined.keys, joined.values, mask=mask)
        return x + self.feed_forward(self.feed_forward_norm(x)), joined


class DecoderLayer(nn.Module):
    """Causal self-attention, cross-attention to a memory, feed-forward; pre-norm and residual."""

    def __init__(self, width: int, num_heads: int, hidden: int, *, dropout: float = 0.0) -> None:
        super().__init__()
        self.self_norm = nn.LayerNorm(width)
        self.self_attention = Attention(width, num_heads)
        self.self_bias = RelativeBias(num_heads)
        self.cross_norm = nn.LayerNorm(width)
        self.cross_attention = Attention(width, num_heads)
        self.feed_forward_norm = nn.LayerNorm(width)
        self.feed_forward = FeedForward(width, hidden)
        self.dropout = SharedDropout(dropout)

    def forward(
        self, x: Tensor, memory: KeysValues, *, memory_mask: Tensor, positions: Tensor
    ) -> tuple[Tensor, KeysValues]:
        """All target positions at once, for training and for reading a forced prefix.

        Args:
            x: (B, S, D).
            memory: Projected once by ``cross_attention.keys_values``.
            memory_mask: (B, 1, 1, U) bool.
            positions: (S,).

        Returns:
            (B, S, D), and the keys and values of self-attention for later steps.
        """
        normed = self.self_norm(x)
        keys, values = self.self_attention.keys_values(normed)
        earlier = positions[None, :] <= positions[:, None]
        mask = masked_bias(self.self_bias(positions, positions), earlier)
        x = x + self.dropout(self.self_attention(normed, keys, values, mask=mask))
        x = x + self.dropout(
            self.cross_attention(self.cross_norm(x), memory.keys, memory.values, mask=memory_mask)
        )
        x = x + self.dropout(self.feed_forward(self.feed_forward_norm(x)))
        return x, KeysValues(keys, values)
