"""Marginals to bytes and back: 16-bit ids and 8-bit log-probabilities.

    header   magic 4 · version u8 · crc32 u32 of all that follows
             rows u32 · first_position u32 · k u8 · fingerprint length u8 · fingerprint
    columns  ids u16 (U·k) · codes u8 (U·k) · tail codes u8 (U)
             first time i32 · time steps u16 (U-1)

All little-endian. A code is ``round(-16 · ln p)``, clipped to 0..255; the reader renormalises each
row. What that loses, for a row whose listed classes and tail sum to one:

* a class or tail with p ≥ e^-15.9 comes back within ``LOG_LOSS`` (1/16 nat and what the clipped
  classes add);
* the total variation between the row and its copy is at most ``VARIATION_LOSS``.

What was cut to the top k is lost before it comes here. The order of ids, ties included, is kept.
"""

from __future__ import annotations

import struct
import zlib
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from legonn_core.errors import EncodingMismatch
from legonn_core.interface.marginals import Marginals

MAGIC = b"LgnM"
VERSION = 1
STEPS_PER_NAT = 16

LOG_LOSS = 1 / 16 + 1e-3
"""Half a step of rounding (1/32 nat) and as much again from renormalising, and clipped classes."""

VARIATION_LOSS = 1 / 64 + 1e-3
"""tanh(1/64): half the mass rounded up by 1/32 nat and half rounded down, and clipped classes."""

_OUTER = struct.Struct("<4sBI")
_INNER = struct.Struct("<IIBB")


def encode(marginals: Marginals) -> bytes:
    """Write a block of rows: 3k + 3 bytes a row and about 40 in all.

    Raises:
        ValueError: If ``k`` or the fingerprint is longer than 255, or times step back or jump by
            more than 65 s.
    """
    rows, k = marginals.ids.shape
    name = marginals.fingerprint.encode()
    steps = np.diff(marginals.times_ms.astype(np.int64))
    if k > 255 or len(name) > 255:
        raise ValueError(f"k={k} or a fingerprint of {len(name)} bytes does not fit the header")
    if steps.size and (steps.min() < 0 or steps.max() >= 2**16):
        raise ValueError("row times step back, or jump by more than 65 s")
    body = b"".join(
        (
            _INNER.pack(rows, marginals.first_position, k, len(name)),
            name,
            marginals.ids.astype("<u2").tobytes(),
            _codes(marginals.log_probs).tobytes(),
            _codes(np.log(np.maximum(marginals.tail, np.float32(1e-30)))).tobytes(),
            marginals.times_ms[:1].astype("<i4").tobytes(),
            steps.astype("<u2").tobytes(),
        )
    )
    return _OUTER.pack(MAGIC, VERSION, zlib.crc32(body)) + body


def decode(data: bytes) -> Marginals:
    """Read what ``encode`` wrote.

    Raises:
        EncodingMismatch: If the bytes are anything else, or were changed or cut on the way.
    """
    if len(data) < _OUTER.size + _INNER.size:
        raise EncodingMismatch(f"{len(data)} bytes are too few for marginals")
    magic, version, checksum = _OUTER.unpack_from(data)
    if magic != MAGIC or version != VERSION:
        raise EncodingMismatch(f"marginals begin with {magic!r} version {version}")
    body = memoryview(data)[_OUTER.size :]
    if zlib.crc32(body) != checksum:
        raise EncodingMismatch("marginals were damaged or cut on the way")
    rows, first_position, k, name_length = _INNER.unpack_from(body)
    start = _INNER.size + name_length
    sizes = (2 * rows * k, rows * k, rows, 4 * min(rows, 1), 2 * max(rows - 1, 0))
    if len(body) != start + sum(sizes):
        raise EncodingMismatch(f"{rows} rows of {k} do not take {len(body)} bytes")
    edges = np.cumsum([start, *sizes]).tolist()
    parts = [body[a:b] for a, b in pairwise(edges)]
    log_probs, tail = _renormalised(
        np.frombuffer(parts[1], np.uint8).reshape(rows, k), np.frombuffer(parts[2], np.uint8)
    )
    times = np.zeros(rows, np.int32)
    times[:1] = np.frombuffer(parts[3], "<i4")
    times[1:] = np.frombuffer(parts[4], "<u2")
    return Marginals(
        ids=np.frombuffer(parts[0], "<u2").reshape(rows, k).astype(np.uint16),
        log_probs=log_probs,
        tail=tail,
        times_ms=np.cumsum(times, dtype=np.int32),
        first_position=first_position,
        fingerprint=bytes(body[_INNER.size : start]).decode(errors="replace"),
    )


def _codes(log_probs: NDArray[np.float32]) -> NDArray[np.uint8]:
    steps: NDArray[np.float32] = np.rint(-STEPS_PER_NAT * log_probs)
    return steps.clip(0, 255).astype(np.uint8)


_PROBS = np.exp(-np.arange(256) / STEPS_PER_NAT)


def _renormalised(
    codes: NDArray[np.uint8], tail_codes: NDArray[np.uint8]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """(U, k) natural logarithms and (U,) tail mass from their codes."""
    total = _PROBS[codes].sum(axis=1) + _PROBS[tail_codes]
    log_probs = codes / -STEPS_PER_NAT - np.log(total)[:, None]
    return log_probs.astype(np.float32), (_PROBS[tail_codes] / total).astype(np.float32)
