from __future__ import annotations

import asyncio

import numpy as np
import pytest
import soundfile

import legonn
from legonn.audio import linear16, sample_chunks


def test_a_file_comes_back_bit_for_bit_in_chunks(wav, samples):
    with legonn.open_audio(wav) as audio:
        chunks = list(audio.chunks(chunk_ms=30))
        assert audio.sample_rate_hertz == 16000 and audio.duration_s == 0.5
        assert b"".join(chunks) == samples.tobytes()
        assert {len(chunk) for chunk in chunks[:-1]} == {2 * 480}
        assert list(audio.chunks(chunk_ms=30)) == chunks, "and can be read again"


def test_channels_are_mixed(tmp_path):
    path = tmp_path / "stereo.flac"
    soundfile.write(path, np.array([[1000, 3000], [-2, -4]], np.int16), 8000)
    with legonn.open_audio(path) as audio:
        assert b"".join(audio.chunks()) == np.array([2000, -3], "<i2").tobytes()


@pytest.mark.parametrize("content", [None, b"", b"no audio at all, only words"])
def test_what_is_no_audio_is_named(tmp_path, content):
    path = tmp_path / "words.wav"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(legonn.BadAudio, match=r"words\.wav: "):
        legonn.open_audio(path)


def test_floats_are_clipped():
    assert linear16(np.array([0.5, 2.0, -2.0])) == np.array([16384, 32767, -32768], "<i2").tobytes()


@pytest.mark.parametrize(
    "samples", [np.zeros((2, 2), np.int16), np.zeros(3, np.int64), np.array([0.0, np.nan])]
)
def test_samples_that_are_none_are_refused(samples):
    with pytest.raises(legonn.BadAudio):
        list(sample_chunks(samples, 16000))


class Clock:
    def __init__(self):
        self.now = 100.0
        self.slept = []

    def __call__(self):
        return self.now

    def sleep(self, duration):
        self.slept.append(duration)
        self.now += duration

    async def sleep_async(self, duration):
        self.sleep(duration)


def test_pacing_waits_until_each_chunk_has_been_spoken():
    clock = Clock()
    for _ in legonn.paced([b"\0\0" * 800] * 4, 16000, clock=clock, sleep=clock.sleep):
        clock.now += 0.02  # work between chunks is not waited for again
    assert clock.slept == pytest.approx([0.05, 0.03, 0.03, 0.03])


def test_pacing_catches_up_and_never_waits_backwards():
    clock = Clock()
    for _ in legonn.paced([b"\0\0" * 800] * 2, 16000, clock=clock, sleep=clock.sleep, speed=2):
        clock.now += 1
    assert clock.slept == pytest.approx([0.025, 0.0])


def test_pacing_for_asyncio():
    clock = Clock()

    async def play():
        chunks = [b"\0\0" * 1600] * 2
        paced = legonn.paced_async(chunks, 16000, clock=clock, sleep=clock.sleep_async)
        return [chunk async for chunk in paced]

    assert len(asyncio.run(play())) == 2
    assert clock.slept == pytest.approx([0.1, 0.1])
