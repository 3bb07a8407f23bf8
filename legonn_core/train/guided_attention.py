"""Tell one head of cross-attention where the next token stands, while that is known.

A small decoder finds its place in the rows late or never by cross-entropy alone. Where rows were
made from text it is known which of them belong to a token, and saying so teaches the place in a few
hundred steps (guided alignment, Chen et al. 2016, arXiv 1607.01628). Nothing of it is left in the
module.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from legonn_core.decoders.decoder import Decoder
from legonn_core.nn.attention import Attention
from legonn_core.nn.transformer import DecoderLayer

NEVER = -1e4


class GuidedHead:
    """The first head of one decoder layer's cross-attention, heard in passing.

    Args:
        decoder: Whose.
        layer: Which layer.
    """

    def __init__(self, decoder: Decoder, *, layer: int) -> None:
        chosen = decoder.layers[layer]
        assert isinstance(chosen, DecoderLayer)
        self._attention: Attention = chosen.cross_attention
        self._seen: list[tuple[Tensor, Tensor]] = []

    @contextmanager
    def listening(self) -> Iterator[GuidedHead]:
        """Keep what the layer is asked, for ``loss``."""

        def keep(_: object, given: tuple[Tensor, ...], __: object) -> None:
            self._seen.append((given[0], given[1]))

        self._seen.clear()
        handle = self._attention.register_forward_hook(keep)
        try:
            yield self
        finally:
            handle.remove()

    def loss(self, said: Tensor) -> Tensor:
        """How surprised the head is of the rows that belong to the next token, in nats a token.

        Args:
            said: (B, U) which token of the target a row belongs to, -1 where to none.

        Returns:
            The mean over tokens that have rows; 0 where none has.
        """
        ((x, keys),) = self._seen
        head = keys.shape[-1]
        query = self._attention.query(x)[..., :head]
        scores = (query * head**-0.5) @ keys[:, 0].transpose(-1, -2)
        tokens = torch.arange(x.shape[1], device=x.device)
        mine = said[:, None, :] == tokens[None, :, None]
        # Finite, since the gradient of no rows at all would not be a number.
        weights = scores.float().masked_fill(~_inside(said)[:, None], NEVER)
        surprise = weights.logsumexp(-1) - weights.masked_fill(~mine, NEVER).logsumexp(-1)
        held = mine.any(dim=-1)
        return torch.where(held, surprise, 0.0).sum() / held.sum().clamp(min=1)


def _inside(said: Tensor) -> Tensor:
    """Rows that are not padding: whatever stands before the last row that belongs to a token."""
    return (said >= 0).flip(1).cumsum(1).flip(1) > 0
