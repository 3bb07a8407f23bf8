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

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from legonn_core.decoders import kernels
from legonn_core.decoders.decoder import DecoderState, Memory
from legonn_core.decoders.prepared import PreparedDecoder

FEW_ROWS = 5
"""Up to so many rows a compiled step that reads each weight once is faster than products of a tuned
library, each of them called from Python."""

_COLUMNS = 64

Floats = NDArray[np.float32]
Ids = NDArray[np.int64]


@dataclass(slots=True)
class _Arrays:
    """Room for R requests of K beams, S tokens and U rows of memory.

    Attributes:
        caches: (L, 2, R, H, S, K, dh): keys, then values.
        memories: (L, 2, R, H, U, 1, dh).
        ancestors: (R, S, K) which beam wrote what beam k sees in a column.
    """

    caches: Floats
    memories: Floats
    ancestors: NDArray[np.int16]


class TokenBank:
    """Requests of one decoder and one beam width.

    Args:
        decoder: Whose steps they take.
        beams: K.
    """

    def __init__(self, decoder: PreparedDecoder, beams: int) -> None:
        self._decoder, self._beams = decoder, beams
        self._arrays = self._room(1, _COLUMNS, 1)
        self._first = np.zeros(0, np.int64)
        self._rows = np.zeros(0, np.int64)
        self._cursor = 0

    @property
    def num_requests(self) -> int:
        """R."""
        return len(self._first)

    @property
    def num_columns(self) -> int:
        """Tokens that there is room for."""
        return self._arrays.ancestors.shape[1]

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
        for layer, keys_values in enumerate(memory.layers):
            for part, tensor in enumerate(keys_values):
                arrays.memories[layer, part, new, :, : tensor.shape[2], 0] = tensor.numpy()
        if past is not None:  # written by beam 0, seen by all
            for layer, keys_values in enumerate(past.layers):
                for part, tensor in enumerate(keys_values):
                    arrays.caches[layer, part, new, :, begin : self._cursor, 0] = tensor.numpy()
            arrays.ancestors[new, begin : self._cursor] = 0
        self._first = np.append(self._first, np.full(count, begin))
        self._rows = np.append(self._rows, np.array(lengths))

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
                arrays.caches[:, :, place] = arrays.caches[:, :, before]
                arrays.memories[:, :, place] = arrays.memories[:, :, before]
                arrays.ancestors[place] = arrays.ancestors[before]
        self._first, self._rows = self._first[order], self._rows[order]
        if not order:
            self._cursor = 0
        return order

    def step(self, tokens: Ids, parents: Ids) -> Floats:
        """Read one more token in every row.

        Args:
            tokens: (R, K).
            parents: (R, K) row of the step before that each row goes on from.

        Returns:
            (R, K, V) natural-log probabilities.
        """
        if self._cursor == self.num_columns:
            self._make_room(self.num_requests, 0, 1)
        kernels.follow(self._arrays.ancestors, self._first, parents, self._cursor)
        is_few = tokens.size <= FEW_ROWS
        log_probs = (self._step_few if is_few else self._step_many)(tokens.ravel())
        self._cursor += 1
        return log_probs.reshape(*tokens.shape, -1)

    def _step_few(self, tokens: Ids) -> Floats:
        arrays = self._arrays
        return kernels.step_few(
            self._decoder.stack,
            arrays.caches,
            arrays.memories,
            arrays.ancestors,
            self._first,
            self._rows,
            self._cursor,
            tokens,
        )

    @torch.inference_mode()
    def _step_many(self, tokens: Ids) -> Floats:
        arrays, decoder = self._arrays, self._decoder
        x = F.embedding(torch.from_numpy(tokens), decoder.embedding)
        mixed = torch.empty_like(x)
        out = mixed.numpy()
        for index, layer in enumerate(decoder.layers):
            three = layer.query_key_value(layer.self_norm(x)).numpy()
            distances = decoder.stack.distances[index]
            kernels.look_back(
                three, arrays.caches[index], arrays.ancestors, self._first, self._cursor,
                distances, out,
            )  # fmt: skip
            x = layer.self_output(mixed).add_(x)
            query = layer.cross_query(layer.cross_norm(x)).numpy()
            kernels.look_at_memory(query, arrays.memories[index], self._rows, out)
            x = layer.cross_output(mixed).add_(x)
            x = layer.contract(F.gelu(layer.expand(layer.feed_forward_norm(x)))).add_(x)
        log_probs: Floats = torch.log_softmax(decoder.classes(decoder.norm(x)), dim=-1).numpy()
        return log_probs

    def _make_room(self, requests: int, behind: int, rows: int) -> None:
        """See that so many requests fit, and a column follows ``behind`` columns of the past."""
        arrays, here = self._arrays, self.num_requests
        low = int(self._first.min(initial=self._cursor))
        window = max(self._cursor - low, behind)
        sizes = (*arrays.ancestors.shape[:2], arrays.memories.shape[4])
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
        fresh.caches[:, :, :here, :, new] = arrays.caches[:, :, :here, :, old]
        fresh.memories[:, :, :here, :, : sizes[2]] = arrays.memories[:, :, :here]
        fresh.ancestors[:here, new] = arrays.ancestors[:here, old]
        self._arrays = fresh
        self._first += shift
        self._cursor = window

    def _room(self, requests: int, columns: int, rows: int) -> _Arrays:
        shape, beams = self._decoder.shape, self._beams
        parts, size = (shape.layers, 2, requests, shape.num_heads), shape.width // shape.num_heads
        return _Arrays(
            caches=np.zeros((*parts, columns, beams, size), np.float32),
            memories=np.zeros((*parts, rows, 1, size), np.float32),
            ancestors=np.zeros((requests, columns, beams), np.int16),
        )


def _power(wanted: int, size: int) -> int:
    """The least power of two that is enough, never less than ``size``."""
    return max(size, 1 << math.ceil(math.log2(max(wanted, 1))))
