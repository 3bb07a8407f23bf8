"""The shared English decoder: an ingestor for marginals, then a causal Transformer.

Output classes are the interface's own ids; class 0, the blank there, is here the end of the
sentence, and as the first input its beginning. The decoder sees marginals only, never an encoder.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from legonn_core.ingestors.beam_convolution import BeamConvolutionIngestor
from legonn_core.ingestors.ingestor import IngestorKind, IngestorShape
from legonn_core.ingestors.weighted_embedding import WeightedEmbeddingIngestor
from legonn_core.nn.transformer import DecoderLayer, KeysValues

END = 0
"""Class that ends (and, as input, begins) a sentence."""


@dataclass(frozen=True, slots=True)
class DecoderShape:
    """Sizes of a decoder.

    Attributes:
        num_classes: V, shared by interface and output.
        max_rows: Longest memory in positions.
        ingestor: ``weighted`` (gradients flow through it) or ``beam`` (it stops them).
        receptive_field: Rows that the ingestor's first projection reads, odd.
        ranks: Classes a row that a beam ingestor reads.
        adapter_width: Of the adapters in the ingestor; 0: none.
        blank_limit: Rows are compressed before they are read; see ``IngestorShape``.
    """

    num_classes: int
    width: int = 256
    hidden: int = 1024
    num_heads: int = 4
    ingestor_layers: int = 2
    layers: int = 4
    max_rows: int = 1024
    dropout: float = 0.0
    ingestor: str = IngestorKind.WEIGHTED.value
    receptive_field: int = 1
    ranks: int = 8
    adapter_width: int = 0
    blank_limit: float = 1.0

    @property
    def ingestor_shape(self) -> IngestorShape:
        """Sizes of the first part; raises ValueError where they are nonsense."""
        return IngestorShape(
            self.num_classes,
            self.width,
            self.num_heads,
            self.hidden,
            num_layers=self.ingestor_layers,
            max_rows=self.max_rows,
            receptive_field=self.receptive_field,
            adapter_width=self.adapter_width,
            ranks=min(self.ranks, self.num_classes),
            blank_limit=self.blank_limit,
            dropout=self.dropout,
        )


@dataclass(frozen=True, slots=True)
class Memory:
    """What cross-attention reads: computed once a request, shared by its beams.

    Attributes:
        layers: One entry a decoder layer, (R, H, U, dh).
        mask: (R, 1, 1, U) bool.
    """

    layers: tuple[KeysValues, ...]
    mask: Tensor


@dataclass(frozen=True, slots=True)
class DecoderState:
    """Self-attention keys and values of all tokens so far, for R requests of K beams each.

    Attributes:
        layers: One entry a decoder layer, (R * K, H, S, dh).
        beams: K.
    """

    layers: tuple[KeysValues, ...]
    beams: int

    @property
    def length(self) -> int:
        """Tokens read so far."""
        return self.layers[0].keys.shape[2]

    def reorder(self, rows: Tensor) -> DecoderState:
        """Keep the given rows (indices into R * K), in that order."""
        layers = tuple(
            KeysValues(k.index_select(0, rows), v.index_select(0, rows)) for k, v in self.layers
        )
        return DecoderState(layers, self.beams)


class Decoder(nn.Module):
    """Marginals in, English out."""

    def __init__(self, shape: DecoderShape) -> None:
        super().__init__()
        self.shape = shape
        kinds = {
            IngestorKind.WEIGHTED: WeightedEmbeddingIngestor,
            IngestorKind.BEAM: BeamConvolutionIngestor,
        }
        self.ingestor = kinds[IngestorKind(shape.ingestor)](shape.ingestor_shape)
        self.embedding = nn.Embedding(shape.num_classes, shape.width)
        nn.init.normal_(self.embedding.weight, std=shape.width**-0.5)
        self.layers = nn.ModuleList(
            DecoderLayer(shape.width, shape.num_heads, shape.hidden, dropout=shape.dropout)
            for _ in range(shape.layers)
        )
        self.norm = nn.LayerNorm(shape.width)
        self.output_bias = nn.Parameter(torch.zeros(shape.num_classes))

    def remember(self, mixture: Tensor, lengths: Tensor) -> Memory:
        """Turn mixed marginals into what cross-attention reads.

        Args:
            mixture: (R, U, D) from ``ingestor.mix_sparse`` or ``mix_dense``.
            lengths: (R,) rows of each request, each at least 1.
        """
        memory = self.ingestor(mixture, lengths)
        steps = torch.arange(memory.shape[1], device=memory.device)
        mask = (steps[None, :] < lengths[:, None])[:, None, None, :]
        projected = []
        for layer in self.layers:
            assert isinstance(layer, DecoderLayer)
            projected.append(KeysValues(*layer.cross_attention.keys_values(memory)))
        return Memory(tuple(projected), mask)

    def forward(self, tokens: Tensor, memory: Memory) -> Tensor:
        """Logits of the next class after every prefix of known targets.

        Args:
            tokens: (R, S) int64, beginning with ``END``.
            memory: From ``remember``.

        Returns:
            (R, S, V) logits.
        """
        positions = torch.arange(tokens.shape[1], device=tokens.device)
        x = self.embedding(tokens) * self.shape.width**0.5
        for layer, keys_values in zip(self.layers, memory.layers, strict=True):
            x, _ = layer(x, keys_values, memory_mask=memory.mask, positions=positions)
        return self._classes(x)

    def start(self, requests: int, beams: int) -> DecoderState:
        """Empty state for ``requests`` times ``beams`` rows."""
        heads = self.shape.num_heads
        empty = self.output_bias.new_zeros(requests * beams, heads, 0, self.shape.width // heads)
        return DecoderState(tuple(KeysValues(empty, empty) for _ in self.layers), beams)

    def read(self, tokens: Tensor, memory: Memory, beams: int) -> tuple[Tensor, DecoderState]:
        """Read a known beginning at once, one for each request.

        Args:
            tokens: (R, S) int64, beginning with ``END``.
            memory: Of R requests.
            beams: K rows are made of each request, all alike.

        Returns:
            Natural-log probabilities (R, S, V) float32 after every token, and the state of R * K
            rows that have read all of them.
        """
        positions = torch.arange(tokens.shape[1], device=tokens.device)
        x = self.embedding(tokens) * self.shape.width**0.5
        caches = []
        for layer, keys_values in zip(self.layers, memory.layers, strict=True):
            x, cache = layer(x, keys_values, memory_mask=memory.mask, positions=positions)
            caches.append(KeysValues(*(part.repeat_interleave(beams, dim=0) for part in cache)))
        log_probs = torch.log_softmax(self._classes(x).float(), dim=-1)
        return log_probs, DecoderState(tuple(caches), beams)

    def step(
        self, tokens: Tensor, memory: Memory, state: DecoderState
    ) -> tuple[Tensor, DecoderState]:
        """Read one more token in every row.

        Args:
            tokens: (R * K,) int64.
            memory: Of R requests; the K beams of a request share its row.
            state: What ``start`` or the last step gave.

        Returns:
            Natural-log probabilities (R * K, V) in float32, and the new state.
        """
        beams, rows = state.beams, tokens.shape[0]
        requests, width = rows // beams, self.shape.width
        read = torch.arange(state.length + 1, device=tokens.device)
        x = self.embedding(tokens)[:, None] * width**0.5
        caches = []
        for layer, memory_layer, past in zip(self.layers, memory.layers, state.layers, strict=True):
            assert isinstance(layer, DecoderLayer)
            normed = layer.self_norm(x)
            keys, values = layer.self_attention.keys_values(normed)
            cache = KeysValues(
                torch.cat([past.keys, keys], dim=2), torch.cat([past.values, values], dim=2)
            )
            caches.append(cache)
            bias = layer.self_bias(read[-1:], read)
            x = x + layer.self_attention(normed, cache.keys, cache.values, mask=bias)
            # Beams of a request are queries of one row, so its memory is never copied.
            crossed = layer.cross_attention(
                layer.cross_norm(x).view(requests, beams, width),
                memory_layer.keys,
                memory_layer.values,
                mask=memory.mask,
            )
            x = x + crossed.reshape(rows, 1, width)
            x = x + layer.feed_forward(layer.feed_forward_norm(x))
        log_probs = torch.log_softmax(self._classes(x)[:, 0].float(), dim=-1)
        return log_probs, DecoderState(tuple(caches), beams)

    def _classes(self, x: Tensor) -> Tensor:
        return F.linear(self.norm(x), self.embedding.weight, self.output_bias)
