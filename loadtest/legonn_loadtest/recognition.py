"""One recording through a stream: its text, when things came, and whether promises were kept."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import legonn
from legonn.cli.connection import is_unreachable
from legonn_core.scoring.sets import Recording
from legonn_loadtest.promises import PromiseCheck


@dataclass(frozen=True, slots=True)
class Heard:
    """What came of one recording.

    Attributes:
        text: All finals in one line; empty when the stream failed.
        duration_s: Length of the audio.
        broken: Promises that were not kept.
        failure: Why the stream failed; empty if it did not.
        first_partial_s: From the first sample to the first partial with text; None without one.
        final_lags_s: Of each final, from the end of its segment's audio to its arrival. Both only
            mean something when the audio was paced.
        routes: Module versions that answered, as "encoder → decoder".
    """

    text: str = ""
    duration_s: float = 0.0
    broken: tuple[str, ...] = ()
    failure: str = ""
    first_partial_s: float | None = None
    final_lags_s: tuple[float, ...] = ()
    routes: frozenset[str] = frozenset()


@dataclass(slots=True)
class _Sending:
    """The audio on its way out: when it began, and how much has gone."""

    file: legonn.AudioFile
    is_paced: bool
    started_at: float = field(default=0.0, init=False)
    num_samples: int = field(default=0, init=False)

    async def chunks(self) -> AsyncIterator[bytes]:
        self.started_at = time.monotonic()
        # Infinitely fast speech is there at once.
        speed = 1.0 if self.is_paced else float("inf")
        rate = self.file.sample_rate_hertz
        async for chunk in legonn.paced_async(self.file.chunks(), rate, speed=speed):
            self.num_samples += len(chunk) // 2
            yield chunk


def is_fatal(error: legonn.LegonnError) -> bool:
    """Whether the next call would fail alike, so that going on measures nothing."""
    return is_unreachable(error) or isinstance(error, legonn.NotFound)


async def hear(
    client: legonn.AsyncClient,
    recording: Recording,
    options: legonn.SpeechOptions,
    *,
    is_paced: bool,
) -> Heard:
    """Stream one recording.

    Args:
        client: To the server.
        recording: What to play.
        options: Language and interim results.
        is_paced: Whether it is sent as it is spoken; else as fast as the server takes it.

    Raises:
        LegonnError: If no server answers or none serves the language; other failures are kept.
    """
    check, finals, lags = PromiseCheck(), [], []
    first_partial_s = None
    try:
        with legonn.open_audio(recording.path) as file:
            sending = _Sending(file, is_paced)
            async for event in client.stream(
                sending.chunks(), options, sample_rate_hertz=file.sample_rate_hertz
            ):
                elapsed = time.monotonic() - sending.started_at
                check.see(event)
                if isinstance(event, legonn.Partial) and event.text and first_partial_s is None:
                    first_partial_s = elapsed
                elif isinstance(event, legonn.Final):
                    finals.append(event)
                    lags.append(elapsed - event.end_s)
            duration_s = sending.num_samples / file.sample_rate_hertz
    except legonn.LegonnError as error:
        if is_fatal(error):
            raise
        return Heard(failure=f"{recording.name}: {error.message}", broken=tuple(check.broken))
    return Heard(
        text=legonn.Transcript(tuple(finals)).text,
        duration_s=duration_s,
        broken=tuple(f"{recording.name}: {one}" for one in check.end(sending.num_samples)),
        first_partial_s=first_partial_s,
        final_lags_s=tuple(lags),
        routes=frozenset(f"{final.encoder} → {final.decoder}" for final in finals),
    )
