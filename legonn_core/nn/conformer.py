"""The conformer layer with causal convolution, over whole sequences or step by step.

Conformer (arXiv 2005.08100), with layer norm in place of batch norm so that a stream's result
never depends on statistics, and a depthwise kernel that looks only back.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from legonn_core.nn.attention import Attention
from legonn_core.nn.transformer import FeedForward, KeysValues, SharedDropout


class CausalConvolution(nn.Module):
    """Gated depthwise convolution that sees ``kernel - 1`` positions back.

    Args:
        width: D.
        kernel: Positions under the kernel.
    """

    def __init__(self, width: int, kernel: int) -> None:
        super().__init__()
        self.kernel = kernel
        self.gate = nn.Linear(width, 2 * width)
        self.depthwise = nn.Conv1d(width, width, kernel, groups=width)
        self.norm = nn.LayerNorm(width)
        self.output = nn.Linear(width, width)

    def forward(self, x: Tensor, history: Tensor, valid: Tensor | None) -> tuple[Tensor, Tensor]:
        """Convolve.

        Args:
            x: (B, S, D).
            history: (B, kernel - 1, D) gated inputs just before; zeros at the start.
            valid: (B, S) bool, False where a position lies before its stream's beginning.

        Returns:
            (B, S, D) and the new history.
        """
        gated = F.glu(self.gate(x), dim=-1)
        if valid is not None:
            gated = gated * valid[..., None].to(gated.dtype)
        joined = torch.cat([history, gated], dim=1)
        mixed = self.depthwise(joined.transpose(1, 2)).transpose(1, 2)
        return self.output(F.silu(self.norm(mixed))), joined[:, joined.shape[1] - self.kernel + 1 :]


class ConformerLayer(nn.Module):
    """Half feed-forward, attention, convolution, half feed-forward, norm."""

    def __init__(
        self, width: int, num_heads: int, hidden: int, kernel: int, *, dropout: float = 0.0
    ) -> None:
        super().__init__()
        self.first_norm, self.first = nn.LayerNorm(width), FeedForward(width, hidden)
        self.attention_norm = nn.LayerNorm(width)
        self.attention = Attention(width, num_heads, rotary=True)
        self.convolution_norm = nn.LayerNorm(width)
        self.convolution = CausalConvolution(width, kernel)
        self.second_norm, self.second = nn.LayerNorm(width), FeedForward(width, hidden)
        self.output_norm = nn.LayerNorm(width)
        self.dropout = SharedDropout(dropout)

    def forward(
        self,
        x: Tensor,
        *,
        mask: Tensor,
        positions: Tensor,
        past: KeysValues,
        convolved: Tensor,
        valid: Tensor | None = None,
    ) -> tuple[Tensor, KeysValues, Tensor]:
        """One layer over new positions, given what came before.

        Args:
            x: (B, S, D).
            mask: Broadcastable to (B, H, S, P + S) bool over past and new positions.
            positions: (S,) or (B, 1, S) of the new ones.
            past: Keys and values (B, H, P, dh); P = 0 for a whole sequence.
            convolved: (B, kernel - 1, D).
            valid: (B, S) bool for the convolution; the mask must say the same.

        Returns:
            (B, S, D), keys and values (B, H, P + S, dh), and the new convolution history.
        """
        x = x + 0.5 * self.dropout(self.first(self.first_norm(x)))
        normed = self.attention_norm(x)
        keys, values = self.attention.keys_values(normed, positions)
        joined = KeysValues(
            torch.cat([past.keys, keys], dim=2), torch.cat([past.values, values], dim=2)
        )
        x = x + self.dropout(
            self.attention(normed, joined.keys, joined.values, mask=mask, positions=positions)
        )
        mixed, convolved = self.convolution(self.convolution_norm(x), convolved, valid)
        x = x + self.dropout(mixed)
        x = x + 0.5 * self.dropout(self.second(self.second_norm(x)))
        return self.output_norm(x), joined, convolved
