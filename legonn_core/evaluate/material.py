"""One test set as one encoder reads it: rows and references, ready for any decoder."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
from numpy.typing import NDArray

from legonn_core.errors import BadAudio
from legonn_core.evaluate.pipeline import Rows, speech_rows, text_rows
from legonn_core.features.log_mel import SAMPLE_RATE
from legonn_core.modules.registry import LoadedModule
from legonn_core.scoring.scores import Score, translation_scores, word_error_rate
from legonn_core.scoring.sets import SpeechSet, TextSet


@dataclass(frozen=True, slots=True)
class Material:
    """What one encoder made of one test set.

    Attributes:
        encoder: The module.
        name: Of the set.
        references: English, one an item.
        rows: (U, V) natural logarithms of each item.
        chunk_rows: How many of those rows each chunk of audio brought; empty for text.
        skipped: Items left out, and why.
        sources: Of text, one an item.
    """

    encoder: LoadedModule
    name: str
    references: tuple[str, ...]
    rows: tuple[Rows, ...]
    chunk_rows: tuple[tuple[int, ...], ...] = ()
    skipped: tuple[str, ...] = ()
    sources: tuple[str, ...] = ()

    @property
    def is_speech(self) -> bool:
        """Whether it is scored as recognition."""
        return bool(self.chunk_rows)

    def scores(self, texts: Sequence[str]) -> tuple[Score, ...]:
        """WER of recognition, BLEU and chrF of translation."""
        if self.is_speech:
            return (word_error_rate(self.references, texts),)
        return translation_scores(self.references, texts)


def read_text(encoder: LoadedModule, chosen: TextSet) -> Material:
    """Encode a text set."""
    rows = tuple(text_rows(encoder, chosen.sources))
    return Material(encoder, chosen.name, chosen.references, rows, sources=chosen.sources)


def read_samples(path: Path) -> NDArray[np.float32]:
    """Samples (N,) of a recording.

    Raises:
        BadAudio: If it is not 16 kHz mono.
    """
    samples, rate = soundfile.read(path, dtype="float32")
    if rate != SAMPLE_RATE or samples.ndim != 1:
        raise BadAudio(
            f"{path}: {rate} Hz with {samples.ndim} axes; evaluation reads 16 kHz"
            " mono (ffmpeg -i IN -ar 16000 -ac 1 OUT.flac)"
        )
    return np.asarray(samples)


def read_speech(encoder: LoadedModule, chosen: SpeechSet) -> Material:
    """Encode recordings chunk by chunk, as a stream would be; too long ones are left out.

    Raises:
        BadAudio: If a recording is not 16 kHz mono, or nothing is left.
    """
    references, rows, counts, skipped = [], [], [], []
    for recording in chosen.recordings:
        samples = read_samples(recording.path)
        try:
            blocks = speech_rows(encoder, samples)
        except ValueError as error:
            skipped.append(f"{recording.name}: {error}")
            continue
        references.append(recording.normalized)
        rows.append(np.concatenate(blocks))
        counts.append(tuple(len(block) for block in blocks))
    if not rows:
        raise BadAudio(f"{chosen.name}: no recording is short enough for {encoder.ref}")
    return Material(
        encoder, chosen.name, tuple(references), tuple(rows), tuple(counts), tuple(skipped)
    )
