"""The text encoder: source tokens in, English marginals out; a sentence is whole, so no state."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from legonn_core.encoders.length import OutputLengthController
from legonn_core.nn.transformer import TransformerLayer


@dataclass(frozen=True, slots=True)
class TextEncoderShape:
    """Sizes of a text encoder.

    Attributes:
        source_pieces: Size of the source tokeniser.
        num_classes: V, interface classes with blank.
        rows_per_token: Interface positions for every ``rows_denominator`` source tokens.
        rows_denominator: b of the rate r = a/b; 2 with 3 rows gives one and a half a token.
        max_tokens: Longest sentence that may be encoded, in source tokens.
    """

    source_pieces: int
    num_classes: int
    width: int = 256
    hidden: int = 1024
    num_heads: int = 4
    layers_before: int = 6
    layers_after: int = 3
    rows_per_token: int = 3
    window: int = 16
    max_tokens: int = 200
    dropout: float = 0.0
    rows_denominator: int = 1


class TextEncoder(nn.Module):
    """Transformer layers, output length control, more layers, and a CTC head."""

    def __init__(self, shape: TextEncoderShape) -> None:
        super().__init__()
        self.shape = shape
        width = shape.width
        self.embedding = nn.Embedding(shape.source_pieces, width)
        nn.init.normal_(self.embedding.weight, std=width**-0.5)

        def layers(count: int) -> nn.ModuleList:
            return nn.ModuleList(
                TransformerLayer(width, shape.num_heads, shape.hidden, dropout=shape.dropout)
                for _ in range(count)
            )

        self.before = layers(shape.layers_before)
        self.length = OutputLengthController(
            width,
            shape.num_heads,
            numerator=shape.rows_per_token,
            denominator=shape.rows_denominator,
            left=shape.window,
            right=shape.window,
            is_band=False,
        )
        self.after = layers(shape.layers_after)
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, shape.num_classes)

    def forward(self, tokens: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Encode sentences.

        Args:
            tokens: (B, S) int64 source pieces, padded with anything.
            lengths: (B,) int64, each at least 1.

        Returns:
            Logits (B, U, V) in the compute type, and the number of rows (B,), ceil(S * a / b).
        """
        device = tokens.device
        steps = torch.arange(tokens.shape[1], device=device)
        mask = (steps[None, :] < lengths[:, None])[:, None, None, :]
        x = self.embedding(tokens) * self.shape.width**0.5
        for layer in self.before:
            x = layer(x, mask=mask, positions=steps)
        rows = self.length.num_positions(lengths)
        count = -(-tokens.shape[1] * self.shape.rows_per_token // self.shape.rows_denominator)
        positions = torch.arange(count, device=device)
        x = self.length(x, positions, start=0, stop=lengths)
        mask = (positions[None, :] < rows[:, None])[:, None, None, :]
        for layer in self.after:
            x = layer(x, mask=mask, positions=positions)
        return self.head(self.norm(x)), rows
