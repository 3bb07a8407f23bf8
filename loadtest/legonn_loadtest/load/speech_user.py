"""One client with a microphone: sends audio when it is spoken, and times what comes back.

Every latency counts from when the audio was due to be sent, not from when it was: a chunk that had
to wait, because the server pushed back or this process was busy, shows that wait.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import legonn
from legonn_loadtest.load.scenario import Scenario
from legonn_loadtest.load.sources import RATE_HERTZ, Clip
from legonn_loadtest.load.tally import Tally
from legonn_loadtest.load.traffic import StreamPlan, is_measured
from legonn_loadtest.promises import PromiseCheck


@dataclass(slots=True)
class SpeechUser:
    """One stream from start to end.

    Attributes:
        line: What is said, all of it.
        tally: Where everything is counted.
        began: Monotonic time at which the run began, in seconds.
    """

    scenario: Scenario
    plan: StreamPlan
    line: Clip
    tally: Tally
    began: float = field(kw_only=True)
    _check: PromiseCheck = field(default_factory=PromiseCheck)
    _finals: list[legonn.Final] = field(default_factory=list)
    _tail: list[str] = field(default_factory=list)
    _stable_words: int = 0
    _has_partial: bool = False
    _is_handed_on: bool = False

    @property
    def _chunk_s(self) -> float:
        return self.scenario.chunk_ms / 1000

    @property
    def _start(self) -> float:
        return self.began + self.plan.start_s

    async def speak(self, client: legonn.AsyncClient) -> None:
        """Wait for the planned moment, then stream; failures are counted, never raised."""
        await _until(self._start)
        counts = self.tally.counts
        counts["streams"] += 1
        speech = self.scenario.speech
        options = legonn.SpeechOptions(
            language=speech.language, interim_results=speech.interim_results
        )
        try:
            async for event in client.stream(self._chunks(), options, sample_rate_hertz=RATE_HERTZ):
                self._see(event)
                if self.plan.is_slow:
                    await asyncio.sleep(speech.slow_seconds)
        except legonn.LegonnError as error:
            counts["failed"] += 1
            counts[f"failed:{error.reason}"] += 1
            self._broken(self._check.broken)
            return
        self._broken(list(self._check.end(len(self.line.content) // 2)))
        if not self._is_handed_on:
            self.tally.repeats.see(self.line.digest, self._finals)
        if self.line.transcript:
            text = legonn.Transcript(tuple(self._finals)).text
            self.tally.heard.append((self.line.transcript, text))

    def _broken(self, sentences: list[str]) -> None:
        self.tally.counts["broken_promises"] += len(sentences)
        self.tally.broken += [f"stream {self.plan.number}: {one}" for one in sentences]

    async def _chunks(self) -> AsyncIterator[bytes]:
        size = 2 * RATE_HERTZ * self.scenario.chunk_ms // 1000
        content = self.line.content
        for number, at in enumerate(range(0, len(content), size)):
            due = self._start + (number + 1) * self._chunk_s
            await _until(due)
            self._record("send_lateness", time.monotonic() - due)
            self.tally.counts["messages"] += 1
            yield content[at : at + size]

    def _see(self, event: legonn.Event) -> None:
        self._check.see(event)
        now = time.monotonic()
        match event:
            case legonn.Started():
                self._record("accepted", now - self._start)
            case legonn.Partial():
                self._see_partial(event, now)
            case legonn.Final():
                self._see_final(event, now)
            case legonn.Notice(kind="DRAINING"):
                self._is_handed_on = True
            case legonn.Summary():
                self._record("half_close_to_summary", now - self._due(len(self.line.content) // 2))

    def _see_partial(self, partial: legonn.Partial, now: float) -> None:
        counts = self.tally.counts
        counts["partials"] += 1
        if not self._has_partial:
            self._has_partial = True
            self._record("first_partial", now - self._start)
        self._record("partial", now - self._due(round(partial.end_s * RATE_HERTZ)))
        self._revise(partial.text)
        self._stable_words = len(partial.stable_text.split())
        self._tail = partial.tail_text.split()
        counts["tail_words"] += len(self._tail)

    def _see_final(self, final: legonn.Final, now: float) -> None:
        self._finals.append(final)
        self.tally.counts["finals"] += 1
        self.tally.counts["final_words"] += len(final.text.split())
        self._record("segment_end_to_final", now - self._due(final.end_sample))
        self._revise(final.text)
        self._tail, self._stable_words = [], 0

    def _revise(self, text: str) -> None:
        """Count words of the last tail that this text does not repeat."""
        now = text.split()[self._stable_words : self._stable_words + len(self._tail)]
        kept = sum(old == new for old, new in zip(self._tail, now, strict=False))
        self.tally.counts["revised_words"] += len(self._tail) - kept

    def _due(self, sample: int) -> float:
        """When the message that completes the audio up to ``sample`` was to be sent."""
        number = math.ceil(sample / RATE_HERTZ / self._chunk_s - 1e-6)
        return self._start + max(number, 1) * self._chunk_s

    def _record(self, name: str, seconds: float) -> None:
        at = time.monotonic() - self.began
        name = f"slow_{name}" if self.plan.is_slow else name
        self.tally.latency(name, seconds, at_s=at, is_measured=is_measured(self.scenario, at))


async def _until(moment: float) -> None:
    delay = moment - time.monotonic()
    if delay > 0:
        await asyncio.sleep(delay)
