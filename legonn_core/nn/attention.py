"""Multi-head attention whose keys and values are values: computed once, cached, concatenated.

The layer knows neither masks by name nor caches; callers hand in keys, values and a mask.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from legonn_core.nn.positions import rotate

FUSED_LENGTH = 384
"""From how many queries on the fused kernel pays in training."""


def attend(query: Tensor, keys: Tensor, values: Tensor, *, mask: Tensor | None) -> Tensor:
    """Scaled dot-product attention.

    PyTorch's fused kernel in inference and for long sequences; plain products in training on
    sentences, because on a CPU the fused kernel's backward pass took up to three times as long
    below some 400 positions, and half as long above. There it wants an additive mask.

    Args:
        query: (B, H, Q, dh).
        keys: (B, H, S, dh).
        values: (B, H, S, dh).
        mask: Broadcastable to (B, H, Q, S): bool (True may be attended) or additive float.

    Returns:
        (B, H, Q, dh).
    """
    is_training = torch.is_grad_enabled()
    if not is_training or query.shape[2] >= FUSED_LENGTH:
        if is_training and mask is not None and mask.dtype == torch.bool:
            mask = torch.zeros_like(mask, dtype=query.dtype).masked_fill(~mask, -torch.inf)
        return F.scaled_dot_product_attention(query, keys, values, attn_mask=mask)
    scores = (query * query.shape[-1] ** -0.5) @ keys.transpose(-1, -2)
    if mask is not None:
        scores = (
            scores.masked_fill(~mask, torch.finfo(scores.dtype).min)
            if mask.dtype == torch.bool
            else scores + mask
        )
    mixed: Tensor = scores.softmax(dim=-1) @ values
    return mixed


class Attention(nn.Module):
    """Scaled dot-product attention over explicit keys and values.

    Args:
        width: Model width D, a multiple of ``num_heads``.
        num_heads: H.
        rotary: Turn queries and keys by their positions.
    """

    def __init__(self, width: int, num_heads: int, *, rotary: bool = False) -> None:
        super().__init__()
        if width % num_heads:
            raise ValueError(f"width {width} is not a multiple of {num_heads} heads")
        self.num_heads = num_heads
        self.rotary = rotary
        self.query = nn.Linear(width, width)
        self.key = nn.Linear(width, width)
        self.value = nn.Linear(width, width)
        self.output = nn.Linear(width, width)

    def _heads(self, x: Tensor) -> Tensor:
        batch, length, width = x.shape
        return x.view(batch, length, self.num_heads, width // self.num_heads).transpose(1, 2)

    def keys_values(self, x: Tensor, positions: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Project what is attended to.

        Args:
            x: (B, S, D).
            positions: (S,) or (B, 1, S); required when rotary.

        Returns:
            Keys and values, each (B, H, S, dh).
        """
        keys, values = self._heads(self.key(x)), self._heads(self.value(x))
        if self.rotary:
            assert positions is not None
            keys = rotate(keys, positions)
        return keys, values

    def forward(
        self,
        x: Tensor,
        keys: Tensor,
        values: Tensor,
        *,
        mask: Tensor | None = None,
        positions: Tensor | None = None,
    ) -> Tensor:
        """Attend.

        Args:
            x: (B, Q, D) the queries' side.
            keys: (B, H, S, dh).
            values: (B, H, S, dh).
            mask: Broadcastable to (B, H, Q, S): bool (True may be attended) or additive float.
            positions: (Q,) or (B, 1, Q); required when rotary.

        Returns:
            (B, Q, D).
        """
        query = self._heads(self.query(x))
        if self.rotary:
            assert positions is not None
            query = rotate(query, positions)
        mixed = attend(query, keys, values, mask=mask)
        result: Tensor = self.output(mixed.transpose(1, 2).flatten(2))
        return result
