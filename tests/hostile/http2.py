"""Just enough HTTP/2 (RFC 9113) to misuse it: a preface, headers without Huffman codes, resets."""

from __future__ import annotations

import struct

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_HEADERS, _RST_STREAM, _SETTINGS = 1, 3, 4
_END_HEADERS = 4
_CANCEL = 8


def frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    """One frame."""
    return struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", kind, flags, stream) + payload


def settings() -> bytes:
    """An empty SETTINGS frame, which every client begins with."""
    return frame(_SETTINGS, 0, 0, b"")


def headers(stream: int, path: str, **more: str) -> bytes:
    """A gRPC call's HEADERS, every field a literal without indexing (RFC 7541, 6.2.2)."""
    fields = {
        ":method": "POST",
        ":scheme": "http",
        ":path": path,
        ":authority": "localhost",
        "te": "trailers",
        "content-type": "application/grpc",
        **more,
    }
    block = b"".join(b"\x00" + _text(name) + _text(value) for name, value in fields.items())
    return frame(_HEADERS, _END_HEADERS, stream, block)


def reset(stream: int) -> bytes:
    """RST_STREAM with CANCEL: the caller has thought better of it."""
    return frame(_RST_STREAM, 0, stream, struct.pack(">I", _CANCEL))


def _text(text: str) -> bytes:
    content = text.encode()
    assert len(content) < 127, "longer lengths need a prefix that nobody here uses"
    return bytes([len(content)]) + content
