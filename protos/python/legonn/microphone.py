"""The microphone as chunks of LINEAR16, for both clients; needs the extra ``legonn[microphone]``.

with legonn.Microphone() as microphone:
for event in client.stream(microphone, sample_rate_hertz=microphone.sample_rate_hertz):
...
"""

from __future__ import annotations

import asyncio
import queue
import time
from collections.abc import AsyncIterator, Callable, Iterator
from importlib import import_module
from types import TracebackType
from typing import Any, Protocol, Self

from legonn.audio import BYTES_PER_SAMPLE
from legonn.errors import BadAudio

CHUNK_MS = 100
MAX_WAITING = 600
"""Chunks kept while nobody reads: a minute, as long as a lost server is waited for."""


class SoundApi(Protocol):
    """What is used of the package sounddevice."""

    PortAudioError: type[Exception]

    def RawInputStream(self, **options: Any) -> Any:  # noqa: N802 - sounddevice's own
        """Opens an input."""

    def query_devices(self) -> Any:
        """Lists the devices."""


def sound_api() -> SoundApi:
    """The package sounddevice.

    Raises:
        BadAudio: If it or the system's library is missing; says what to install.
    """
    try:
        found: SoundApi = import_module("sounddevice")
    except ImportError:
        raise BadAudio(
            "the microphone needs one more package: pip install 'legonn[microphone]'"
        ) from None
    except OSError:
        raise BadAudio(
            "the microphone needs PortAudio: on Debian and Ubuntu, apt install libportaudio2"
        ) from None
    return found


class Microphone:
    """An open microphone; iterate over it once, blocking or asyncio.

    Args:
        device: Number or part of a name, as ``legonn listen --list-devices`` shows; None takes the
            system's choice.
        sample_rate_hertz: Of the chunks.
        api: Where the sound comes from.
        clock: Seconds that only grow.

    Attributes:
        num_lost: Chunks that came while too many waited.
    """

    def __init__(
        self,
        device: int | str | None = None,
        *,
        sample_rate_hertz: int = 16_000,
        api: SoundApi | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.sample_rate_hertz = sample_rate_hertz
        self.num_lost = 0
        self._chunks: queue.Queue[bytes | None] = queue.Queue(MAX_WAITING)
        self._clock = clock
        self._started = 0.0
        self._num_samples = 0
        self._level = 0.0
        found = api or sound_api()
        try:
            self._stream = found.RawInputStream(
                device=device,
                samplerate=sample_rate_hertz,
                channels=1,
                dtype="int16",
                blocksize=sample_rate_hertz * CHUNK_MS // 1000,
                callback=self._heard,
            )
            self._stream.start()
        except (found.PortAudioError, ValueError) as error:
            raise BadAudio(
                f"no microphone can be opened ({error}); see legonn listen --list-devices"
            ) from error
        self._started = clock()

    def _heard(self, data: object, frames: int, when: object, status: object) -> None:
        """Takes a chunk in PortAudio's own thread, which must never wait."""
        del when, status
        content = bytes(data)  # type: ignore[call-overload]  # a buffer of cffi, which has no types
        self._num_samples += frames
        self._level = _level(content)
        try:
            self._chunks.put_nowait(content)
        except queue.Full:
            self.num_lost += 1

    @property
    def level(self) -> float:
        """How loud it is now, in [0, 1]."""
        return self._level

    def age_s(self, position_s: float) -> float:
        """How long ago the sound at a position of the stream was heard, in seconds."""
        return max(0.0, self._clock() - self._started - position_s)

    def stop(self) -> None:
        """Hear no more; what was heard is still read."""
        self._stream.stop()
        self._chunks.put(None)

    def __iter__(self) -> Iterator[bytes]:
        while (chunk := self._chunks.get()) is not None:
            yield chunk

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while (chunk := await asyncio.to_thread(self._chunks.get)) is not None:
            yield chunk

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stream.close()
        while not self._chunks.empty():
            self._chunks.get_nowait()
        self._chunks.put(None)  # whoever still reads is let go


def _level(content: bytes) -> float:
    """The loudest of every eighth sample: enough for a meter, little work for a sound thread."""
    samples = memoryview(content[: len(content) // BYTES_PER_SAMPLE * BYTES_PER_SAMPLE]).cast("h")
    return max(map(abs, samples[::8]), default=0) / 32768
