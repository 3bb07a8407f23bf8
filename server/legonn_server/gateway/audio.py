"""Bytes to samples: headerless encodings, and resampling with an exact map to input positions."""

from __future__ import annotations

from bisect import bisect_right
from enum import Enum
from typing import Any

import numpy as np
import soxr
from numpy.typing import NDArray

from legonn_core.errors import BadAudio

Samples = NDArray[np.float32]


class Encoding(Enum):
    """Headerless encodings: numpy type of one sample."""

    LINEAR16 = "<i2"
    FLOAT32 = "<f4"
    MULAW = "<u1"
    ALAW = "|u1"

    @property
    def sample_bytes(self) -> int:
        """Bytes of one sample."""
        return np.dtype(self.value).itemsize


def _mulaw_table() -> Samples:
    """ITU-T G.711 mu-law, code to sample in [-1, 1]."""
    code = ~np.arange(256, dtype=np.uint8)
    exponent = ((code >> 4) & 7).astype(np.int32)
    mantissa = (code & 15).astype(np.int32)
    magnitude = (((mantissa << 3) + 132) << exponent) - 132
    return np.where(code & 0x80, -magnitude, magnitude).astype(np.float32) / 32768


def _alaw_table() -> Samples:
    """ITU-T G.711 A-law, code to sample in [-1, 1]."""
    code = np.arange(256, dtype=np.uint8) ^ 0x55
    exponent = ((code >> 4) & 7).astype(np.int32)
    mantissa = (code & 15).astype(np.int32)
    linear = (mantissa << 4) + 8
    magnitude = np.where(exponent == 0, linear, (linear + 256) << np.maximum(exponent - 1, 0))
    return np.where(code & 0x80, magnitude, -magnitude).astype(np.float32) / 32768


_TABLES = {Encoding.MULAW: _mulaw_table(), Encoding.ALAW: _alaw_table()}
_STEP = np.float32(1 / 32768)
_LOUDEST = 4.0
"""Floats beyond this are not samples in [-1, 1] that overshoot but something else."""


def decode_samples(encoding: Encoding, content: bytes, *, channels: int = 1) -> Samples:
    """Read headerless audio; interleaved channels are mixed to one.

    Raises:
        BadAudio: If the bytes are not whole samples, or floats that are not audio.
    """
    if encoding is Encoding.LINEAR16 and channels == 1 and not len(content) & 1:
        # What nearly every message is: one pass, and no look-up of anything. Halving is exact.
        return np.multiply(np.frombuffer(content, "<i2"), _STEP, dtype=np.float32)
    unit = encoding.sample_bytes * channels
    if len(content) % unit:
        what = "samples" if channels == 1 else f"samples of {channels} channels"
        raise BadAudio(f"{len(content)} bytes are not a whole number of {unit}-byte {what}")
    samples = _decoded(encoding, np.frombuffer(content, encoding.value))
    if channels == 1:
        return samples
    mixed: Samples = samples.reshape(-1, channels).mean(axis=1, dtype=np.float32)
    return mixed


def _decoded(encoding: Encoding, raw: NDArray[Any]) -> Samples:
    if encoding in _TABLES:
        decoded: Samples = _TABLES[encoding][raw]
        return decoded
    if encoding is Encoding.LINEAR16:
        return np.multiply(raw, _STEP, dtype=np.float32)
    return _checked(raw.astype(np.float32))


def _checked(samples: Samples) -> Samples:
    if not np.isfinite(samples).all():
        raise BadAudio("the audio holds floats that are NaN or infinite")
    if len(samples) and np.abs(samples).max() > _LOUDEST:
        raise BadAudio("the audio holds floats far outside [-1, 1]")
    clipped: Samples = np.clip(samples, -1.0, 1.0)
    return clipped


class AudioInput:
    """Samples of a stream on their way to the model's rate, whatever the messages were cut like.

    Attributes:
        num_received: Input samples so far.
        num_given: Model-rate samples so far.
    """

    def __init__(self, rate: int, model_rate: int) -> None:
        self.num_received = 0
        self.num_given = 0
        self._rate = rate
        self._model_rate = model_rate
        self._resampler = self._new_resampler()
        self._anchors: list[tuple[int, int]] = [(0, 0)]

    def _new_resampler(self) -> soxr.ResampleStream | None:
        if self._rate == self._model_rate:
            return None
        return soxr.ResampleStream(self._rate, self._model_rate, 1, dtype="float32")

    def feed(self, samples: Samples) -> Samples:
        """Take (N,) input samples, give what is ready at the model's rate."""
        self.num_received += len(samples)
        return self._give(samples, is_last=False)

    def flush(self) -> Samples:
        """Give what the resampler holds back; the next sample starts it afresh."""
        rest = self._give(np.zeros(0, np.float32), is_last=True)
        self._resampler = self._new_resampler()
        self._anchors.append((self.num_given, self.num_received))
        return rest

    def _give(self, samples: Samples, *, is_last: bool) -> Samples:
        ready = samples
        if self._resampler is not None:
            ready = self._resampler.resample_chunk(samples, last=is_last)
            ready = np.clip(ready, -1.0, 1.0)
        self.num_given += len(ready)
        return ready

    def input_sample(self, model_sample: int) -> int:
        """The input position of a model-rate position; never falls, exact at the stream's ends."""
        index = bisect_right(self._anchors, model_sample, key=lambda anchor: anchor[0]) - 1
        model, received = self._anchors[index]
        found = received + -(-(model_sample - model) * self._rate // self._model_rate)
        following = self._anchors[index + 1 :]
        return min(found, following[0][1] if following else self.num_received)
