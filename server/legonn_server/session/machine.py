"""One stream, as a pure machine: an event goes in, a list of commands comes out.

Audio is cut into exact encoder chunks. One call to the backend is in flight at a time:

    OpenSlot -> EncodeChunk -> [DecodeSegment COMMIT] -> EncodeChunk ... -> DecodeSegment FINAL

After each chunk ``endpoint.find_end`` may close the segment; the audio behind the cut starts the
next one. A flush or half-close is a mark at an audio position: the encoder is fed up to exactly
there and then asked for the rows it holds back. Nothing here reads a clock, so the finals are a
function of the audio, the config and the module versions alone, however the audio was cut into
messages and whatever was lost and replayed on the way.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

from legonn_core.errors import (
    BrokenInvariant,
    InternalFault,
    LegonnError,
)
from legonn_core.runtime.messages import DecodedText, EncodeStep
from legonn_core.search.stability import StablePrefix
from legonn_server.session import commands as c
from legonn_server.session import events as e
from legonn_server.session.account import Account, empty_segment
from legonn_server.session.endpoint import Cut, EndpointRule, EndReason, find_end
from legonn_server.session.jobs import commit_job, final_job
from legonn_server.session.policy import DecodingPolicy
from legonn_server.session.segment import Mark, Segment, SegmentBuffer
from legonn_server.session.table import EXPLANATIONS, TRANSITIONS, State, next_state
from legonn_server.session.wording import joined

_Answer = e.SlotOpened | e.MarginalsArrived | e.CommitArrived | e.FinalArrived | e.WorkLost


class SessionMachine:
    """All state of one stream; see the module's docstring.

    Attributes:
        state: Where the session stands.
    """

    def __init__(self, policy: DecodingPolicy) -> None:
        self.state = State.AWAITING_CONFIG
        self._policy = policy
        self._opened = e.Opened(sample_rate=16_000, rule=EndpointRule())
        self._buffer = SegmentBuffer()
        self._start = 0
        self._segment: Segment | None = None
        self._awaited: type[e.Event] | None = None
        self._marks: deque[Mark] = deque()
        self._next_number = 0
        self._account = Account()
        self._promise = ""
        self._last_segment: Segment | None = None
        self._handlers: dict[type[e.Event], Callable[[Any], list[c.Command]]] = {
            e.Opened: self._on_opened,
            e.AudioReceived: self._on_audio,
            e.Flushed: lambda _: self._on_mark(EndReason.FLUSH),
            e.SegmentCancelled: lambda _: self._on_mark(EndReason.CANCELLED),
            e.InputEnded: lambda _: self._on_mark(EndReason.HALF_CLOSE),
            e.SlotOpened: self._on_slot,
            e.MarginalsArrived: self._on_marginals,
            e.CommitArrived: self._on_commit,
            e.FinalArrived: self._on_final,
            e.WorkLost: self._on_lost,
            e.Cancelled: self._on_cancelled,
        }

    @property
    def sample_rate(self) -> int:
        """Of the audio in ``AudioReceived``, in Hz."""
        return self._opened.sample_rate

    @property
    def open_segment(self) -> int | None:
        """Number of the segment that uses module versions now."""
        return self._segment.number if self._segment else None

    @property
    def is_suspect(self) -> bool:
        """Whether an engine died while it worked on the open segment."""
        return self._segment is not None and bool(self._segment.deadly)

    @property
    def num_marks(self) -> int:
        """Flushes and the like that wait for the audio before them."""
        return len(self._marks)

    @property
    def backlog_s(self) -> float:
        """Audio received and not yet given to the encoder: what backpressure is measured by."""
        fed = self._segment.fed if self._segment else 0
        return (len(self._buffer) - fed) / self.sample_rate

    @property
    def held_bytes(self) -> int:
        """Audio kept to be played again."""
        return 4 * len(self._buffer)

    @property
    def processed_sample(self) -> int:
        """Model-rate position up to which audio has been given to the encoder."""
        return self._start + (self._segment.fed if self._segment else 0)

    def receive(self, event: e.Event) -> list[c.Command]:
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

    def _move(self, event: e.Event) -> None:
        self.state = next_state(self.state, event, TRANSITIONS, EXPLANATIONS)

    # --- the caller's events

    def _on_opened(self, event: e.Opened) -> list[c.Command]:
        self._opened = event
        self._account = Account(event.first_index)
        self._promise = event.committed_text
        return [c.EmitStarted(event.first_index, event.committed_text)]

    def _on_audio(self, event: e.AudioReceived) -> list[c.Command]:
        self._buffer.append(event.samples)
        return self._advance()

    def _on_mark(self, reason: EndReason) -> list[c.Command]:
        self._marks.append(Mark(self._start + len(self._buffer), reason))
        return self._advance()

    def _on_cancelled(self, _: e.Cancelled) -> list[c.Command]:
        return self._release()

    # --- the backend's events

    def _current(self, answer: _Answer) -> Segment | None:
        """The open segment if this is the answer that its attempt under way waits for."""
        segment = self._segment
        if segment is None or segment.ticket != answer.ticket or self._awaited is None:
            return None
        if not isinstance(answer, (self._awaited, e.WorkLost)):
            return None
        self._awaited = None
        return segment

    def _on_slot(self, event: e.SlotOpened) -> list[c.Command]:
        segment = self._current(event)
        if segment is None:
            return [c.CloseSlot(event.slot)]
        segment.slot = event.slot
        segment.encoder, segment.decoder = event.encoder, event.decoder
        return self._advance()

    def _on_marginals(self, event: e.MarginalsArrived) -> list[c.Command]:
        segment = self._current(event)
        if segment is None:
            return []
        segment.rows.add(event.result)
        if segment.end_sample is not None:
            mark = self._marks[0]
            return self._close(segment, mark.sample, mark.reason, None)
        if segment.num_steps > segment.num_judged:
            # A replay does not judge again: what was promised since is not known of old rows.
            segment.num_judged = segment.num_steps
            cut = find_end(self._opened.rule, segment.reading(self.sample_rate))
            if cut is not None:
                return self._close_at(segment, cut)
        return self._maybe_commit(segment)

    def _on_commit(self, event: e.CommitArrived) -> list[c.Command]:
        segment = self._current(event)
        if segment is None:
            return []
        if not event.result.hypotheses:
            raise BrokenInvariant("the decoder answered without a hypothesis")
        newest = event.result.hypotheses[0]
        if segment.is_catching_up:
            return self._catch_up(segment, newest)
        return self._show(segment, newest) + self._advance()

    def _on_final(self, event: e.FinalArrived) -> list[c.Command]:
        segment = self._current(event)
        if segment is None:
            return []
        found = event.result.hypotheses
        if segment.doubts(found, self._policy.min_confidence):
            return self._drop(segment)
        return self._finish(segment, found)

    def _on_lost(self, event: e.WorkLost) -> list[c.Command]:
        awaited = self._awaited
        segment = self._current(event)
        if segment is None:
            return []
        hopeless = segment.hopeless(awaited, event.cause, self._policy.max_attempts)
        if hopeless is not None:
            return self._fail(hopeless)
        segment.attempt += 1
        self._account.num_replays += 1
        notice: list[c.Command] = [c.EmitReplaying(self._account.next_index)]
        is_encoded = segment.end_sample is not None and segment.slot is None
        if event.needs_new_pair:
            segment.unpin()
        elif is_encoded:
            return notice + self._decode_final(segment)
        release = [c.CloseSlot(segment.slot)] if segment.slot else []
        segment.restart()
        segment.end_sample = None
        return notice + release + self._advance()

    # --- deciding what comes next

    def _advance(self) -> list[c.Command]:
        """The next call to the backend, if none is in flight and there is work."""
        if self._awaited is not None:
            return []
        if self._segment is not None:
            return self._feed(self._segment)
        while self._marks and self._marks[0].sample == self._start:
            done = self._reach(self._marks.popleft())
            if done:
                return done
        if len(self._buffer) == 0:
            return []
        stable = StablePrefix(self._policy.hold_rows)
        self._segment = Segment(self._next_number, self._start, self._promise, stable=stable)
        self._next_number += 1
        return self._feed(self._segment)

    def _reach(self, mark: Mark) -> list[c.Command]:
        """Everything before a mark is out."""
        if mark.reason is EndReason.CANCELLED:
            self._promise = ""
            return [c.EmitCancelled(self._account.next_index), *self._advance()]
        if mark.reason is EndReason.HALF_CLOSE:
            owed = self._empty_final() if self._promise else []
            self._move(e.Finished())
            return [*owed, self._account.close()]
        if self._account.last_final_end < mark.sample:
            # A flush is always answered by a final, so that nobody waits for one in vain.
            final = self._empty_final()
            return [*final, *self._advance()] if final else []
        return []

    def _empty_final(self) -> list[c.Command]:
        """A final of no audio, with nothing but what was promised; none before the first audio."""
        if self._last_segment is None:
            return []
        empty = empty_segment(self._last_segment, self._start, promise=self._promise)
        self._promise = ""
        return [self._account.final(empty, (), sample_rate=self.sample_rate)]

    def _feed(self, segment: Segment) -> list[c.Command]:
        """Open the slot, or send the next chunk if it is complete or the last before a mark."""
        if segment.slot is None:
            self._awaited = e.SlotOpened
            return [c.OpenSlot(segment.ticket, segment.encoder, segment.decoder)]
        assert segment.encoder is not None
        chunk = segment.encoder.chunk_samples
        limit = self._marks[0].sample - self._start if self._marks else None
        stop = segment.fed + chunk
        is_last = limit is not None and stop > limit
        if is_last:
            assert limit is not None
            stop = limit
            segment.end_sample = self._start + limit
        elif stop > len(self._buffer):
            return []
        samples = self._buffer.read(segment.fed, stop)
        step = EncodeStep(segment.slot, segment.num_steps, samples, is_last=is_last)
        segment.fed = stop
        segment.num_steps += 1
        self._awaited = e.MarginalsArrived
        return [c.EncodeChunk(segment.ticket, step)]

    # --- partials

    def _maybe_commit(self, segment: Segment) -> list[c.Command]:
        """Ask the decoder for a reading of the open segment, if partials are wanted."""
        is_replayed = segment.num_steps <= segment.num_commits
        if not self._opened.interim_results or not segment.has_text or is_replayed:
            return self._advance()
        previous = segment.stable.previous
        if previous is not None and segment.rows.best.tokens == segment.commit_best:
            # The encoder reads nothing new: the last decode stands, and agrees with itself.
            return self._show(segment, previous) + self._advance()
        self._awaited = e.CommitArrived
        return [c.DecodeSegment(segment.ticket, commit_job(segment, self._policy, self._opened))]

    def _catch_up(self, segment: Segment, newest: DecodedText) -> list[c.Command]:
        """Hear again what a broken session promised, in silence until its words are there."""
        if segment.has_caught_up:
            segment.stable = segment.stable.keep(newest, segment.promise)
            return self._show(segment, newest) + self._advance()
        segment.has_caught_up = len(joined(newest)) >= len(segment.promise)
        if segment.has_caught_up:
            return self._maybe_commit(segment)
        segment.num_commits = segment.num_steps
        return self._advance()

    def _show(self, segment: Segment, newest: DecodedText) -> list[c.Command]:
        """Move the stable text on and emit a partial if it differs from the last one."""
        segment.commit_best = segment.rows.best.tokens
        segment.num_commits = segment.num_steps
        if segment.doubts((newest,), self._policy.min_confidence):
            return []
        segment.stable = segment.stable.agree(newest, num_rows=len(segment.rows.times_ms))
        text = joined(newest)
        stable = segment.stable.text
        if not text.startswith(stable):
            raise BrokenInvariant("a partial does not begin with the stable text")
        if (stable, text) == segment.shown or not text:
            return []
        segment.shown = (stable, text)
        segment.revision += 1
        end = self._start + segment.fed
        return [
            c.EmitPartial(
                self._account.next_index, segment.revision, stable, text[len(stable) :], end
            )
        ]

    # --- closing a segment

    def _close_at(self, segment: Segment, cut: Cut) -> list[c.Command]:
        end = self._start + min(max(round(cut.end_ms * self.sample_rate / 1000), 1), segment.fed)
        if cut.reason is EndReason.NON_SPEECH:
            return self._close(segment, end, cut.reason, None)
        return self._close(segment, end, cut.reason, cut.num_rows)

    def _close(
        self, segment: Segment, end: int, reason: EndReason, num_rows: int | None
    ) -> list[c.Command]:
        """The segment's rows are complete: give the slot back and ask for the final."""
        assert segment.slot is not None
        release: list[c.Command] = [c.CloseSlot(segment.slot)]
        segment.slot = None
        segment.end_sample = end
        segment.reason = reason
        segment.num_rows = num_rows
        is_asked = reason in (EndReason.FLUSH, EndReason.HALF_CLOSE)
        is_owed = segment.has_text or (is_asked and segment.promise)
        if is_owed and reason is not EndReason.CANCELLED:
            return release + self._decode_final(segment)
        return release + self._drop(segment)

    def _drop(self, segment: Segment) -> list[c.Command]:
        """Nothing was said here: no final, unless one was asked for or a partial was shown."""
        assert segment.end_sample is not None
        is_shown = segment.revision > 0 and segment.reason is not EndReason.CANCELLED
        if segment.reason is EndReason.FLUSH or is_shown:
            return self._finish(segment, ())
        self._account.nonspeech(segment.end_sample - self._start)
        self._forget(segment, segment.end_sample)
        return self._advance()

    def _decode_final(self, segment: Segment) -> list[c.Command]:
        job = final_job(segment, self._policy, self._opened)
        self._awaited = e.FinalArrived
        return [c.DecodeSegment(segment.ticket, job)]

    def _finish(self, segment: Segment, found: tuple[DecodedText, ...]) -> list[c.Command]:
        """Emit the final, forget the segment's audio, go on."""
        assert segment.end_sample is not None
        final = self._account.final(segment, found, sample_rate=self.sample_rate)
        self._promise = ""
        self._forget(segment, segment.end_sample)
        return [final, *self._advance()]

    def _forget(self, segment: Segment, end: int) -> None:
        self._buffer.drop(end - self._start)
        self._start = end
        self._segment = None
        self._last_segment = segment

    # --- the end

    def _release(self) -> list[c.Command]:
        slot = self._segment.slot if self._segment else None
        self._segment = None
        self._buffer.drop(len(self._buffer))  # overwritten, not only forgotten
        self._buffer = SegmentBuffer()
        return [c.CloseSlot(slot)] if slot else []

    def _fail(self, error: LegonnError) -> list[c.Command]:
        self._move(e.Broken())
        return [*self._release(), c.Fail(error)]
