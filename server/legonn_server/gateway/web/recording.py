"""An uploaded recording, whatever its format, on its way to the recognizer in pieces."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from legonn.v1 import audio_pb2
from legonn.v1 import speech_service_pb2 as pb
from legonn_core.errors import BadAudio
from legonn_server.gateway.decoding.decoder import Decoders

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


async def read_recording(decoders: Decoders, content: bytes, *, max_seconds: float) -> Recording:
    """Decode a file by what it holds, not by its name, in a process that may die of it.

    Raises:
        BadAudio: If no reader knows it, or it is damaged or empty.
        LimitExceeded: If it is longer than ``max_seconds``.
        Unavailable: If no reader can be had.
    """
    if not content:
        raise BadAudio("the file is empty")
    return Recording(*await decoders.whole(content, max_seconds=max_seconds))
