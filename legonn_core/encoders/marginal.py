"""The module in the middle of a chain: marginals over one vocabulary in, over another out.

LegoNN (arXiv 2206.03318, section 5.3) recognises speech with three modules: sounds, phones to
sub-words, sub-words to text. The second is this: an ingestor as a decoder has, length control to
any fractional rate, layers, and a CTC head of its own. It knows neither neighbour.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from legonn_core.encoders.length import OutputLengthController
from legonn_core.ingestors.beam_convolution import BeamConvolutionIngestor
from legonn_core.ingestors.ingestor import Ingestor, IngestorKind, IngestorShape
from legonn_core.ingestors.weighted_embedding import WeightedEmbeddingIngestor
from legonn_core.nn.transformer import TransformerLayer


@dataclass(frozen=True, slots=True)
class MarginalEncoderShape:
    """Sizes of a middle module.

    Attributes:
        num_source_classes: Classes that it reads, blank included.
        num_classes: Classes that it writes, blank included.
        rows_numerator: a: it writes ceil(K * a / b) rows for K rows read.
        rows_denominator: b.
        window: Rows to either side with a distance of their own in length control.
    """

    num_source_classes: int
    num_classes: int
    width: int = 256
    hidden: int = 1024
    num_heads: int = 4
    ingestor_layers: int = 2
    layers_after: int = 2
    rows_numerator: int = 1
    rows_denominator: int = 2
    window: int = 16
    max_rows: int = 2048
    ingestor: str = IngestorKind.WEIGHTED.value
    receptive_field: int = 1
    ranks: int = 8
    dropout: float = 0.0

    def __post_init__(self) -> None:
        if self.rows_numerator < 1 or self.rows_denominator < 1:
            raise ValueError(
                f"the rate is {self.rows_numerator}/{self.rows_denominator}, not positive"
            )


class MarginalEncoder(nn.Module):
    """Marginals to logits over the next vocabulary."""

    def __init__(self, shape: MarginalEncoderShape) -> None:
        super().__init__()
        self.shape = shape
        sizes = IngestorShape(
            shape.num_source_classes,
            shape.width,
            shape.num_heads,
            shape.hidden,
            num_layers=shape.ingestor_layers,
            max_rows=shape.max_rows,
            receptive_field=shape.receptive_field,
            ranks=min(shape.ranks, shape.num_source_classes),
            dropout=shape.dropout,
        )
        weighted = IngestorKind(shape.ingestor) is IngestorKind.WEIGHTED
        self.ingestor: Ingestor = (
            WeightedEmbeddingIngestor(sizes) if weighted else BeamConvolutionIngestor(sizes)
        )
        self.length = OutputLengthController(
            shape.width,
            shape.num_heads,
            numerator=shape.rows_numerator,
            denominator=shape.rows_denominator,
            left=shape.window,
            right=shape.window,
            is_band=False,
        )
        self.after = nn.ModuleList(
            TransformerLayer(shape.width, shape.num_heads, shape.hidden, dropout=shape.dropout)
            for _ in range(shape.layers_after)
        )
        self.norm = nn.LayerNorm(shape.width)
        self.head = nn.Linear(shape.width, shape.num_classes)

    def forward(self, mixture: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Read rows and write others.

        Args:
            mixture: (B, K, mixed width) from ``ingestor.mix_dense`` or ``mix_sparse``.
            lengths: (B,) rows of each, at least 1.

        Returns:
            Logits (B, ceil(K * a / b), V), and the number of rows (B,).
        """
        x = self.ingestor(mixture, lengths)
        rows = self.length.num_positions(lengths)
        count = -(-x.shape[1] * self.shape.rows_numerator // self.shape.rows_denominator)
        positions = torch.arange(count, device=x.device)
        x = self.length(x, positions, start=0, stop=lengths)
        mask = (positions[None, :] < rows[:, None])[:, None, None, :]
        for layer in self.after:
            x = layer(x, mask=mask, positions=positions)
        return self.head(self.norm(x)), rows
