"""The beam-convolution ingestor: which classes, in which order, and nothing of how probable.

LegoNN (arXiv 2206.03318, section 3.3): the ``p`` best classes of a row are embedded by rank and
convolved over rows. Only identities cross, so no gradient does: an encoder learns from CTC alone,
the reader from cross-entropy alone, and an encoder's temperature is invisible here. What the wire
or noise cut from a row is "absent", a class of its own.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from legonn_core.ingestors.ingestor import Ingestor, IngestorShape


class BeamConvolutionIngestor(Ingestor):
    """Marginals to a memory by rank; isolates gradients."""

    def __init__(self, shape: IngestorShape) -> None:
        super().__init__(shape, mixed_width=shape.ranks * shape.rank_width)
        self.embedding = nn.Embedding(shape.num_classes + 1, shape.rank_width)
        nn.init.normal_(self.embedding.weight, std=shape.rank_width**-0.5)

    def mix_dense(self, probs: Tensor, tail: Tensor) -> Tensor:
        """Embedded ranks of full rows; shapes as in the base, ``tail`` is not read."""
        return self._embed(*_ranked(probs.detach(), self.shape.ranks))

    def mix_sparse(self, ids: Tensor, probs: Tensor, tail: Tensor) -> Tensor:
        """Embedded ranks of rows as they come over the wire; ``tail`` is not read.

        A class that a row lists twice counts once, with the sum of its mass.
        """
        probs = probs.detach()
        same = ids[..., :, None] == ids[..., None, :]
        mass = (same.to(probs.dtype) * probs[..., None, :]).sum(dim=-1)
        first = ~same.tril(-1).any(dim=-1)
        # Ties go to the lower class, as in the full row: listed order must not matter.
        ids, order = ids.sort(dim=-1)
        places, values = _ranked((mass * first).gather(-1, order), self.shape.ranks)
        return self._embed(ids.gather(-1, places), values)

    def _embed(self, ids: Tensor, values: Tensor) -> Tensor:
        absent = self.shape.num_classes
        ids = ids.masked_fill(values <= 0.0, absent)
        missing = self.shape.ranks - ids.shape[-1]
        if missing > 0:
            ids = torch.cat([ids, ids.new_full((*ids.shape[:-1], missing), absent)], dim=-1)
        result: Tensor = self.embedding(ids).flatten(-2)
        return result


def _ranked(values: Tensor, ranks: int) -> tuple[Tensor, Tensor]:
    """Places of the greatest values, ties to the lower place, and those values."""
    best, places = values.sort(dim=-1, descending=True, stable=True)
    return places[..., :ranks], best[..., :ranks]
