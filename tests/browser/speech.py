"""Audio in which the fake hears words, and what gRPC makes of any audio."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import soundfile

import legonn
from tests.support.gateway import silence, tone

LEVELS = (0.1, 0.25, 0.4, 0.15, 0.3, 0.2)
RATE = 16_000


def talk(num_sentences: int) -> np.ndarray:
    """Sentences of 0.8 s, louder or softer than the one before, with pauses; (N,) at 16 kHz."""
    parts = [silence(0.4)]
    for number in range(num_sentences):
        parts += [tone(0.8, level=LEVELS[number % len(LEVELS)]), silence(1.2)]
    return np.concatenate(parts)


def recording(folder: Path, samples: np.ndarray) -> Path:
    """The samples as a file that a person could open."""
    path = folder / "talk.wav"
    soundfile.write(path, samples, RATE, subtype="PCM_16")
    return path


def over_grpc(address: str, pcm: bytes) -> str:
    """The text of 16-bit PCM by the other door."""
    with legonn.Client(address) as client:
        chunks = [pcm[start : start + 3200] for start in range(0, len(pcm), 3200)]
        options = legonn.SpeechOptions(interim_results=True)
        events = client.stream(chunks, options, sample_rate_hertz=RATE)
        return " ".join(one.text for one in events if isinstance(one, legonn.Final) and one.text)
