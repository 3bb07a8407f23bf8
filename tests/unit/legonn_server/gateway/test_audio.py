"""Bytes to samples, and positions back to the caller's own."""

from __future__ import annotations

import io

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from legonn_core.errors import BadAudio
from legonn_server.gateway.audio import (
    AudioInput,
    Encoding,
    decode_samples,
)


def test_linear16_is_little_endian():
    found = decode_samples(Encoding.LINEAR16, b"\x00\x80\xff\x7f\x00\x00")
    assert found.tolist() == [-1.0, 32767 / 32768, 0.0]


@pytest.mark.parametrize(
    ("encoding", "subtype"), [(Encoding.MULAW, "ULAW"), (Encoding.ALAW, "ALAW")]
)
def test_g711_is_what_the_library_reads(encoding: Encoding, subtype: str):
    codes = bytes(range(256))
    expected, _ = soundfile.read(
        io.BytesIO(codes), channels=1, samplerate=8000, format="RAW", subtype=subtype,
        dtype="float32",
    )  # fmt: skip
    assert np.array_equal(decode_samples(encoding, codes), expected)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 5.0])
def test_floats_that_are_no_audio_are_refused(value: float):
    with pytest.raises(BadAudio):
        decode_samples(Encoding.FLOAT32, np.array([0, value], "<f4").tobytes())


def test_floats_that_overshoot_are_clipped():
    found = decode_samples(Encoding.FLOAT32, np.array([1.5, -1.5], "<f4").tobytes())
    assert found.tolist() == [1.0, -1.0]


def test_channels_are_mixed():
    content = np.array([16384, 0, 0, -16384], "<i2").tobytes()
    assert decode_samples(Encoding.LINEAR16, content, channels=2).tolist() == [0.25, -0.25]
    with pytest.raises(BadAudio, match="2 channels"):
        decode_samples(Encoding.LINEAR16, content[:6], channels=2)


@settings(max_examples=40, deadline=None)
@given(
    st.sampled_from([8_000, 11_025, 16_000, 44_100, 48_000]),
    st.lists(st.integers(0, 6_000), min_size=1, max_size=12),
    st.sets(st.integers(0, 11)),
    st.integers(0, 2**32 - 1),
)
def test_cuts_are_invisible_and_positions_exact(
    rate: int, sizes: list[int], flushes: set[int], seed: int
):
    audio = np.random.default_rng(seed).uniform(-1, 1, sum(sizes)).astype(np.float32)
    edges = np.cumsum([0, *sizes])
    whole = AudioInput(rate, 16_000)
    cut = AudioInput(rate, 16_000)
    parts, marks = [], []
    for index in range(len(sizes)):
        parts.append(cut.feed(audio[edges[index] : edges[index + 1]]))
        if index in flushes:
            parts.append(cut.flush())
            marks.append((cut.num_given, cut.num_received))
    parts.append(cut.flush())
    marks.append((cut.num_given, cut.num_received))
    if not flushes & set(range(len(sizes))):
        expected = np.concatenate([whole.feed(audio), whole.flush()])
        assert np.array_equal(np.concatenate(parts), expected)
    assert sum(map(len, parts)) == cut.num_given
    mapped = [cut.input_sample(position) for position in range(0, cut.num_given + 1, 97)]
    assert mapped == sorted(mapped)
    for given_samples, received in dict(marks).items():
        assert cut.input_sample(given_samples) == received or not given_samples
    assert cut.input_sample(cut.num_given) == len(audio) or cut.num_given == 0
