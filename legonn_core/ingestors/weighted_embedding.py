"""The weighted-embedding ingestor: the expectation of an embedding under the marginals.

LegoNN (arXiv 2206.03318, section 3.3): ``h = P E``, positions, encoder blocks. Gradients flow
through P. What the wire leaves out of P (the tail) has an embedding of its own.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from legonn_core.ingestors.ingestor import Ingestor, IngestorShape


class WeightedEmbeddingIngestor(Ingestor):
    """Marginals to a memory, differentiable."""

    def __init__(self, shape: IngestorShape) -> None:
        super().__init__(shape, mixed_width=shape.width)
        self.embedding = nn.Parameter(
            torch.randn(shape.num_classes, shape.width) * shape.width**-0.5
        )
        self.rest = nn.Parameter(torch.zeros(shape.width))

    def mix_dense(self, probs: Tensor, tail: Tensor) -> Tensor:
        """Expected embedding of full rows; shapes as in the base."""
        return F.linear(probs, self.embedding.t()) + tail[..., None] * self.rest

    def mix_sparse(self, ids: Tensor, probs: Tensor, tail: Tensor) -> Tensor:
        """Expected embedding of rows as they come over the wire; shapes as in the base."""
        batch, rows, top = ids.shape
        mixed = F.embedding_bag(
            ids.reshape(-1, top),
            self.embedding,
            per_sample_weights=probs.reshape(-1, top).to(self.embedding.dtype),
            mode="sum",
        )
        return mixed.view(batch, rows, -1) + tail[..., None] * self.rest
