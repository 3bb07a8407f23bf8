"""Files become samples in processes that may die; what is no audio is said and hurts nobody."""

from __future__ import annotations

import os
import random
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import numpy as np
import pytest

from legonn_core.errors import BadAudio, LimitExceeded
from legonn_server.gateway.decoding import formats, frames
from legonn_server.gateway.decoding.decoder import Decoders
from legonn_server.gateway.decoding.formats import Container
from tests.support.recordings import LOSSLESS, encoded, every_format, webm

RATE = 16_000
TONE = (0.5 * np.sin(np.arange(RATE) * 0.1)).astype(np.float32)


@pytest.fixture
async def decoders() -> AsyncIterator[Decoders]:
    found = Decoders()
    yield found
    await found.stop()


async def test_every_format_is_read_at_every_cut(decoders: Decoders):
    dice = random.Random(1)
    for name, (_, content) in every_format(TONE, RATE).items():
        whole, rate = await decoders.whole(content, max_seconds=2.0)
        assert abs(len(whole) / rate - 1.0) < 0.1, name
        assert np.abs(whole).max() < 0.8, name
        if name in LOSSLESS:
            assert rate == RATE
            assert np.abs(whole - TONE).max() < 2 / 32768, name
        container = formats.recognize(content[: formats.MARK_BYTES])
        assert container is not None
        parts = []
        async with await decoders.open(container) as decoder:
            place = 0
            while place < len(content):
                stop = place + dice.randint(1, 4_000)
                parts += [piece async for piece in decoder.feed(content[place:stop])]
                place = stop
            parts += [piece async for piece in decoder.finish()]
        assert np.array_equal(np.concatenate(parts), whole), name


async def test_channels_are_mixed_and_length_is_bounded(decoders: Decoders):
    stereo = np.stack([TONE, np.zeros_like(TONE)], axis=1)
    content = encoded(stereo, 48_000, "FLAC", "PCM_16")
    samples, rate = await decoders.whole(content, max_seconds=1.0)
    assert rate == 48_000
    assert np.abs(samples - TONE / 2).max() < 1e-3
    with pytest.raises(LimitExceeded):
        await decoders.whole(content, max_seconds=0.1)


@pytest.mark.parametrize("claimed", list(Container))
async def test_a_file_of_another_kind_is_named(claimed: Container, decoders: Decoders):
    true = "FLAC" if claimed is not Container.FLAC else "WAV"
    content = encoded(TONE, RATE, true, "PCM_16")
    with pytest.raises(BadAudio, match=f"not {claimed.value.title}, but {true}"):
        await decoders.whole(content, max_seconds=2.0, container=claimed)
    with pytest.raises(BadAudio, match="nor any file"):
        await decoders.whole(b"Once upon a time" * 9, max_seconds=2.0, container=claimed)


async def test_files_that_break_off_are_refused(decoders: Decoders):
    files = {name: content for name, (_, content) in every_format(TONE, RATE).items()}
    files["webm, whole"] = webm(TONE, RATE, is_live=False)
    for name, content in files.items():
        if name in ("mp3", "webm opus"):
            continue  # streams of frames without a length: half of one is a shorter one
        with pytest.raises(BadAudio):
            await decoders.whole(content[: len(content) * 2 // 3], max_seconds=2.0)
    for size in (0, 1, 9, 30):
        with pytest.raises(BadAudio):
            await decoders.whole(files["flac"][:size], max_seconds=2.0, container=Container.FLAC)


async def test_hostile_files_hurt_nobody(decoders: Decoders):
    """Bytes turned over at random: samples or a clear error, and the next file is read as ever."""
    dice = random.Random(7)
    files = [content for _, content in every_format(TONE, RATE).values()]
    good = encoded(TONE, RATE, "FLAC", "PCM_16")
    for _ in range(24):
        content = bytearray(dice.choice(files))
        for _ in range(dice.choice([1, 20, 400])):
            content[dice.randrange(4, len(content))] = dice.randrange(256)
        container = formats.recognize(bytes(content[: formats.MARK_BYTES]))
        try:
            samples, _ = await decoders.whole(bytes(content), max_seconds=5.0, container=container)
        except (BadAudio, LimitExceeded):
            continue
        assert np.isfinite(samples).all()
        assert np.abs(samples).max() <= 1.0
    samples, _ = await decoders.whole(good, max_seconds=2.0)
    assert len(samples) == RATE


async def test_a_bomb_is_refused(decoders: Decoders):
    """Hours of silence in a few kilobytes."""
    bomb = encoded(np.zeros(6_000_000, np.float32), 1_000, "FLAC", "PCM_16")
    assert len(bomb) < 30_000
    with pytest.raises(BadAudio, match="more audio than its bytes"):
        await decoders.whole(bomb, max_seconds=1e9)


async def test_a_reader_that_dies_is_said_and_others_go_on(decoders: Decoders):
    content = webm(TONE, RATE)
    half = len(content) // 2
    async with (
        await decoders.open(Container.WEBM) as doomed,
        await decoders.open(Container.WEBM) as other,
    ):
        assert [piece async for piece in doomed.feed(content[:half])]
        kept = [piece async for piece in other.feed(content[:half])]
        assert decoders._nursery is not None
        os.kill(min(_children(decoders._nursery.pid)), signal.SIGKILL)
        with pytest.raises(BadAudio, match="gave up"):
            _ = [piece async for piece in doomed.feed(content[half:])]
        kept += [piece async for piece in other.feed(content[half:])]
        kept += [piece async for piece in other.finish()]
        assert sum(map(len, kept)) == 48_000


async def test_a_dead_nursery_is_replaced(decoders: Decoders):
    content = encoded(TONE, RATE, "WAV", "PCM_16")
    await decoders.whole(content, max_seconds=2.0)
    assert decoders._nursery is not None
    decoders._nursery.kill()
    await decoders._nursery.wait()
    assert len((await decoders.whole(content, max_seconds=2.0))[0]) == RATE


def _children(parent: int) -> list[int]:
    children = Path(f"/proc/{parent}/task/{parent}/children").read_text(encoding="ascii")
    return [int(word) for word in children.split()]


def test_streaming_writers_of_wav_do_not_say_how_long_it_is():
    sizes = {0: False, 0xFFFFFFFF: False, 0x7FFFFFFF: False, 100: True, 92: False}
    for size, expected in sizes.items():
        first = b"RIFF" + size.to_bytes(4, "little")
        found = formats.is_cut(Container.WAV, first=first, num_bytes=100, tail=b"")
        assert found is expected, size


def test_a_message_is_bounded():
    with pytest.raises(ValueError, match="bytes"):
        frames.unpack_header(frames.HEADER.pack(b"d", frames.MAX_PAYLOAD + 1))
