"""What streams say and what texts ask: real recordings in a loop, or made-up beeps."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

import legonn
from legonn_core.scoring.sets import BadSet, read_speech_set, read_text_set
from legonn_loadtest.load.scenario import SpeechLoad, TextLoad

RATE_HERTZ = 16_000
SENTENCES = (
    "Guten Morgen!",
    "Der Zug nach Berlin fährt um neun Uhr ab.",
    "Ich habe gestern einen alten Freund in der Stadt getroffen.",
    "Könnten Sie mir bitte sagen, wie ich zum Bahnhof komme?",
    "Das Wetter war die ganze Woche schlecht, aber heute scheint endlich die Sonne.",
)


@dataclass(frozen=True, slots=True)
class Clip:
    """One recording: LINEAR16 at 16 kHz, and what is said (empty when nobody knows)."""

    content: bytes
    transcript: str

    @property
    def digest(self) -> str:
        """Sixteen hex digits that name the audio."""
        return hashlib.sha256(self.content).hexdigest()[:16]


@dataclass(frozen=True, slots=True)
class Sentence:
    """A text and its reference (empty when there is none)."""

    source: str
    reference: str = ""


def load_clips(speech: SpeechLoad, *, limit: int = 64) -> tuple[Clip, ...]:
    """The recordings of a scenario, in memory.

    Raises:
        BadSet: If there are none.
    """
    gap = bytes(2 * round(speech.gap_seconds * RATE_HERTZ))
    if speech.audio == "beeps":
        return tuple(Clip(_beeps(number) + gap, "") for number in range(8))
    path = Path(speech.audio)
    if path.is_dir():
        recordings = read_speech_set(path, limit=limit).recordings
        return tuple(Clip(_read(one.path) + gap, one.normalized) for one in recordings)
    if not path.is_file():
        raise BadSet(f"{path}: no such recording, folder, or 'beeps'")
    text = path.with_suffix(".txt")
    return (Clip(_read(path) + gap, text.read_text().strip() if text.is_file() else ""),)


def load_sentences(text: TextLoad, *, limit: int = 1_000) -> tuple[Sentence, ...]:
    """The texts of a scenario."""
    if not text.file:
        return tuple(map(Sentence, SENTENCES))
    found = read_text_set(Path(text.file), text.language, limit=limit)
    return tuple(map(Sentence, found.sources, found.references))


class Repertoire:
    """Sessions of whole recordings; equal ones share their memory, since there are hundreds.

    Args:
        clips: The recordings, taken in turn.
    """

    def __init__(self, clips: Sequence[Clip]) -> None:
        self._clips = clips
        self._sessions: dict[tuple[int, int], Clip] = {}

    def session(self, first: int, seconds: float) -> Clip:
        """Recordings from the ``first`` on until ``seconds`` are full, and what they say."""
        chosen: list[Clip] = []
        length = 0
        while length < 2 * seconds * RATE_HERTZ:
            chosen.append(self._clips[(first + len(chosen)) % len(self._clips)])
            length += len(chosen[-1].content)
        key = (first % len(self._clips), len(chosen))
        if key not in self._sessions:
            words = " ".join(one.transcript for one in chosen if one.transcript)
            self._sessions[key] = Clip(b"".join(one.content for one in chosen), words)
        return self._sessions[key]


def _read(path: Path) -> bytes:
    with legonn.open_audio(path) as file:
        if file.sample_rate_hertz != RATE_HERTZ:
            raise BadSet(f"{path}: {file.sample_rate_hertz} Hz; load tests send {RATE_HERTZ} Hz")
        return b"".join(file.chunks())


def _beeps(number: int) -> bytes:
    """Fifteen words in 6 s: 80 ms of tone, 320 ms of silence, at loudnesses of its own."""
    dice = np.random.default_rng(number)
    word = np.sin(2 * np.pi * 440 * np.arange(RATE_HERTZ * 80 // 1000) / RATE_HERTZ)
    pause = np.zeros(RATE_HERTZ * 320 // 1000)
    levels: NDArray[np.float64] = dice.uniform(0.2, 1.0, 15)
    wave = np.concatenate([np.concatenate([level * word, pause]) for level in levels])
    content: bytes = (wave * 32_767).astype("<i2").tobytes()
    return content
