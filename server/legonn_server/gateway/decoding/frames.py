"""What the gateway and a reader say to each other: one byte of kind, four of length, the rest."""

from __future__ import annotations

import struct
from enum import Enum

HEADER = struct.Struct("!cI")
MAX_PAYLOAD = 1 << 20


class Kind(Enum):
    """What a message means.

    Attributes:
        OPEN: To the reader: the name of the container; once, first.
        DATA: To the reader: the next bytes of the file.
        END: To the reader: there are no more.
        RATE: From the reader: samples a second, before the first of them.
        SAMPLES: From the reader: mono float32 in [-1, 1], little-endian.
        HUNGRY: From the reader: all that could be read of the bytes so far was given.
        DONE: From the reader: the file is at its end.
        BAD: From the reader: a sentence on why this is no audio.
    """

    OPEN = b"o"
    DATA = b"d"
    END = b"e"
    RATE = b"r"
    SAMPLES = b"s"
    HUNGRY = b"h"
    DONE = b"f"
    BAD = b"b"


def pack(kind: Kind, payload: bytes = b"") -> bytes:
    """One message."""
    return HEADER.pack(kind.value, len(payload)) + payload


def unpack_header(header: bytes) -> tuple[Kind, int]:
    """Kind and length of the payload that follows.

    Raises:
        ValueError: If it is none of ours.
    """
    kind, length = HEADER.unpack(header)
    if length > MAX_PAYLOAD:
        raise ValueError(f"a message of {length} bytes")
    return Kind(kind), length
