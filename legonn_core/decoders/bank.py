"""The keys and values of requests in flight, and the token step over all of them.

Requests join and leave between steps. All write their newest token into the same column, so a step
is one batch whatever each request has behind it; a request that joins late sees no column before
its own. The beams of a request share one row of memory and one cache: a beam that goes on from
another beam's tokens looks at that beam's columns, and nothing is copied.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from legonn_core.decoders.decoder import DecoderState, Memory
from legonn_core.decoders.prepared import PreparedDecoder, PreparedLayer

_HIDDEN = -1e9
"""Added to the score of what may not be seen; the softmax makes it exactly zero."""

_COLUMNS = 64


@dataclass(slots=True)
class _Arrays:
    """Room for R requests of K beams, S tokens and U rows of memory.

    Attributes:
        caches: One entry a layer, (2, R, H, S, K, dh): keys, then values.
        memories: One entry a layer, (2, R, H, U, dh).
        memory_bias: (R, 1, 1, U) added to scores: hides what is behind a request's last row.
        visible: (R, K, S, K) whether beam k sees what beam j wrote.
    """

    caches: list[Tensor]
    memories: list[Tensor]
    memory_bias: Tensor
    visible: Tensor


class TokenBank:
    """Requests of one decoder and one beam width.

    Args:
        decoder: Whose steps they take.
        beams: K.
    """

    def __init__(self, decoder: PreparedDecoder, beams: int) -> None:
        self._decoder, self._beams = decoder, beams
        self._arrays = self._room(1, _COLUMNS, 1)
        self._first: list[int] = []
        self._rows: list[int] = []
        self._cursor = 0
        self._oneself = torch.eye(beams, dtype=torch.bool)
        self._distances = self._distance_bias(_COLUMNS)

    @property
    def num_requests(self) -> int:
        """R."""
        return len(self._first)

    @property
    def num_columns(self) -> int:
        """Tokens that there is room for."""
        return self._arrays.visible.shape[2]

    def join(self, memory: Memory, lengths: Sequence[int], past: DecoderState | None) -> None:
        """Add requests behind those that are here.

        Args:
            memory: Of R' requests.
            lengths: Rows of each.
            past: What they have read already, in one beam each, all equally long; None for nothing.
        """
        here, count = self.num_requests, len(lengths)
        behind = 0 if past is None else past.length
        self._make_room(here + count, behind, max(lengths))
        new = slice(here, here + count)
        begin = self._cursor - behind
        arrays = self._arrays
        for layer, (keys, values) in enumerate(memory.layers):
            arrays.memories[layer][:, new, :, : keys.shape[2]] = torch.stack([keys, values])
        for row, length in enumerate(lengths, start=here):
            arrays.memory_bias[row, :, :, :length] = 0.0
            arrays.memory_bias[row, :, :, length:] = _HIDDEN
        arrays.visible[new] = False
        if past is not None:  # written by beam 0, seen by all
            for layer, (keys, values) in enumerate(past.layers):
                arrays.caches[layer][:, new, :, begin : self._cursor, 0] = torch.stack(
                    [keys, values]
                )
            arrays.visible[new, :, begin : self._cursor, 0] = True
        self._first += [begin] * count
        self._rows += list(lengths)

    def leave(self, indices: Sequence[int]) -> list[int]:
        """Remove requests; those at the end take the places that become free.

        Returns:
            For each place the index that its request had before.
        """
        gone, order = set(indices), list(range(self.num_requests))
        for index in sorted(gone):
            while order and order[-1] in gone:
                order.pop()
            if index < len(order):
                order[index] = order.pop()
        arrays = self._arrays
        for place, before in enumerate(order):
            if place != before:
                for tensor in (*arrays.caches, *arrays.memories):
                    tensor[:, place] = tensor[:, before]
                arrays.memory_bias[place] = arrays.memory_bias[before]
                arrays.visible[place] = arrays.visible[before]
        self._first = [self._first[before] for before in order]
        self._rows = [self._rows[before] for before in order]
        if not order:
            self._cursor = 0
        return order

    def step(self, tokens: Tensor, parents: Tensor) -> Tensor:
        """Read one more token in every row.

        Args:
            tokens: (R, K) int64.
            parents: (R, K) int64 row of the step before that each row goes on from.

        Returns:
            (R, K, V) natural-log probabilities in float32.
        """
        if self._cursor == self.num_columns:
            self._make_room(self.num_requests, 0, 1)
        count, beams, width = self.num_requests, self._beams, self._decoder.shape.width
        low, rows = min(self._first), max(self._rows)
        seen = slice(low, self._cursor + 1)
        bias = self._seen_bias(parents, seen)
        hides = any(length != rows for length in self._rows)
        memory_bias = self._arrays.memory_bias[:count, :, :, :rows] if hides else None
        x = F.embedding(tokens.view(-1), self._decoder.embedding)
        for index, layer in enumerate(self._decoder.layers):
            cache = self._arrays.caches[index][:, :count]
            memory = self._arrays.memories[index][:, :count, :, :rows]
            x = layer.self_output(self._look_back(layer, x, cache, bias[index], seen)).add_(x)
            query = layer.cross_query(layer.cross_norm(x))
            query = query.view(count, beams, -1, self._decoder.head_width).transpose(1, 2)
            mixed = F.scaled_dot_product_attention(
                query, memory[0], memory[1], attn_mask=memory_bias
            )
            x = layer.cross_output(mixed.transpose(1, 2).reshape(-1, width)).add_(x)
            x = layer.contract(F.gelu(layer.expand(layer.feed_forward_norm(x)))).add_(x)
        self._cursor += 1
        logits = self._decoder.classes(self._decoder.norm(x))
        return torch.log_softmax(logits, dim=-1).view(count, beams, -1)

    def _look_back(
        self, layer: PreparedLayer, x: Tensor, cache: Tensor, bias: Tensor, seen: slice
    ) -> Tensor:
        """Self-attention of one layer, with the newest keys and values put into the cache."""
        shape = (cache.shape[1], self._beams, 3, cache.shape[2], cache.shape[5])
        new = layer.query_key_value(layer.self_norm(x)).view(shape).permute(2, 0, 3, 1, 4)
        cache[:, :, :, self._cursor] = new[1:]
        past = cache[:, :, :, seen].flatten(3, 4)
        mixed = F.scaled_dot_product_attention(new[0], past[0], past[1], attn_mask=bias)
        return mixed.transpose(1, 2).reshape(x.shape)

    def _seen_bias(self, parents: Tensor, seen: slice) -> Tensor:
        """(L, R, H, K, S * K) what to add to the scores of this step; notes who went on from whom.

        (L, 1, H, 1, S) where all rows see all columns.
        """
        count, beams = self.num_requests, self._beams
        length = seen.stop - seen.start
        distances = self._distances[..., -length * beams :]
        visible = self._arrays.visible[:count, :, seen]
        visible[:, :, -1] = self._oneself
        if beams == 1:
            if max(self._first) == seen.start:
                return distances
        else:
            requests = torch.arange(count)[:, None]
            visible[:, :, :-1] = visible[requests, parents, :-1]
        flat = visible.reshape(1, count, 1, beams, length * beams)
        return torch.where(flat, distances, _HIDDEN)

    def _distance_bias(self, columns: int) -> Tensor:
        """(L, 1, H, 1, S * K): the score of each column's distance to the last of ``columns``."""
        back = torch.arange(columns - 1, -1, -1).clamp(max=self._decoder.distances.shape[2] - 1)
        return self._decoder.distances[:, None, :, None, back].repeat_interleave(self._beams, -1)

    def _make_room(self, requests: int, behind: int, rows: int) -> None:
        """See that so many requests fit, and a column follows ``behind`` columns of the past."""
        arrays, here = self._arrays, self.num_requests
        low = min(self._first, default=self._cursor)
        window = max(self._cursor - low, behind)
        sizes = (arrays.visible.shape[0], arrays.visible.shape[2], arrays.memory_bias.shape[3])
        if requests <= sizes[0] and rows <= sizes[2] and behind <= self._cursor < sizes[1]:
            return
        grown = (
            _power(requests, sizes[0]),
            _power(2 * window + 1, sizes[1]),
            _power(rows, sizes[2]),
        )
        shift = window - self._cursor
        old, new = slice(low, self._cursor), slice(low + shift, window)
        fresh = self._room(*grown)
        for layer in range(len(fresh.caches)):
            fresh.caches[layer][:, :here, :, new] = arrays.caches[layer][:, :here, :, old]
            fresh.memories[layer][:, :here, :, : sizes[2]] = arrays.memories[layer][:, :here]
        fresh.memory_bias[:here, :, :, : sizes[2]] = arrays.memory_bias[:here]
        fresh.visible[:here, :, new] = arrays.visible[:here, :, old]
        self._arrays = fresh
        self._first = [first + shift for first in self._first]
        self._cursor = window
        if grown[1] != sizes[1]:
            self._distances = self._distance_bias(grown[1])

    def _room(self, requests: int, columns: int, rows: int) -> _Arrays:
        shape, beams, head = self._decoder.shape, self._beams, self._decoder.head_width
        return _Arrays(
            caches=[
                torch.zeros(2, requests, shape.num_heads, columns, beams, head)
                for _ in self._decoder.layers
            ],
            memories=[
                torch.zeros(2, requests, shape.num_heads, rows, head) for _ in self._decoder.layers
            ],
            memory_bias=torch.full((requests, 1, 1, rows), _HIDDEN),
            visible=torch.zeros(requests, beams, columns, beams, dtype=torch.bool),
        )


def _power(wanted: int, size: int) -> int:
    """The least power of two that is enough, never less than ``size``."""
    return max(size, 1 << math.ceil(math.log2(max(wanted, 1))))
