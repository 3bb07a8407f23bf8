"""The same samples in every format that is read."""

from __future__ import annotations

import io

import av
import numpy as np
import soundfile

from legonn.v1 import audio_pb2

LOSSLESS = {
    "wav": ("WAV", "PCM_16"),
    "wav 24": ("WAV", "PCM_24"),
    "wav float": ("WAV", "FLOAT"),
    "flac": ("FLAC", "PCM_16"),
}
LOSSY = {
    "ogg opus": ("OGG", "OPUS"),
    "ogg vorbis": ("OGG", "VORBIS"),
    "mp3": ("MP3", "MPEG_LAYER_III"),
}
ENCODINGS = {
    "WAV": audio_pb2.AUDIO_ENCODING_WAV,
    "FLAC": audio_pb2.AUDIO_ENCODING_FLAC,
    "OGG": audio_pb2.AUDIO_ENCODING_OGG_OPUS,
    "MP3": audio_pb2.AUDIO_ENCODING_MP3,
    "WEBM": audio_pb2.AUDIO_ENCODING_WEBM_OPUS,
}


def encoded(samples: np.ndarray, rate: int, container: str, subtype: str) -> bytes:
    """(N,) or (N, channels) samples as a file."""
    content = io.BytesIO()
    soundfile.write(content, samples, rate, format=container, subtype=subtype)
    return content.getvalue()


def webm(samples: np.ndarray, rate: int, *, is_live: bool = True) -> bytes:
    """(N,) samples as Opus in WebM; live as MediaRecorder writes it, without a duration."""
    content = io.BytesIO()
    options = {"live": "1"} if is_live else {}
    with av.open(content, "w", format="webm", options=options) as file:
        stream = file.add_stream("libopus", rate=48_000)
        stream.layout = "mono"
        to_opus = av.AudioResampler(format="s16", layout="mono", rate=48_000)
        integers = (samples * 32767).astype("<i2").reshape(1, -1)
        frame = av.AudioFrame.from_ndarray(integers, format="s16", layout="mono")
        frame.rate = rate
        for part in [*to_opus.resample(frame), *to_opus.resample(None), None]:
            for packet in stream.encode(part):
                file.mux(packet)
    return content.getvalue()


def every_format(samples: np.ndarray, rate: int) -> dict[str, tuple[int, bytes]]:
    """Encoding of the protos and content, by name."""
    kinds = {**LOSSLESS, **LOSSY}
    files = {
        name: (ENCODINGS[container], encoded(samples, rate, container, subtype))
        for name, (container, subtype) in kinds.items()
    }
    return {**files, "webm opus": (ENCODINGS["WEBM"], webm(samples, rate))}
