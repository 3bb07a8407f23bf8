"""The weighted-embedding ingestor: the expectation of an embedding under the marginals.

LegoNN (arXiv 2206.03318, section 3.3): ``h = P E``, positions, encoder blocks. Gradients flow
through P. What the wire leaves out of P (the tail) has an embedding of its own.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from legonn_core.nn.positions import sinusoids
from legonn_core.nn.transformer import TransformerLayer


class WeightedEmbeddingIngestor(nn.Module):
    """Marginals to a memory for cross-attention.

    Args:
        num_classes: V with blank.
        width: D.
        num_heads: H.
        hidden: Feed-forward width.
        num_layers: Encoder blocks after the mixture; they belong to the decoder module.
        max_rows: Longest sequence of positions.
    """

    def __init__(
        self,
        num_classes: int,
        width: int,
        num_heads: int,
        hidden: int,
        *,
        num_layers: int,
        max_rows: int,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.embedding = nn.Parameter(torch.randn(num_classes, width) * width**-0.5)
        self.rest = nn.Parameter(torch.zeros(width))
        self.norm = nn.LayerNorm(width)
        self.project = nn.Linear(width, width)
        self.register_buffer("positions", sinusoids(max_rows, width), persistent=False)
        self.layers = nn.ModuleList(
            TransformerLayer(width, num_heads, hidden, dropout=dropout) for _ in range(num_layers)
        )
        self.output_norm = nn.LayerNorm(width)

    def mix_dense(self, probs: Tensor, tail: Tensor) -> Tensor:
        """Expected embedding of full rows.

        Args:
            probs: (B, U, V).
            tail: (B, U) mass that ``probs`` leaves out.

        Returns:
            (B, U, D).
        """
        return F.linear(probs, self.embedding.t()) + tail[..., None] * self.rest

    def mix_sparse(self, ids: Tensor, probs: Tensor, tail: Tensor) -> Tensor:
        """Expected embedding of rows as they come over the wire.

        Args:
            ids: (B, U, k) int64.
            probs: (B, U, k).
            tail: (B, U).

        Returns:
            (B, U, D).
        """
        batch, rows, top = ids.shape
        mixed = F.embedding_bag(
            ids.reshape(-1, top),
            self.embedding,
            per_sample_weights=probs.reshape(-1, top).to(self.embedding.dtype),
            mode="sum",
        )
        return mixed.view(batch, rows, -1) + tail[..., None] * self.rest

    def forward(self, mixture: Tensor, lengths: Tensor) -> Tensor:
        """Position, mix and normalise.

        Args:
            mixture: (B, U, D) from one of the two ``mix`` methods.
            lengths: (B,) number of rows.

        Returns:
            (B, U, D) memory.
        """
        rows = mixture.shape[1]
        steps = torch.arange(rows, device=mixture.device)
        mask = (steps[None, :] < lengths[:, None])[:, None, None, :]
        x = self.project(self.norm(mixture)) + self.positions[:rows]  # type: ignore[index]
        for layer in self.layers:
            x = layer(x, mask=mask, positions=steps)
        return self.output_norm(x)  # type: ignore[no-any-return]
