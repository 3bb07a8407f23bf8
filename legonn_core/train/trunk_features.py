"""Features of a frozen trunk, computed once and read many times.

Experiments that leave Whisper's layers as they are need not run them again and again: rows of
recordings, disturbed as in any speech training, are heard once with full context and kept, so that
a training of what follows takes minutes.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from legonn_core.encoders.speech import SpeechEncoder
from legonn_core.features.log_mel import SAMPLE_RATE
from legonn_core.train.spec_augment import SpecAugment
from legonn_core.train.speech_data import SpeechBatcher

FRAMES_PER_SECOND = 50.0
"""Of the trunk."""
INDEX, VALUES = "index.json", "features.f16"


@dataclass(frozen=True, slots=True)
class HeardRow:
    """One row of speech as the trunk heard it.

    Attributes:
        start: First frame in the file.
        frames: How many.
        chunks: The same in the encoder's chunks.
        tokens: What was said, in English classes.
    """

    start: int
    frames: int
    chunks: int
    tokens: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class TrunkFeatures:
    """A folder of kept features.

    Attributes:
        rows: In the order of the file.
        values: (all frames, D) float16, left on disk.
        key: What they were computed from.
    """

    rows: tuple[HeardRow, ...]
    values: NDArray[np.float16]
    key: str


def read_features(folder: Path) -> TrunkFeatures | None:
    """What was kept in a folder; None if nothing was, or not to its end."""
    if not (folder / INDEX).is_file():
        return None
    index = json.loads((folder / INDEX).read_text(encoding="utf-8"))
    rows = tuple(HeardRow(a, b, c, tuple(tokens)) for a, b, c, tokens in index["rows"])
    total = sum(row.frames for row in rows)
    shape = (total, int(index["width"]))
    values: NDArray[np.float16] = np.memmap(folder / VALUES, np.float16, "r", shape=shape)
    return TrunkFeatures(rows, values, str(index["key"]))


@torch.inference_mode()
def write_features(
    folder: Path, encoder: SpeechEncoder, heard: SpeechBatcher, *, hours: float, key: str
) -> TrunkFeatures:
    """Hear rows until ``hours`` of audio are kept.

    Args:
        folder: Where.
        encoder: Its trunk is run, with full context.
        heard: Draws and disturbs the rows.
        hours: Of audio, padding included.
        key: Kept beside them.
    """
    folder.mkdir(parents=True, exist_ok=True)
    device = encoder.head.weight.device
    rows: list[tuple[int, int, int, tuple[int, ...]]] = []
    start, seconds = 0, 0.0
    with (folder / VALUES).open("wb") as file:
        for samples, chunks, targets in heard:
            here = samples.to(device), chunks.to(device)
            features = encoder.trunk(*here, chunk_rows=0).float().cpu().numpy()
            file.write(features.astype(np.float16).tobytes())
            frames = features.shape[1]
            for count, tokens in zip(chunks.tolist(), targets, strict=True):
                rows.append((start, frames, count, tokens))
                start += frames
            seconds += samples.numel() / SAMPLE_RATE
            if seconds >= 3600.0 * hours:
                break
    content = {"key": key, "width": features.shape[2], "rows": rows}
    (folder / INDEX).write_text(json.dumps(content), encoding="utf-8")
    found = read_features(folder)
    assert found is not None
    return found


class FeatureBatcher:
    """Draws rows of one length, masked afresh.

    Args:
        features: Kept rows.
        batch_seconds: Audio a batch.
        masks: On the features; None leaves them whole.
        seed: Of the draws.
    """

    def __init__(
        self,
        features: TrunkFeatures,
        *,
        batch_seconds: float,
        masks: SpecAugment | None,
        seed: Sequence[int],
    ) -> None:
        self.features, self.masks = features, masks
        self.frames = batch_seconds * FRAMES_PER_SECOND
        self.rng = np.random.default_rng(seed)
        self.groups: dict[int, list[HeardRow]] = {}
        for row in features.rows:
            if row.tokens:
                self.groups.setdefault(row.chunks, []).append(row)
        sizes = [sum(row.frames for row in group) for group in self.groups.values()]
        self.cumulative = np.cumsum(sizes) / sum(sizes)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor, list[tuple[int, ...]]]]:
        """Yield features (B, frames, D), chunks (B,) and what was said, for ever."""
        lengths = list(self.groups)
        while True:
            at = int(np.searchsorted(self.cumulative, self.rng.random()))
            group = self.groups[lengths[min(at, len(lengths) - 1)]]
            size = max(2, int(self.frames / group[0].frames))
            drawn = self.rng.choice(len(group), size=min(size, len(group)), replace=False)
            chosen = [group[index] for index in drawn]
            stacked = np.stack([self.features.values[r.start : r.start + r.frames] for r in chosen])
            values = torch.from_numpy(stacked.astype(np.float32))
            if self.masks is not None:
                values = self.masks(values)
            yield values, torch.tensor([r.chunks for r in chosen]), [r.tokens for r in chosen]
