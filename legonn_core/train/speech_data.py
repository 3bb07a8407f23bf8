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

from legonn_core.errors import BadAudio, BadText
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
        reader = csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE)
        known = reader.fieldnames or ()
        if missing := {"path", chosen.column} - set(known):
            raise BadText(
                f"{table}: no column {', '.join(sorted(missing))}; it has {', '.join(known)}"
            )
        rows = {row["path"]: row for row in reader}
    recordings = []
    with tarfile.open(table.with_suffix(".tar")) as archive:
        for member in archive:
            row = rows.get(member.name)
            if row is None or float(row.get("pc_match") or 1.0) < 0.7:
                continue
            text = row[chosen.column]
            if text is None:
                raise BadText(f"{table}: the row of {member.name} breaks off; complete it")
            tokens = pieces.encode(text)
            if tokens is None or (chosen.skip_digits and any(c.isdigit() for c in text)):
                continue
            stream = archive.extractfile(member)
            assert stream is not None
            samples, rate = soundfile.read(io.BytesIO(stream.read()), dtype="int16")
            if rate != SAMPLE_RATE or samples.ndim != 1:
                raise BadAudio(
                    f"{table}: {member.name} has {rate} Hz, {samples.ndim} axes, not 16 kHz mono;"
                    ' write the set again with a recipe of kind "pack"'
                )
            recordings.append(Recording(samples, tokens))
    return recordings


class SpeechBatcher:
    """Packs utterances into rows of equal length, each row disturbed in its own way.

    A batch's length is that of an utterance drawn by weight and duration, and every row begins
    with one of nearly that length: rows filled only with what happens to fit would prefer short
    utterances and never show the long ones.

    Args:
        recordings: All training utterances.
        weights: (N,) sampling weights of a second of audio.
        chunk_samples: Rows are whole chunks.
        min_chunks: Shortest row; shorter utterances share one.
        max_chunks: Longest row; utterances that don't fit are left out.
        batch_seconds: Audio a batch.
        seed: Of the generator.
    """

    def __init__(
        self,
        recordings: Sequence[Recording],
        weights: NDArray[np.float64],
        *,
        chunk_samples: int,
        min_chunks: int,
        max_chunks: int,
        batch_seconds: float,
        seed: Sequence[int],
    ) -> None:
        self.chunk_samples = chunk_samples
        self.min_chunks, self.max_chunks = min_chunks, max_chunks
        needs = np.array([self._room(len(r.samples)) for r in recordings])
        order = np.argsort(needs, kind="stable")
        order = order[needs[order] <= max_chunks * chunk_samples]
        self.recordings: list[Recording] = [recordings[i] for i in order]
        self.needs = needs[order]
        self.cumulative = np.cumsum(weights[order])
        self.cumulative_seconds = np.cumsum(weights[order] * self.needs)
        self.batch_seconds = batch_seconds
        self.rng = np.random.default_rng(seed)

    @staticmethod
    def _room(num_samples: int) -> int:
        """Samples that an utterance may need: slowed down, and 400 ms of silence behind it."""
        return int(num_samples * 1.12 + 0.4 * SAMPLE_RATE)

    def _draw(self, cumulative: NDArray[np.float64], low: int, high: int) -> Recording:
        """One of the utterances ``low`` to ``high - 1`` in order of length."""
        first = cumulative[low - 1] if low else 0.0
        at = first + self.rng.random() * (cumulative[high - 1] - first)
        return self.recordings[min(int(np.searchsorted(cumulative, at)), high - 1)]

    def _any(self) -> Recording:
        return self._draw(self.cumulative, 0, len(self.recordings))

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
        """A long utterance, then more with pauses until a drawn one does not fit."""
        rng = self.rng
        row = np.zeros(length, dtype=np.float32)
        tokens: tuple[int, ...] = ()
        if rng.random() < 0.02:
            return row, ()
        high = int(np.searchsorted(self.needs, length, side="right"))
        low = min(int(np.searchsorted(self.needs, 0.75 * length)), high - 1)
        recording = self._draw(self.cumulative_seconds, low, high)
        spare = (length - self._room(len(recording.samples))) / SAMPLE_RATE
        at = int(rng.uniform(0.0, min(0.5, spare)) * SAMPLE_RATE)
        while at + self._room(len(recording.samples)) <= length:
            samples = self._spoken(recording)
            row[at : at + len(samples)] = samples
            at += len(samples) + int(rng.uniform(0.05, 0.7) * SAMPLE_RATE)
            tokens += recording.tokens
            recording = self._any()
        return row, tokens

    def _disturbed(self, row: NDArray[np.float32]) -> NDArray[np.float32]:
        """Babble, noise, a small room, or a narrow band; a third of rows stay as they are."""
        rng, kind = self.rng, self.rng.random()
        level = float(np.sqrt(np.mean(row**2))) + 1e-4
        if kind < 0.25:
            other = self._any().samples.astype(np.float32) / 32768.0
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
            need = self._room(len(self._draw(self.cumulative_seconds, 0, len(self.needs)).samples))
            chunks = max(self.min_chunks, -(-need // self.chunk_samples))
            length = chunks * self.chunk_samples
            batch = max(2, int(self.batch_seconds * SAMPLE_RATE / length))
            rows = [self._row(length) for _ in range(batch)]
            samples = np.stack([self._disturbed(row) for row, _ in rows])
            yield (
                torch.from_numpy(samples),
                torch.full((batch,), chunks),
                [tokens for _, tokens in rows],
            )
