"""Audio as streams of LINEAR16 mono chunks: from a file, from samples, and paced as it was spoken.

A file is read in blocks, so that an hour of audio takes no more memory than a second.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator
from pathlib import Path

import numpy as np
import soundfile
from numpy.typing import NDArray

from legonn._closing import Closing
from legonn.errors import BadAudio

CHUNK_MS = 200
BYTES_PER_SAMPLE = 2

Samples = NDArray[np.int16] | NDArray[np.float32] | NDArray[np.float64]


class AudioFile(Closing):
    """An open audio file of any kind that libsndfile reads: WAV, FLAC, Ogg, MP3, AIFF and others.

    Attributes:
        sample_rate_hertz: Samples a second, as in the file.
        num_samples: Samples of one channel.
    """

    def __init__(self, path: str | Path) -> None:
        """Open the file.

        Raises:
            BadAudio: If there is no such file, or it is no audio.
        """
        if not Path(path).is_file():
            raise BadAudio(f"{path}: no such file")
        try:
            self._file = soundfile.SoundFile(path)
        except (soundfile.SoundFileError, OSError) as error:
            raise BadAudio(f"{path}: not an audio file that can be read here") from error
        self._path = path
        self.sample_rate_hertz: int = self._file.samplerate
        self.num_samples: int = self._file.frames

    @property
    def duration_s(self) -> float:
        """Length in seconds."""
        return self.num_samples / self.sample_rate_hertz

    def chunks(self, *, chunk_ms: int = CHUNK_MS) -> Iterator[bytes]:
        """The audio from its start as LINEAR16, channels mixed to one.

        Raises:
            BadAudio: If the file breaks off in the middle.
        """
        self._file.seek(0)
        length = max(1, self.sample_rate_hertz * chunk_ms // 1000)
        while True:
            try:
                block = self._file.read(length, dtype="float32", always_2d=True)
            except soundfile.SoundFileError as error:
                raise BadAudio(f"{self._path}: the audio is damaged") from error
            if not len(block):
                return
            yield linear16(block.mean(axis=1))

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def open_audio(path: str | Path) -> AudioFile:
    """Open an audio file; see ``AudioFile``."""
    return AudioFile(path)


def linear16(samples: Samples) -> bytes:
    """Samples as signed 16-bit little-endian bytes.

    Args:
        samples: (N,) int16, or float in [-1, 1]; what lies outside is clipped.

    Raises:
        BadAudio: If the samples are of another shape or type, or not finite.
    """
    if samples.ndim != 1:
        raise BadAudio(f"samples are one row of one channel, not an array of shape {samples.shape}")
    if samples.dtype == np.int16:
        return samples.astype("<i2").tobytes()
    if samples.dtype not in (np.float32, np.float64):
        raise BadAudio(f"samples are int16 or float, not {samples.dtype}")
    if not np.isfinite(samples).all():
        raise BadAudio("the samples hold values that are not numbers")
    # 32768 undoes what readers of 16-bit files divide by, so a file's samples come back bit-equal.
    integers = np.clip(np.rint(samples * 32768.0), -32768, 32767).astype("<i2")
    return bytes(integers.tobytes())


def sample_chunks(
    samples: Samples, sample_rate_hertz: int, *, chunk_ms: int = CHUNK_MS
) -> Iterator[bytes]:
    """Cut (N,) samples into LINEAR16 chunks; errors as ``linear16``."""
    length = max(1, sample_rate_hertz * chunk_ms // 1000)
    for start in range(0, len(samples), length):
        yield linear16(samples[start : start + length])


def paced(
    chunks: Iterable[bytes],
    sample_rate_hertz: int,
    *,
    speed: float = 1.0,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> Iterator[bytes]:
    """Hand on each LINEAR16 chunk when its last sample has been spoken, as a microphone does.

    Args:
        chunks: LINEAR16 mono.
        sample_rate_hertz: Of the chunks.
        speed: 2.0 speaks twice as fast.
        clock: Seconds that only grow.
        sleep: Waits so many seconds.
    """
    start, num_bytes = clock(), 0
    for chunk in chunks:
        num_bytes += len(chunk)
        due = start + num_bytes / BYTES_PER_SAMPLE / sample_rate_hertz / speed
        sleep(max(0.0, due - clock()))
        yield chunk


async def paced_async(
    chunks: Iterable[bytes],
    sample_rate_hertz: int,
    *,
    speed: float = 1.0,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
) -> AsyncIterator[bytes]:
    """``paced`` for asyncio."""
    start, num_bytes = clock(), 0
    for chunk in chunks:
        num_bytes += len(chunk)
        due = start + num_bytes / BYTES_PER_SAMPLE / sample_rate_hertz / speed
        await sleep(max(0.0, due - clock()))
        yield chunk
