"""One stream of text, as a pure machine: an event goes in, a list of commands comes out.

Text is cut where sentences end; each sentence is a segment with one final, in order. Ended segments
are translated side by side, finals leave in order. The open segment is translated anew whenever
whole words came, one call at a time, as long as no earlier final is still out; the rule of the
config says what of it is settled, and everything after begins with that. Only rules with a time
budget, and how fast text comes while partials are wanted, make the answers depend on clocks.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from legonn_core.errors import (
    BackendDown,
    BrokenInvariant,
    InternalFault,
    LegonnError,
    PoisonSegment,
)
from legonn_server.session import events as e
from legonn_server.session import text_messages as t
from legonn_server.session.commands import EmitReplaying, EmitStarted, Fail
from legonn_server.session.endpoint import EndReason
from legonn_server.session.table import State, next_state
from legonn_server.session.text_policy import TextLimits
from legonn_server.session.text_segment import TextSegment
from legonn_server.session.wording import joined, tidy

_INPUTS = (t.TextReceived, e.Flushed, t.Ticked, e.InputEnded)
_ANSWERS = (t.TextRead, t.TextRefused, t.TextLost)

TRANSITIONS: dict[tuple[State, type[object]], State] = {
    (State.AWAITING_CONFIG, t.TextOpened): State.STREAMING,
    **{(State.STREAMING, one): State.STREAMING for one in (*_INPUTS, *_ANSWERS)},
    (State.STREAMING, e.InputEnded): State.DRAINING,
    **{(State.DRAINING, one): State.DRAINING for one in (t.Ticked, *_ANSWERS)},
    (State.DRAINING, e.Finished): State.CLOSED,
    # After the end answers change nothing, and a caller may not know yet that the stream failed.
    **{(State.CLOSED, one): State.CLOSED for one in (t.Ticked, *_ANSWERS)},
    **{(State.FAILED, one): State.FAILED for one in (*_INPUTS, *_ANSWERS)},
    **{(state, e.Broken): State.FAILED for state in (State.STREAMING, State.DRAINING)},
    **{(state, e.Cancelled): State.CLOSED for state in State if state is not State.FAILED},
    (State.FAILED, e.Cancelled): State.FAILED,
}
"""Which event is allowed in which state; what is not here is refused."""

EXPLANATIONS: dict[tuple[State, type[object]], str] = {
    (State.AWAITING_CONFIG, t.TextReceived): "text before the config: send the config first",
    (State.AWAITING_CONFIG, e.InputEnded): "the stream ended before a config was sent",
    (State.STREAMING, t.TextOpened): (
        "the config was sent twice; it comes once, as the first message"
    ),
}
"""Sentences for the mistakes that callers make."""

_Answer = t.TextRead | t.TextRefused | t.TextLost


class TextMachine:
    """All state of one stream of text; see the module's docstring.

    Args:
        limits: How much is worked on at once.
        sentence_end: Where the first sentence of growing text surely ends; 0 if nowhere yet.

    Attributes:
        state: Where the session stands.
    """

    def __init__(self, limits: TextLimits, *, sentence_end: Callable[[str], int]) -> None:
        self.state = State.AWAITING_CONFIG
        self._limits = limits
        self._sentence_end = sentence_end
        self._opened = t.TextOpened()
        self._open: TextSegment | None = None
        self._ended: deque[TextSegment] = deque()
        self._num_received = self._next_number = self._num_finals = self._num_replays = 0
        self._is_input_over = False
        self._handlers: dict[type[object], Callable[[Any], list[t.TextCommand]]] = {
            t.TextOpened: self._on_opened,
            t.TextReceived: self._on_text,
            e.Flushed: lambda _: self._on_mark(EndReason.FLUSH),
            e.InputEnded: lambda _: self._on_mark(EndReason.HALF_CLOSE),
            t.TextRead: self._on_read,
            t.TextRefused: self._on_refused,
            t.TextLost: self._on_lost,
            t.Ticked: self._on_ticked,
            e.Cancelled: lambda _: self._release(),
        }

    @property
    def backlog(self) -> int:
        """Characters received whose final is not out: what backpressure is measured by."""
        return self._num_received - self.num_processed

    @property
    def num_processed(self) -> int:
        """Code points of the session whose final is out."""
        first = self._ended[0] if self._ended else self._open
        return first.start if first else self._num_received

    @property
    def next_due(self) -> float | None:
        """When a ``Ticked`` would change something, in monotonic seconds."""
        rule = self._opened.rule
        if self._open is None or rule is None or rule.max_delay_s is None:
            return None
        return self._open.next_due(rule.max_delay_s)

    def receive(self, event: t.TextEvent) -> list[t.TextCommand]:
        """Take one event and say what is to be done.

        Raises:
            ProtocolViolation: If the event has no meaning in this state; the machine is unchanged.
        """
        self._move(event)
        if self.state in (State.CLOSED, State.FAILED) and not isinstance(event, e.Cancelled):
            return []
        try:
            return self._handlers[type(event)](event)
        except InternalFault as fault:
            return self._fail(fault)

    def _move(self, event: t.TextEvent) -> None:
        self.state = next_state(self.state, event, TRANSITIONS, EXPLANATIONS)

    # --- the caller's events

    def _on_opened(self, event: t.TextOpened) -> list[t.TextCommand]:
        self._opened = event
        return [EmitStarted()]

    def _on_text(self, event: t.TextReceived) -> list[t.TextCommand]:
        if self._open is None:
            self._open = TextSegment(self._next_number, self._num_received)
            self._next_number += 1
        self._open.add(event.text, event.now)
        self._num_received += len(event.text)
        while self._open.text and (cut := self._cut(self._open.text)):
            end, reason = cut
            rest = self._open.split(end, number=self._next_number)
            self._next_number += 1
            self._end(self._open, reason)
            self._open = rest
        return self._advance()

    def _cut(self, text: str) -> tuple[int, EndReason] | None:
        """Where the open segment ends, and why; None if it goes on."""
        longest = self._limits.max_characters
        end = self._sentence_end(text)
        if 0 < end <= longest:
            return end, EndReason.ENDPOINT
        if len(text) <= longest:
            return None
        space = max(text.rfind(white, 1, longest) for white in " \t\u00a0")
        return (space + 1 if space > 0 else longest), EndReason.MAX_SEGMENT

    def _on_mark(self, reason: EndReason) -> list[t.TextCommand]:
        self._is_input_over = reason is EndReason.HALF_CLOSE
        segment, self._open = self._open, None
        if segment is None and reason is EndReason.FLUSH:
            segment = TextSegment(self._next_number, self._num_received)
            self._next_number += 1
        if segment is not None:
            self._end(segment, reason)
        return self._advance()

    def _end(self, segment: TextSegment, reason: EndReason) -> None:
        """A segment's source is complete; blank ones have no final unless one was asked for."""
        segment.reason = reason
        if segment.text.strip() or reason is EndReason.FLUSH:
            self._ended.append(segment)

    # --- the answers

    def _current(self, answer: _Answer) -> TextSegment | None:
        """The segment whose newest call this answers."""
        for segment in (*self._ended, self._open):
            if segment is not None and segment.ticket == answer.ticket and segment.is_waiting:
                segment.is_waiting = False
                return segment
        return None

    def _on_read(self, event: t.TextRead) -> list[t.TextCommand]:
        segment, reading = self._current(event), event.reading
        if segment is None:
            return []
        if not reading.hypotheses:
            raise BrokenInvariant("the decoder answered without a hypothesis")
        segment.encoder, segment.decoder = reading.encoder, reading.decoder
        segment.is_suspect = False
        if segment.reason is not None:
            segment.result = reading
            return self._advance()
        assert self._opened.rule is not None
        segment.remember(reading, self._opened.rule)
        return self._show(segment, event.now) + self._advance()

    def _on_refused(self, event: t.TextRefused) -> list[t.TextCommand]:
        segment = self._current(event)
        if segment is not None and segment.reason is not None:
            segment.error = event.error
        return self._advance()

    def _on_lost(self, event: t.TextLost) -> list[t.TextCommand]:
        segment = self._current(event)
        if segment is None:
            return []
        segment.replays += 1
        self._num_replays += 1
        if isinstance(event.cause, BackendDown) and event.cause.was_running:
            if segment.is_suspect:
                return self._fail(PoisonSegment("the same text ended two engines"))
            segment.is_suspect = True
        if segment.replays >= self._limits.max_attempts:
            return self._fail(
                BackendDown(
                    f"the engine was lost {segment.replays} times while it worked on one segment;"
                    f" the last time: {event.cause.message}"
                )
            )
        segment.asked_length = segment.read_length
        ahead = sum(one.start < segment.start for one in self._ended)
        return [EmitReplaying(self._num_finals + ahead), *self._advance()]

    def _on_ticked(self, event: t.Ticked) -> list[t.TextCommand]:
        if self._open is None or not self._open.readings or self._open.is_waiting:
            return []
        return self._show(self._open, event.now)

    # --- deciding what comes next

    def _advance(self) -> list[t.TextCommand]:
        """Emit what is done, ask for what is not, end when all is out."""
        commands: list[t.TextCommand] = []
        while self._ended and self._ended[0].is_done:
            commands.append(self._final(self._ended.popleft()))
        for segment in tuple(self._ended)[: self._limits.max_ahead]:
            if segment.needs_final:
                commands.append(self._ask(segment))
        growing = self._open
        if growing is not None and not self._ended and self._opened.rule is not None:
            words = growing.whole_words
            if not growing.is_waiting and len(words) > growing.asked_length and words.strip():
                commands.append(self._ask(growing))
        if self._is_input_over and not self._ended:
            self._move(e.Finished())
            commands.append(t.CloseText(self._num_received, self._num_finals, self._num_replays))
        return commands

    def _ask(self, segment: TextSegment) -> t.ReadText:
        segment.num_asked += 1
        segment.is_waiting = True
        segment.is_final_asked = segment.reason is not None
        text = segment.text if segment.is_final_asked else segment.whole_words
        segment.asked_length = len(text)
        return t.ReadText(
            ticket=segment.ticket,
            text=text,
            forced=segment.stable.tokens,
            is_final=segment.is_final_asked,
            encoder=segment.encoder,
            decoder=segment.decoder,
            is_suspect=segment.is_suspect,
        )

    def _show(self, segment: TextSegment, now: float) -> list[t.TextCommand]:
        """Settle what may be settled, and emit a partial if it differs from the last one."""
        assert self._opened.rule is not None
        segment.settle(self._opened.rule, now)
        text, stable = joined(segment.readings[0]), segment.stable.text
        if not text.startswith(stable):
            raise BrokenInvariant("a partial does not begin with the stable text")
        if self._opened.append_only:
            text = stable
        if (stable, text) == segment.shown or not text:
            return []
        segment.shown = (stable, text)
        segment.revision += 1
        end = segment.start + segment.read_length
        return [
            t.EmitTextPartial(self._num_finals, segment.revision, stable, text[len(stable) :], end)
        ]

    def _final(self, segment: TextSegment) -> t.EmitTextFinal:
        assert segment.reason is not None
        reading = segment.result
        if reading is not None:
            found = tuple(tidy(one, 0) for one in reading.hypotheses)
            if not found[0].text.startswith(segment.stable.text):
                raise BrokenInvariant("a final does not begin with the stable text")
            reading = replace(reading, hypotheses=found)
        final = t.EmitTextFinal(
            segment_index=self._num_finals,
            start_character=segment.start,
            end_character=segment.start + len(segment.text),
            reason=segment.reason,
            replays=segment.replays,
            reading=reading,
            error=segment.error,
        )
        self._num_finals += 1
        return final

    # --- the end

    def _release(self) -> list[t.TextCommand]:
        self._ended.clear()
        self._open = None
        return []

    def _fail(self, error: LegonnError) -> list[t.TextCommand]:
        self._move(e.Broken())
        return [*self._release(), Fail(error)]
