"""What the contract promises of a stream's answers, checked before each one is written.

The machine is built to keep these; this looks from outside, so that a mistake in it ends one stream
loudly instead of misleading a reader.
"""

from __future__ import annotations

from enum import Enum

from legonn_server.session.commands import (
    Command,
    EmitCancelled,
    EmitFinal,
    EmitPartial,
    EmitStarted,
)


class Promise(Enum):
    """The names by which broken promises are counted."""

    STABLE_TEXT_GROWS = "stable_text_grows"
    FINAL_BEGINS_WITH_STABLE = "final_begins_with_stable"
    SEGMENTS_IN_ORDER = "segments_in_order"
    AUDIO_ONCE = "audio_once"
    WORDS_IN_ORDER = "words_in_order"
    INTERNAL = "internal"


class PromiseGuard:
    """Watches the emissions of one stream."""

    def __init__(self) -> None:
        self._next_index = 0
        self._end_sample = 0
        self._stable = ""

    def broken(self, command: Command) -> Promise | None:
        """The promise that writing this would break, if any."""
        if isinstance(command, EmitStarted):
            self._next_index, self._stable = command.first_index, command.committed_text
        if isinstance(command, EmitCancelled):
            self._stable = ""
        if isinstance(command, EmitPartial):
            return self._partial(command)
        if isinstance(command, EmitFinal):
            return self._final(command)
        return None

    def _partial(self, partial: EmitPartial) -> Promise | None:
        if partial.segment_index != self._next_index:
            return Promise.SEGMENTS_IN_ORDER
        if not partial.stable_text.startswith(self._stable):
            return Promise.STABLE_TEXT_GROWS
        self._stable = partial.stable_text
        return None

    def _final(self, final: EmitFinal) -> Promise | None:
        best = final.hypotheses[0]
        if final.segment_index != self._next_index:
            return Promise.SEGMENTS_IN_ORDER
        if final.start_sample < self._end_sample or final.end_sample < final.start_sample:
            return Promise.AUDIO_ONCE
        if not best.text.startswith(self._stable):
            return Promise.FINAL_BEGINS_WITH_STABLE
        starts = [word.start_ms for word in best.words]
        if starts != sorted(starts) or any(word.end_ms < word.start_ms for word in best.words):
            return Promise.WORDS_IN_ORDER
        self._next_index += 1
        self._end_sample = final.end_sample
        self._stable = ""
        return None
