"""Which files are read, and how one is known by its first bytes."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


@dataclass(frozen=True, slots=True)
class Format:
    """One kind of file.

    Attributes:
        title: For people.
        demuxer: FFmpeg's name.
        codecs: FFmpeg's names of what may be inside.
        marks: (offset, bytes) of which one is found in every such file.
    """

    title: str
    demuxer: str
    codecs: frozenset[str]
    marks: tuple[tuple[int, bytes], ...]


_PCM = ("u8", "s16le", "s24le", "s32le", "f32le", "f64le", "mulaw", "alaw")


class Container(Enum):
    """Files with a header."""

    WAV = Format(
        "WAV",
        "wav",
        frozenset(f"pcm_{kind}" for kind in _PCM),
        ((0, b"RIFF"), (0, b"RF64")),
    )
    FLAC = Format("FLAC", "flac", frozenset({"flac"}), ((0, b"fLaC"), (0, b"ID3")))
    OGG = Format("Ogg", "ogg", frozenset({"opus", "vorbis", "flac"}), ((0, b"OggS"),))
    WEBM = Format("WebM", "matroska", frozenset({"opus", "vorbis"}), ((0, b"\x1a\x45\xdf\xa3"),))
    MP3 = Format(
        "MP3",
        "mp3",
        frozenset({"mp3", "mp3float"}),
        ((0, b"ID3"), *((0, bytes([255, second])) for second in (0xFB, 0xFA, 0xF3, 0xF2, 0xE3))),
    )


MARK_BYTES = 8
"""So many first bytes say what a file is, and of a WAV how long it is."""

TAIL_BYTES = 1 << 17
"""The longest page of Ogg and more: so many last bytes say whether one is cut."""

_UNKNOWN_SIZE = 0x7FFFFF00
"""Programs that write a WAV into a pipe put a size like this or a larger one."""


def recognize(first: bytes) -> Container | None:
    """The kind of file that begins with these bytes; None for what is none of them."""
    for container in Container:
        for offset, mark in container.value.marks:
            if first[offset : offset + len(mark)] == mark:
                return container
    return None


def fits(container: Container, first: bytes) -> bool:
    """Whether a file that begins with these bytes can be what it is said to be."""
    marks = container.value.marks
    return any(first[offset : offset + len(mark)] == mark for offset, mark in marks)


def is_cut(container: Container, *, first: bytes, num_bytes: int, tail: bytes) -> bool:
    """Whether a file is seen to end before its end, whatever could be read of it.

    Args:
        container: What it is.
        first: Its first bytes.
        num_bytes: Its length.
        tail: Its last bytes, at most ``TAIL_BYTES``.
    """
    if container is Container.WAV:
        size = int.from_bytes(first[4:8], "little")
        return 0 < size < _UNKNOWN_SIZE and num_bytes < size + 8 - 1
    page = tail.rfind(b"OggS")
    if container is not Container.OGG or page < 0:
        return False
    header = tail[page : page + 27]
    sizes = tail[page + 27 : page + 27 + (header[26] if len(header) == 27 else 0)]
    return len(header) < 27 or page + 27 + len(sizes) + sum(sizes) > len(tail)
