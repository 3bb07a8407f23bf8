"""What both ingestors share: a receptive field, positions, encoder blocks, adapters.

LegoNN (arXiv 2206.03318, section 3.3) ends both in Transformer encoder blocks that belong to the
reading module. An adapter (Houlsby et al. 2019, arXiv 1902.00751) behind each block lets a frozen
decoder meet a new encoder: only the adapters learn, and zeroed they are not there.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from legonn_core.nn.positions import sinusoids
from legonn_core.nn.transformer import TransformerLayer

BLANK = 0
"""Class that says nothing, in every vocabulary."""


class IngestorKind(Enum):
    """How rows become vectors."""

    WEIGHTED = "weighted"
    BEAM = "beam"


@dataclass(frozen=True, slots=True)
class IngestorShape:
    """Sizes of an ingestor.

    Attributes:
        num_classes: V with blank.
        width: D.
        num_layers: Encoder blocks after the mixture; they belong to the reading module.
        max_rows: Longest sequence of positions.
        receptive_field: Rows under the first projection, odd; 1 reads row by row.
        adapter_width: Bottleneck behind each block; 0: no adapters.
        ranks: Classes a row that a beam ingestor reads; fixed once trained.
        rank_width: Size of its embedding of one rank.
        blank_limit: Below 1, rows are compressed (as in CTC-based compression, Gaido et al. 2021,
            arXiv 2102.01578): those whose blank has at least this probability are not read, and a
            run of rows with one best class is read as its mean.
    """

    num_classes: int
    width: int
    num_heads: int
    hidden: int
    num_layers: int
    max_rows: int
    receptive_field: int = 1
    adapter_width: int = 0
    ranks: int = 8
    rank_width: int = 48
    blank_limit: float = 1.0
    dropout: float = 0.0

    def __post_init__(self) -> None:
        if self.receptive_field < 1 or self.receptive_field % 2 == 0:
            raise ValueError(f"receptive_field is {self.receptive_field}, not odd and positive")
        if self.adapter_width < 0 or not 1 <= self.ranks <= self.num_classes:
            raise ValueError(f"adapter_width={self.adapter_width}, ranks={self.ranks}")


class Adapter(nn.Module):
    """A narrow residual branch that begins as nothing."""

    def __init__(self, width: int, bottleneck: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.narrow = nn.Linear(width, bottleneck)
        self.widen = nn.Linear(bottleneck, width)
        nn.init.zeros_(self.widen.weight)
        nn.init.zeros_(self.widen.bias)

    def forward(self, x: Tensor) -> Tensor:
        """(..., D) to the same shape."""
        result: Tensor = x + self.widen(F.gelu(self.narrow(self.norm(x))))
        return result


class Read(NamedTuple):
    """Rows as vectors, compressed where the shape says so.

    Attributes:
        mixture: (B, U', mixed width).
        lengths: (B,) vectors of each, at least 1.
        rows: (B, U') which row of the input each is, or begins with.
    """

    mixture: Tensor
    lengths: Tensor
    rows: Tensor


class Ingestor(nn.Module, ABC):
    """Marginals to a memory for cross-attention; subclasses say how rows become vectors.

    Args:
        shape: Sizes.
        mixed_width: Of the vectors that the subclass's ``mix`` methods give.
    """

    if TYPE_CHECKING:
        positions: Tensor

    def __init__(self, shape: IngestorShape, *, mixed_width: int) -> None:
        super().__init__()
        self.shape = shape
        self.norm = nn.LayerNorm(mixed_width)
        field = shape.receptive_field
        self.project: nn.Linear | nn.Conv1d = (
            nn.Linear(mixed_width, shape.width)
            if field == 1
            else nn.Conv1d(mixed_width, shape.width, field, padding=field // 2)
        )
        table = sinusoids(shape.max_rows, shape.width)
        self.register_buffer("positions", table, persistent=False)
        self.layers = nn.ModuleList(
            TransformerLayer(shape.width, shape.num_heads, shape.hidden, dropout=shape.dropout)
            for _ in range(shape.num_layers)
        )
        self.adapters = nn.ModuleList(
            Adapter(shape.width, shape.adapter_width)
            for _ in range(shape.num_layers if shape.adapter_width else 0)
        )
        self.output_norm = nn.LayerNorm(shape.width)

    @abstractmethod
    def mix_dense(self, probs: Tensor, tail: Tensor) -> Tensor:
        """Vectors of full rows.

        Args:
            probs: (B, U, V).
            tail: (B, U) mass that ``probs`` leaves out.

        Returns:
            (B, U, mixed width).
        """

    @abstractmethod
    def mix_sparse(self, ids: Tensor, probs: Tensor, tail: Tensor) -> Tensor:
        """Vectors of rows as they come over the wire.

        Args:
            ids: (B, U, k) int64.
            probs: (B, U, k).
            tail: (B, U).

        Returns:
            (B, U, mixed width).
        """

    def read_dense(self, probs: Tensor, tail: Tensor, lengths: Tensor) -> Read:
        """Vectors of full rows, compressed where the shape says so.

        Args:
            probs: (B, U, V).
            tail: (B, U).
            lengths: (B,) number of rows.

        """
        return self._compressed(
            self.mix_dense(probs, tail), probs[:, :, BLANK], probs.argmax(-1), lengths
        )

    def read_sparse(self, ids: Tensor, probs: Tensor, tail: Tensor, lengths: Tensor) -> Read:
        """Vectors of rows as they come over the wire; otherwise as ``read_dense``."""
        blank = (probs * (ids == BLANK)).sum(dim=-1)
        best = ids.gather(2, probs.argmax(dim=-1, keepdim=True))[..., 0]
        return self._compressed(self.mix_sparse(ids, probs, tail), blank, best, lengths)

    def _compressed(self, mixture: Tensor, blank: Tensor, best: Tensor, lengths: Tensor) -> Read:
        steps = torch.arange(mixture.shape[1], device=mixture.device)
        if self.shape.blank_limit >= 1.0:
            return Read(mixture, lengths, steps.expand(mixture.shape[:2]))
        kept = (blank < self.shape.blank_limit) & (steps[None, :] < lengths[:, None])
        kept[:, 0] |= ~kept.any(dim=1)
        first = kept.clone()
        first[:, 1:] &= ~(kept[:, :-1] & (best[:, 1:] == best[:, :-1]) & (best[:, 1:] != BLANK))
        left = first.sum(dim=1)
        width = int(left.max())
        # What is left out goes into a column of its own behind the last.
        column = (first.cumsum(dim=1) - 1).masked_fill(~kept, width)
        sums = mixture.new_zeros(len(mixture), width + 1, mixture.shape[2])
        sums = sums.scatter_add(1, column[..., None].expand_as(mixture), mixture)
        counts = mixture.new_zeros(len(mixture), width + 1)
        counts = counts.scatter_add(1, column, torch.ones_like(mixture[..., 0])).clamp(min=1.0)
        rows = torch.argsort(~first, dim=1, stable=True)[:, :width]
        return Read((sums / counts[..., None])[:, :width], left, rows)

    def forward(self, mixture: Tensor, lengths: Tensor) -> Tensor:
        """Position, mix and normalise.

        Args:
            mixture: (B, U, mixed width) from one of the two ``mix`` methods.
            lengths: (B,) number of rows.

        Returns:
            (B, U, D) memory.
        """
        rows = mixture.shape[1]
        steps = torch.arange(rows, device=mixture.device)
        inside = steps[None, :] < lengths[:, None]
        x = self.norm(mixture)
        if isinstance(self.project, nn.Conv1d):
            # Padding must be silence to the last rows, not the norm's bias.
            x = self.project((x * inside[..., None].to(x.dtype)).transpose(1, 2)).transpose(1, 2)
        else:
            x = self.project(x)
        x = x + self.positions[:rows]
        mask = inside[:, None, None, :]
        for index, layer in enumerate(self.layers):
            x = layer(x, mask=mask, positions=steps)
            if len(self.adapters):
                x = self.adapters[index](x)
        result: Tensor = self.output_norm(x)
        return result
