"""Recordings with their text: decoded once, then packed and disturbed afresh for every batch."""

from __future__ import annotations

import csv
import io
import tarfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
import torch
import torchaudio.functional as audio
from numpy.typing import NDArray
from torch import Tensor

from legonn_core.features.log_mel import SAMPLE_RATE
from legonn_core.train.text_data import EnglishPieces


@dataclass(frozen=True, slots=True)
class Recording:
    """One utterance: int16 samples at 16 kHz and its English classes."""

    samples: NDArray[np.int16]
    tokens: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class SpeechSet:
    """A TSV with a tar of the same name.

    Attributes:
        path: The TSV.
        column: Which text to learn.
        skip_digits: Leave out texts with figures (they were spoken as words).
        weight: Sampling weight.
    """

    path: str
    column: str
    skip_digits: bool = False
    weight: float = 1.0


def read_set(root: Path, chosen: SpeechSet, pieces: EnglishPieces) -> list[Recording]:
    """Decode a set; rows whose restoration was confirmed by less than 0.7 are left out."""
    table = root / chosen.path
    with table.open(encoding="utf-8", newline="") as file:
        rows = {
            row["path"]: row for row in csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE)
        }
    recordings = []
    with tarfile.open(table.with_suffix(".tar")) as archive:
        for member in archive:
            row = rows.get(member.name)
            if row is None or float(row["pc_match"]) < 0.7:
                continue
            text = row[chosen.column]
            tokens = pieces.encode(text)
            if tokens is None or (chosen.skip_digits and any(c.isdigit() for c in text)):
                continue
            stream = archive.extractfile(member)
            assert stream is not None
            samples, rate = soundfile.read(io.BytesIO(stream.read()), dtype="int16")
            assert rate == SAMPLE_RATE and samples.ndim == 1
            recordings.append(Recording(samples, tokens))
    return recordings


class SpeechBatcher:
    """Packs utterances into rows of equal length, each row disturbed in its own way.

    Args:
        recordings: All training utterances.
        weights: (N,) sampling weights.
        chunk_samples: Rows are whole chunks.
        row_chunks: Row lengths to choose from, in chunks.
        batch_seconds: Audio a batch.
        seed: Of the generator.
    """

    def __init__(
        self,
        recordings: Sequence[Recording],
        weights: NDArray[np.float64],
        *,
        chunk_samples: int,
        row_chunks: Sequence[int],
        batch_seconds: float,
        seed: int,
    ) -> None:
        self.recordings = recordings
        self.cumulative = np.cumsum(weights / weights.sum())
        self.chunk_samples, self.row_chunks = chunk_samples, tuple(row_chunks)
        self.batch_seconds = batch_seconds
        self.rng = np.random.default_rng(seed)

    def _draw(self) -> Recording:
        index = int(np.searchsorted(self.cumulative, self.rng.random()))
        return self.recordings[min(index, len(self.recordings) - 1)]

    def _spoken(self, recording: Recording) -> NDArray[np.float32]:
        """One utterance at its own speed and level."""
        samples = recording.samples.astype(np.float32) / 32768.0
        tempo = self.rng.choice([9, 10, 10, 11])
        if tempo != 10:
            samples = audio.resample(torch.from_numpy(samples), int(tempo), 10).numpy()
        level = float(np.sqrt(np.mean(samples**2))) + 1e-6
        wanted = 10 ** self.rng.uniform(-1.9, -0.8)
        if self.rng.random() < 0.7:
            samples = samples * min(wanted / level, 0.99 / (np.abs(samples).max() + 1e-6))
        return samples

    def _row(self, length: int) -> tuple[NDArray[np.float32], tuple[int, ...]]:
        """Utterances with pauses until no drawn one fits; 400 ms stay silent at the end."""
        rng = self.rng
        row = np.zeros(length, dtype=np.float32)
        tokens: tuple[int, ...] = ()
        at = int(rng.uniform(0.0, 0.5) * SAMPLE_RATE)
        if rng.random() < 0.02:
            return row, ()
        misses = 0
        while misses < 4:
            recording = self._draw()
            if at + len(recording.samples) * 1.12 + 0.4 * SAMPLE_RATE > length:
                misses += 1
                continue
            samples = self._spoken(recording)
            row[at : at + len(samples)] = samples
            at += len(samples) + int(rng.uniform(0.05, 0.7) * SAMPLE_RATE)
            tokens += recording.tokens
        return row, tokens

    def _disturbed(self, row: NDArray[np.float32]) -> NDArray[np.float32]:
        """Babble, noise, a small room, or a narrow band; a third of rows stay as they are."""
        rng, kind = self.rng, self.rng.random()
        level = float(np.sqrt(np.mean(row**2))) + 1e-4
        if kind < 0.25:
            other = self._draw().samples.astype(np.float32) / 32768.0
            other = np.resize(np.roll(other, rng.integers(len(other))), len(row))
            scale = level / (float(np.sqrt(np.mean(other**2))) + 1e-6)
            row = row + other * scale * 10 ** (-rng.uniform(8.0, 25.0) / 20)
        elif kind < 0.45:
            noise = rng.standard_normal(len(row)).astype(np.float32)
            if rng.random() < 0.6:  # brownish: most rooms hum more than they hiss
                noise = audio.lfilter(
                    torch.from_numpy(noise),
                    torch.tensor([1.0, -0.95]),
                    torch.tensor([1.0, 0.0]),
                    clamp=False,
                ).numpy()
                noise /= float(np.std(noise)) + 1e-6
            row = row + noise * level * 10 ** (-rng.uniform(5.0, 30.0) / 20)
        if rng.random() < 0.15:
            size = int(rng.uniform(0.05, 0.3) * SAMPLE_RATE)
            decay = np.exp(-np.arange(size) / (size / rng.uniform(4.0, 8.0)))
            echo = rng.standard_normal(size) * decay * rng.uniform(0.02, 0.08)
            echo[0] = 1.0
            wet = audio.fftconvolve(
                torch.from_numpy(row), torch.from_numpy(echo.astype(np.float32))
            )
            row = wet.numpy()[: len(row)]
        if rng.random() < 0.1:
            half = audio.resample(torch.from_numpy(row), 2, 1)
            row = audio.resample(half, 1, 2).numpy()[: len(row)]
        return row.clip(-1.0, 1.0).astype(np.float32)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor, list[tuple[int, ...]]]]:
        """Yield samples (B, N), chunks (B,) and targets for ever."""
        while True:
            chunks = int(self.rng.choice(self.row_chunks))
            length = chunks * self.chunk_samples
            batch = max(2, int(self.batch_seconds * SAMPLE_RATE / length))
            rows = [self._row(length) for _ in range(batch)]
            samples = np.stack([self._disturbed(row) for row, _ in rows])
            yield (
                torch.from_numpy(samples),
                torch.full((batch,), chunks),
                [tokens for _, tokens in rows],
            )
