"""Dumped marginals as a decoder's training reads them; ``dump_trainer`` writes them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

import numpy as np

from legonn_core.errors import BadConfig
from legonn_core.interface import codec
from legonn_core.interface.marginals import Marginals
from legonn_core.train.simulate import SimulatedBatch
from legonn_core.train.text_data import drawn_batches

INDEX, BLOCKS = "index.json", "blocks.bin"
BYTES_A_ROW = 51.0
"""Of 16 classes in 8 bits: only the order of lengths and the size of a batch hang on it."""


def collapsed(block: Marginals) -> tuple[int, ...]:
    """What the best class of each row says, as CTC reads it."""
    return tuple(label for label, _ in groupby(block.ids[:, 0].tolist()) if label)


@dataclass(frozen=True, slots=True)
class DumpedRows:
    """Kept rows as a decoder's training reads simulated ones: coded blocks and what they say."""

    blocks: tuple[tuple[bytes, tuple[int, ...]], ...]

    @classmethod
    def read(cls, folders: Sequence[Path]) -> DumpedRows:
        """Read what a ``dump`` recipe wrote.

        Raises:
            BadConfig: If a folder holds no dump.
        """
        blocks: list[tuple[bytes, tuple[int, ...]]] = []
        for folder in folders:
            if not (folder / INDEX).is_file():
                raise BadConfig(f"{folder}: no {INDEX}: write it with a recipe of kind dump")
            data = (folder / BLOCKS).read_bytes()
            entries = json.loads((folder / INDEX).read_text("utf-8"))["entries"]
            blocks += [(data[at : at + size], tuple(said)) for at, size, said in entries]
        return cls(tuple(blocks))

    def batches(self, *, budget: int, seed: tuple[int, ...]) -> Iterator[SimulatedBatch]:
        """Yield batches for ever; ``budget`` is the longest block's rows times their number."""
        lengths = np.array([len(data) / BYTES_A_ROW for data, _ in self.blocks])
        for indices in drawn_batches(lengths, np.ones(len(lengths)), budget=budget, seed=seed):
            chosen = [self.blocks[index] for index in indices]
            yield _batch([codec.decode(data) for data, _ in chosen], [said for _, said in chosen])


def _batch(blocks: Sequence[Marginals], targets: list[tuple[int, ...]]) -> SimulatedBatch:
    lengths = np.array([len(block) for block in blocks], dtype=np.int64)
    rows, top = -(-int(lengths.max()) // 16) * 16, max(block.ids.shape[1] for block in blocks)
    ids = np.zeros((len(blocks), rows, top), dtype=np.int64)
    probs = np.zeros((len(blocks), rows, top), dtype=np.float32)
    tail = np.zeros((len(blocks), rows), dtype=np.float32)
    for place, block in enumerate(blocks):
        count, width = block.ids.shape
        ids[place, :count, :width] = block.ids
        probs[place, :count, :width] = np.exp(block.log_probs)
        tail[place, :count] = block.tail
    nobody_knows = np.full((len(blocks), rows), -1, dtype=np.int64)
    return SimulatedBatch(ids, probs, tail, lengths, nobody_knows, targets)
