"""The codec: exact size, and damage that is noticed."""

from __future__ import annotations

import numpy as np
import pytest

from legonn_core.errors import EncodingMismatch
from legonn_core.interface import codec
from legonn_core.interface.marginals import Marginals


def block(rows: int = 20, k: int = 8) -> Marginals:
    logits = np.random.default_rng(0).normal(size=(rows, 60)) * 4
    log_probs = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
    return Marginals.from_dense(
        log_probs.astype(np.float32),
        k,
        times_ms=40 + 80 * np.arange(rows),
        fingerprint="0123456789abcdef",
        first_position=7,
    )


def test_size_is_what_the_docstring_says() -> None:
    assert len(codec.encode(block(21))) - len(codec.encode(block(20))) == 3 * 8 + 3
    assert len(codec.encode(block(1))) < 27 + 40


def test_a_block_without_rows_survives() -> None:
    copy = codec.decode(codec.encode(Marginals.empty(8, fingerprint="f", first_position=5)))
    assert (len(copy), copy.ids.shape, copy.first_position) == (0, (0, 8), 5)


@pytest.mark.parametrize("data", [b"", b"LgnM", b"x" * 200])
def test_other_bytes_are_refused(data: bytes) -> None:
    with pytest.raises(EncodingMismatch):
        codec.decode(data)


def test_every_cut_and_every_changed_byte_is_noticed() -> None:
    data = codec.encode(block(5, 4))
    for size in range(len(data)):
        with pytest.raises(EncodingMismatch):
            codec.decode(data[:size])
        with pytest.raises(EncodingMismatch):
            codec.decode(data[:size] + bytes([data[size] ^ 0x10]) + data[size + 1 :])
    with pytest.raises(EncodingMismatch):
        codec.decode(data + b"\0")


def test_a_consistent_checksum_does_not_excuse_wrong_sizes() -> None:
    import struct
    import zlib

    body = codec.encode(block(5, 4))[9:]
    wrong = struct.pack("<I", 6) + body[4:]
    head = struct.pack("<4sBI", codec.MAGIC, codec.VERSION, zlib.crc32(wrong))
    with pytest.raises(EncodingMismatch, match="6 rows of 4"):
        codec.decode(head + wrong)


def test_what_does_not_fit_is_refused() -> None:
    good = block(3)
    backwards = Marginals(good.ids, good.log_probs, good.tail, good.times_ms[::-1], 0, "f")
    with pytest.raises(ValueError, match="step back"):
        codec.encode(backwards)
    long_name = Marginals(good.ids, good.log_probs, good.tail, good.times_ms, 0, "f" * 256)
    with pytest.raises(ValueError, match="fit the header"):
        codec.encode(long_name)
