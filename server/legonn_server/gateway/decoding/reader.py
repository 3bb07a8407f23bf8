"""What one reader process does: bytes of one file in, samples out, then it is gone.

It may use little memory, write no file, and is ended by the kernel when it computes for long
without bringing any audio. It never sees another stream.
"""

from __future__ import annotations

import os
import resource
import socket
from collections.abc import Iterator

import av
import numpy as np
from numpy.typing import NDArray

from legonn_server.gateway.decoding.formats import (
    MARK_BYTES,
    TAIL_BYTES,
    Container,
    fits,
    is_cut,
    recognize,
)
from legonn_server.gateway.decoding.frames import HEADER, Kind, pack, unpack_header

MEMORY_BYTES = 512 << 20
"""Beyond what the process has when it begins; a reader of audio needs a tenth of it."""

FRUITLESS_CPU_S = 10
"""Processor time without a sample after which the kernel ends the process."""

PIECE_SAMPLES = 1 << 16
EXPANSION_S = 60.0
EXPANSION_S_PER_KB = 60.0
"""Audio that so many bytes may hold: the flattest silence has less, a bomb has more."""

_QUICK = {"probesize": "2048", "analyzeduration": "1"}
"""The header says what is inside: a live stream must not wait until FFmpeg has guessed it too."""

SHORT_BY_S = 0.3
"""A file that says how long it is may be so much shorter."""


class _BadFile(Exception):
    """Why this is no audio, as a sentence."""


class _Inbox:
    """The file as FFmpeg sees it: ``read`` asks the gateway for more when nothing is left."""

    def __init__(self, channel: socket.socket) -> None:
        self._channel = channel
        self._rest = b""
        self._is_at_end = False
        self.num_bytes = 0
        self.tail = b""

    def message(self) -> tuple[Kind, bytes]:
        """The next message of the gateway; its absence ends the process."""
        kind, length = unpack_header(self._exactly(HEADER.size))
        return kind, self._exactly(length)

    def _exactly(self, count: int) -> bytes:
        parts = bytearray()
        while len(parts) < count:
            part = self._channel.recv(count - len(parts))
            if not part:
                os._exit(0)
            parts += part
        return bytes(parts)

    def read(self, count: int = -1) -> bytes:
        """At most ``count`` bytes, waiting for some; none at the end of the file."""
        while not self._rest and not self._is_at_end:
            self._channel.sendall(pack(Kind.HUNGRY))
            self._take()
        size = len(self._rest) if count < 0 else count
        found, self._rest = self._rest[:size], self._rest[size:]
        return found

    def first(self, count: int) -> bytes:
        """The first bytes of the file, which stay to be read; fewer if it has no more."""
        while len(self._rest) < count and not self._is_at_end:
            if self.num_bytes:
                self._channel.sendall(pack(Kind.HUNGRY))
            self._take()
        return self._rest[:count]

    def _take(self) -> None:
        kind, payload = self.message()
        if kind is Kind.END:
            self._is_at_end = True
        self._rest += payload
        self.num_bytes += len(payload)
        self.tail = (self.tail + payload)[-TAIL_BYTES:]


def read_file(channel: socket.socket) -> None:
    """Serve one file on a socket."""
    inbox = _Inbox(channel)
    try:
        _, name = inbox.message()
        _limit()
        _read(inbox, channel, Container[name.decode()])
        answer = pack(Kind.DONE)
    except _BadFile as error:
        answer = pack(Kind.BAD, str(error).encode())
    except (av.FFmpegError, ValueError, IndexError, MemoryError) as error:
        answer = pack(Kind.BAD, f"the file is damaged ({type(error).__name__})".encode())
    channel.sendall(answer)


def _limit() -> None:
    """Take away what a reader of audio does not need."""
    with open("/proc/self/statm", encoding="ascii") as file:  # noqa: PTH123 - one line of the kernel
        pages = int(file.read().split()[0])
    memory = pages * resource.getpagesize() + MEMORY_BYTES
    resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    _grant_time()


def _grant_time() -> None:
    """Let the process compute for a while from now."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    until = int(usage.ru_utime + usage.ru_stime) + FRUITLESS_CPU_S
    hard = resource.getrlimit(resource.RLIMIT_CPU)[1]
    resource.setrlimit(resource.RLIMIT_CPU, (until, hard))


def _read(inbox: _Inbox, channel: socket.socket, container: Container) -> None:
    form = container.value
    first = inbox.first(MARK_BYTES)
    if not first:
        raise _BadFile("the audio is empty")
    if not fits(container, first):
        found = recognize(first)
        what = f"but {found.value.title}" if found else "nor any file that is read here"
        raise _BadFile(f"the audio is not {form.title}, {what}")
    with av.open(inbox, "r", form.demuxer, dict(_QUICK), buffer_size=4096) as file:
        streams = file.streams.audio
        if not streams:
            raise _BadFile(f"the {form.title} file holds no audio")
        stream = streams[0]
        # None for a codec that FFmpeg does not know, whatever the library's types say.
        codec: av.AudioCodecContext | None = stream.codec_context
        if codec is None or codec.name not in form.codecs:
            named = codec.name if codec else "audio of an unknown kind"
            raise _BadFile(f"the {form.title} file holds {named}")
        codec.thread_count = 1
        declared = (file.duration or 0) / av.time_base
        seconds = 0.0
        for rate, samples in _samples(file, stream):
            if not seconds:
                channel.sendall(pack(Kind.RATE, str(rate).encode()))
                known = rate
            if rate != known:
                raise _BadFile("the sample rate changes in the middle of the file")
            seconds += len(samples) / rate
            if seconds > EXPANSION_S + EXPANSION_S_PER_KB * inbox.num_bytes / 1000:
                raise _BadFile("the file claims more audio than its bytes can hold")
            _grant_time()
            for start in range(0, len(samples), PIECE_SAMPLES):
                piece = samples[start : start + PIECE_SAMPLES]
                channel.sendall(pack(Kind.SAMPLES, piece.astype("<f4").tobytes()))
    if not seconds:
        raise _BadFile(f"the {form.title} file holds no audio")
    is_short = container is not Container.MP3 and seconds < declared - SHORT_BY_S
    if is_short or is_cut(container, first=first, num_bytes=inbox.num_bytes, tail=inbox.tail):
        raise _BadFile(f"the {form.title} file breaks off after {seconds:.1f} s: it is not whole")


def _samples(
    file: av.container.InputContainer, stream: av.AudioStream
) -> Iterator[tuple[int, NDArray[np.float32]]]:
    """(rate, (N,) float32) of each frame, channels mixed to one."""
    to_floats: av.AudioResampler | None = None
    for packet in file.demux(stream):
        for frame in packet.decode():
            assert isinstance(frame, av.AudioFrame)
            if to_floats is None:
                to_floats = av.AudioResampler(format="fltp", layout=frame.layout, rate=frame.rate)
            for even in to_floats.resample(frame):
                floats = even.to_ndarray()
                if not np.isfinite(floats).all():
                    raise _BadFile("the audio holds floats that are NaN or infinite")
                mono = floats.mean(axis=0, dtype=np.float32)
                yield even.rate, np.clip(mono, -1.0, 1.0)
