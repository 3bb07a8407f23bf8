"""What the contract promises of a stream, checked on everything that goes in and comes out.

The machines are built to keep these; this looks from outside, so that a mistake in one of them ends
one stream loudly instead of misleading a reader. Every runner has a guard, in service too: whatever
drives a gateway (load, chaos, swaps, fuzzing, a soak) is checked by it, and
``legonn_invariant_violations_total`` counts what it finds.

The promises, by the numbers of the design: 1 stable text, 2 order, 3 every sample or character
once, 4 a flush is answered, 5 words in order and inside, 7 one end. The sixth, that finals are a
function of the audio, needs two runs to compare: ``legonn_loadtest.repeats`` does.
"""

from __future__ import annotations

from enum import Enum

from legonn_core.runtime.messages import DecodedText
from legonn_server.session import commands as c
from legonn_server.session import events as e
from legonn_server.session import text_messages as t
from legonn_server.session.endpoint import EndReason


class Promise(Enum):
    """The names by which broken promises are counted."""

    STABLE_TEXT_GROWS = "stable_text_grows"
    FINAL_BEGINS_WITH_STABLE = "final_begins_with_stable"
    SEGMENTS_IN_ORDER = "segments_in_order"
    AUDIO_ONCE = "audio_once"
    FLUSH_ANSWERED = "flush_answered"
    WORDS_IN_ORDER = "words_in_order"
    ONE_END = "one_end"
    INTERNAL = "internal"


class _Line:
    """The text of the open segment as a caller has seen it: one line that only grows."""

    def __init__(self, first_index: int = 0, stable: str = "") -> None:
        self.next_index = first_index
        self.stable = stable
        self._revision = 0

    def partial(self, index: int, revision: int, stable: str) -> Promise | None:
        """A partial is about to be shown."""
        if index != self.next_index or revision <= self._revision:
            return Promise.SEGMENTS_IN_ORDER
        if not stable.startswith(self.stable):
            return Promise.STABLE_TEXT_GROWS
        self.stable, self._revision = stable, revision
        return None

    def final(self, index: int, text: str | None) -> Promise | None:
        """A final is about to be shown; ``text`` is None where it says why there is none."""
        if index != self.next_index:
            return Promise.SEGMENTS_IN_ORDER
        if text is not None and not text.startswith(self.stable):
            return Promise.FINAL_BEGINS_WITH_STABLE
        self.next_index += 1
        self.drop()
        return None

    def drop(self) -> None:
        """The segment is over; the next one begins empty."""
        self.stable, self._revision = "", 0


class PromiseGuard:
    """Watches one stream of audio; positions are model-rate samples of this stream.

    Attributes:
        sample_rate: In Hz; known when the stream is opened.
    """

    def __init__(self) -> None:
        self.sample_rate = 16_000
        self._line = _Line()
        self._first_index = 0
        self._is_started = False
        self._is_over = False
        self._received = 0
        self._end_sample = 0
        self._final_samples = 0
        self._flushes: list[int] = []

    def hear(self, event: e.Event) -> None:
        """Something of the caller that is about to be given to the machine."""
        match event:
            case e.Opened(sample_rate=rate):
                self.sample_rate = rate
            case e.AudioReceived(samples):
                self._received += len(samples)
            # A flush behind the last final asks for nothing: all before it is answered.
            case e.Flushed() if self._received > self._end_sample:
                self._flushes.append(self._received)

    def broken(self, command: c.Command) -> Promise | None:
        """The promise that writing this would break, if any."""
        if self._is_over or isinstance(command, c.EmitStarted) == self._is_started:
            return Promise.ONE_END
        match command:
            case c.EmitStarted(first_index, committed):
                self._is_started, self._first_index = True, first_index
                self._line = _Line(first_index, committed)
            case c.EmitCancelled(index):
                if index != self._line.next_index:
                    return Promise.SEGMENTS_IN_ORDER
                self._line.drop()
            case c.EmitPartial(index, revision, stable):
                return self._line.partial(index, revision, stable)
            case c.EmitFinal():
                return self._final(command)
            case c.CloseStream():
                return self._close(command)
        return None

    def _final(self, final: c.EmitFinal) -> Promise | None:
        start, end = final.start_sample, final.end_sample
        if not self._end_sample <= start <= end <= self._received:
            return Promise.AUDIO_ONCE
        if any(start < flush < end for flush in self._flushes):
            return Promise.FLUSH_ANSWERED
        length_ms = (end - start) * 1000 // self.sample_rate
        if not all(_in_order(one, length_ms) for one in final.hypotheses):
            return Promise.WORDS_IN_ORDER
        self._flushes = [flush for flush in self._flushes if flush != end]
        self._end_sample = end
        self._final_samples += end - start
        return self._line.final(final.segment_index, final.hypotheses[0].text)

    def _close(self, closing: c.CloseStream) -> Promise | None:
        self._is_over = True
        if closing.num_segments != self._line.next_index - self._first_index:
            return Promise.SEGMENTS_IN_ORDER
        accounted = closing.final_samples + closing.nonspeech_samples
        if closing.final_samples != self._final_samples or accounted != self._received:
            return Promise.AUDIO_ONCE
        return Promise.FLUSH_ANSWERED if self._flushes else None


class TextPromiseGuard:
    """Watches one stream of text; positions are code points of the source."""

    def __init__(self) -> None:
        self._line = _Line()
        self._is_started = False
        self._is_over = False
        self._received = 0
        self._end = 0
        self._num_flushes = 0

    def hear(self, event: t.TextEvent) -> None:
        """Something of the caller that is about to be given to the machine."""
        match event:
            case t.TextReceived(text):
                self._received += len(text)
            case e.Flushed():
                self._num_flushes += 1

    def broken(self, command: t.TextCommand) -> Promise | None:
        """The promise that writing this would break, if any."""
        if self._is_over or isinstance(command, c.EmitStarted) == self._is_started:
            return Promise.ONE_END
        match command:
            case c.EmitStarted():
                self._is_started = True
            case t.EmitTextPartial(index, revision, stable):
                return self._line.partial(index, revision, stable)
            case t.EmitTextFinal():
                return self._final(command)
            case t.CloseText():
                return self._close(command)
        return None

    def _final(self, final: t.EmitTextFinal) -> Promise | None:
        if not self._end <= final.start_character <= final.end_character <= self._received:
            return Promise.AUDIO_ONCE
        self._end = final.end_character
        self._num_flushes -= final.reason is EndReason.FLUSH
        best = final.reading.hypotheses[0].text if final.reading else None
        return self._line.final(final.segment_index, best)

    def _close(self, closing: t.CloseText) -> Promise | None:
        self._is_over = True
        if closing.num_segments != self._line.next_index:
            return Promise.SEGMENTS_IN_ORDER
        if closing.characters_received != self._received:
            return Promise.AUDIO_ONCE
        return Promise.FLUSH_ANSWERED if self._num_flushes else None


def _in_order(hypothesis: DecodedText, length_ms: int) -> bool:
    """Whether words begin one after the other, end after they begin, and lie in the segment."""
    earliest = 0
    for word in hypothesis.words:
        if not earliest <= word.start_ms <= word.end_ms <= length_ms:
            return False
        earliest = word.start_ms
    return True
