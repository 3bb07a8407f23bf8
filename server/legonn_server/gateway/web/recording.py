"""An uploaded recording, whatever its format, on its way to the recognizer in pieces."""

from __future__ import annotations

import asyncio
import io
from collections.abc import AsyncIterator
from dataclasses import dataclass

import numpy as np
import soundfile
from numpy.typing import NDArray

from legonn.v1 import audio_pb2
from legonn.v1 import speech_service_pb2 as pb
from legonn_core.errors import BadAudio, LimitExceeded

_PIECE_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Recording:
    """Decoded audio.

    Attributes:
        samples: (N,) float32 in [-1, 1], mixed to one channel.
        sample_rate_hertz: Of the samples.
    """

    samples: NDArray[np.float32]
    sample_rate_hertz: int

    @property
    def seconds(self) -> float:
        """Its length."""
        return len(self.samples) / self.sample_rate_hertz

    async def requests(
        self, config: pb.RecognitionConfig
    ) -> AsyncIterator[pb.StreamingRecognizeRequest]:
        """The recording as a stream: the config, completed with the encoding, then the audio."""
        stream = pb.RecognitionConfig()
        stream.CopyFrom(config)
        stream.encoding = audio_pb2.AUDIO_ENCODING_FLOAT32
        stream.sample_rate_hertz = self.sample_rate_hertz
        yield pb.StreamingRecognizeRequest(config=stream)
        piece = round(_PIECE_SECONDS * self.sample_rate_hertz)
        for start in range(0, len(self.samples), piece):
            content = self.samples[start : start + piece].astype("<f4").tobytes()
            yield pb.StreamingRecognizeRequest(audio=audio_pb2.AudioChunk(content=content))


async def read_recording(content: bytes, *, max_seconds: float) -> Recording:
    """Decode a file by what it holds, not by its name.

    Raises:
        BadAudio: If no reader knows it, or it is damaged or empty.
        LimitExceeded: If it is longer than ``max_seconds``.
    """
    # A damaged or tricky file may keep its reader busy: never on the event loop.
    return await asyncio.to_thread(_read, content, max_seconds)


def _read(content: bytes, max_seconds: float) -> Recording:
    if not content:
        raise BadAudio("the file is empty")
    try:
        with soundfile.SoundFile(io.BytesIO(content)) as file:
            rate = int(file.samplerate)
            if not 1_000 <= rate <= 384_000:
                raise BadAudio(f"a sample rate of {rate} Hz")
            limit = int(max_seconds * rate)
            samples = file.read(limit + 1, dtype="float32", always_2d=True)
    except soundfile.LibsndfileError as error:
        raise BadAudio("the file cannot be read: send WAV, FLAC, Ogg or MP3") from error
    except (MemoryError, ValueError, OverflowError) as error:
        raise BadAudio("the file has a damaged header") from error
    if len(samples) > limit:
        raise LimitExceeded(f"more than {max_seconds:g} s of audio in one file")
    if not len(samples):
        raise BadAudio("the file holds no audio")
    mono = np.nan_to_num(samples.mean(axis=1, dtype=np.float32))
    return Recording(np.clip(mono, -1.0, 1.0), rate)
