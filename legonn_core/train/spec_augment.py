"""SpecAugment (Park et al. 2019, arXiv 1904.08779): spans of time, bands of channels left out."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True)
class SpecAugment:
    """How much is masked.

    Attributes:
        times: Spans of time an item.
        longest: Of a span, as a share of the item's steps.
        bands: Bands of channels an item.
        widest: Of a band, in channels.
    """

    times: int = 2
    longest: float = 0.05
    bands: int = 2
    widest: int = 27

    def __call__(self, values: Tensor) -> Tensor:
        """(B, T, C) with spans and bands set to the item's mean; the global torch draws decide."""
        batch, steps, channels = values.shape
        mask = torch.zeros(batch, steps, 1, dtype=torch.bool, device=values.device)
        for _ in range(self.times):
            mask |= _spans(batch, steps, int(self.longest * steps), values.device)[..., None]
        bands = torch.zeros(batch, 1, channels, dtype=torch.bool, device=values.device)
        for _ in range(self.bands):
            bands |= _spans(batch, channels, self.widest, values.device)[:, None]
        return torch.where(mask | bands, values.mean(dim=(1, 2), keepdim=True), values)


def _spans(batch: int, size: int, longest: int, device: torch.device) -> Tensor:
    """(B, size) bool, one span each of a length drawn from 0 to ``longest``."""
    lengths = torch.randint(0, longest + 1, (batch, 1), device=device)
    starts = (torch.rand(batch, 1, device=device) * (size - lengths + 1)).long()
    at = torch.arange(size, device=device)[None]
    return (at >= starts) & (at < starts + lengths)
