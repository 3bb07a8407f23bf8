"""What a client keeps of a session, so that it can go on at another server.

``SessionLog`` is the memory and knows no channel: audio and wishes since the last acknowledged
sample (at most 60 s), and what was received. From these come the messages that open the session
again. Finals are passed on once, and promises made by one server are kept over the next.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, replace

from legonn import _convert
from legonn.audio import BYTES_PER_SAMPLE
from legonn.errors import BadAudio, LegonnError
from legonn.feed import Control, Item
from legonn.retry import Retries
from legonn.streams import Event, Final, Notice, Partial, SpeechOptions, Started, Summary
from legonn.v1 import speech_service_pb2 as pb

KEPT_S = 60.0
"""Audio kept for another server, in seconds. Older audio without a final is none that was said: no
segment is so long."""


@dataclass(frozen=True, slots=True)
class _Entry:
    """A chunk or a wish, and the session's sample at which it begins."""

    start: int
    item: Item

    @property
    def end(self) -> int:
        """The sample behind it."""
        if isinstance(self.item, Control):
            return self.start
        return self.start + len(self.item) // BYTES_PER_SAMPLE


class SessionLog:
    """One session, over any number of streams.

    Args:
        options: What was asked for.
        sample_rate_hertz: Of the audio.

    Attributes:
        is_finished: No more items come.
        session_id: From the first server; empty before it accepts.
    """

    def __init__(self, options: SpeechOptions, sample_rate_hertz: int) -> None:
        self.is_finished = False
        self.session_id = ""
        self._config = _convert.recognition_config(options, sample_rate_hertz)
        self._max_kept = int(KEPT_S * sample_rate_hertz)
        self._entries: deque[_Entry] = deque()
        self._stream = 0
        self._cursor = 0
        self._cancels: deque[int] = deque()
        self._received = 0
        self._acked = 0
        self._safe = 0
        self._base = 0
        self._processed = 0
        self._next_index = 0
        self._stable = ""
        self._revision = 0
        self._revisions_before = 0
        self._sequence = 0
        self._heard = 0  # messages of this stream
        self._in_finals = 0
        self._num_replays = 0

    # --- what is sent

    def add(self, item: Item) -> None:
        """Remember a chunk or a wish that is about to be sent.

        Raises:
            BadAudio: If a chunk is not whole samples of LINEAR16.
        """
        if not isinstance(item, Control) and len(item) % BYTES_PER_SAMPLE:
            raise BadAudio(f"a chunk of {len(item)} bytes is not whole 16-bit samples")
        entry = _Entry(self._received, item)
        self._entries.append(entry)
        self._received = entry.end
        self._forget()

    def begin(self) -> tuple[pb.StreamingRecognizeRequest, int]:
        """The first message of the next stream, and the stream's number; earlier ones are over."""
        config = pb.RecognitionConfig()
        config.CopyFrom(self._config)
        if self.session_id:
            config.resume.session_id = self.session_id
            config.resume.sample_offset = self._base
            config.resume.next_segment_index = self._next_index
            config.resume.committed_text = self._stable
        self._stream += 1
        self._cursor = 0
        self._cancels.clear()
        self._revisions_before = self._revision
        self._heard = 0
        self._processed = self._base
        return pb.StreamingRecognizeRequest(config=config), self._stream

    def take(self, stream: int) -> pb.StreamingRecognizeRequest | None:
        """The next message of a stream; None if it has not been added yet or the stream is over."""
        if stream != self._stream or self._cursor >= len(self._entries):
            return None
        entry = self._entries[self._cursor]
        self._cursor += 1
        if entry.item is Control.CANCEL_SEGMENT:
            self._cancels.append(entry.start)
        if isinstance(entry.item, Control):
            return _convert.control_request(entry.item)
        return _convert.audio_request(entry.item, entry.start)

    def has_more(self, stream: int) -> bool:
        """Whether ``take`` has something for a stream."""
        return stream == self._stream and self._cursor < len(self._entries)

    def is_over(self, stream: int) -> bool:
        """Whether a stream has nothing more to send, now or later."""
        is_sent = self.is_finished and self._cursor >= len(self._entries)
        return stream != self._stream or is_sent

    def can_go_on(self) -> bool:
        """Whether another stream can take the session up without losing a word."""
        return self._base <= self._safe

    # --- what is received

    def receive(self, response: pb.StreamingRecognizeResponse) -> Event | None:
        """A message of the server as the session's next event; None for what is known already."""
        # A message that the server left out leaves a gap in the session's numbers too.
        self._sequence += max(0, response.sequence - self._heard)
        self._heard = response.sequence + 1
        event = _convert.event(response)
        rate = self._config.sample_rate_hertz
        self._processed = max(
            self._processed, int(_convert.seconds(response.audio_processed) * rate)
        )
        match event:
            case Started():
                event = self._started(event)
            case Partial():
                self._stable = event.stable_text
                self._revision = self._revisions_before + event.revision
                event = replace(event, revision=self._revision)
            case Final():
                event = self._final(event)
            case Notice(kind="CANCELLED"):
                self._cancelled()
            case Summary():
                event = self._summary()
        self._forget()
        return self.numbered(event) if event else None

    def numbered(self, event: Event) -> Event:
        """The event as the next of the session: sequences have no gap over streams either."""
        self._sequence += 1
        return replace(event, sequence=self._sequence - 1)

    def _started(self, event: Started) -> Event:
        if not self.session_id:
            self.session_id = event.session_id
            return event
        seconds = (self._received - self._base) / self._config.sample_rate_hertz
        return Notice("RECOVERED", f"connected again; {seconds:.1f} s of audio were sent again")

    def _final(self, event: Final) -> Final | None:
        if event.segment_index < self._next_index:
            return None
        self._next_index = event.segment_index + 1
        self._in_finals += event.end_sample - event.start_sample
        self._num_replays += event.replays
        self._settle(event.end_sample)
        return event

    def _cancelled(self) -> None:
        """The server dropped everything up to the wish: nothing before it is wanted again."""
        self._settle(self._cancels.popleft() if self._cancels else self._acked)

    def _settle(self, sample: int) -> None:
        self._acked = max(self._acked, sample)
        self._stable = ""
        self._revision = self._revisions_before = 0

    def _summary(self) -> Summary:
        return Summary(
            samples_received=self._received,
            samples_in_finals=self._in_finals,
            samples_non_speech=self._received - self._in_finals,
            num_segments=self._next_index,
            num_replays=self._num_replays,
        )

    # --- what is kept

    def _forget(self) -> None:
        """Drop what no server will be asked to hear again."""
        self._safe = max(self._safe, self._acked, self._processed - self._max_kept)
        # More than is kept, and no server has heard it: from here on its loss would be one.
        self._base = max(self._safe, self._base, self._received - self._max_kept)
        while self._cursor and self._entries[0].end <= self._base:
            self._entries.popleft()
            self._cursor -= 1
        if self._cursor and (first := self._entries[0]).start < self._base:
            assert not isinstance(first.item, Control)
            cut = (self._base - first.start) * BYTES_PER_SAMPLE
            self._entries[0] = _Entry(self._base, first.item[cut:])


def reconnecting(error: LegonnError) -> Notice:
    """The client's own word that the server is lost and another is looked for."""
    return Notice("RECONNECTING", f"the server was lost ({error.reason}): looking for one to go on")


def note(retries: Retries, event: Event) -> None:
    """Tell the retries of a session what an event means for them."""
    match event:
        case Started() | Notice(kind="RECOVERED"):
            retries.accepted()
        case Final():
            retries.progressed()
