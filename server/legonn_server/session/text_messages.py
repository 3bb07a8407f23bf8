"""What can happen to a stream of text, and what it wants done.

Tickets, the caller's marks and failures are those of speech (``events.py``, ``commands.py``).
"""

from __future__ import annotations

from dataclasses import dataclass

from legonn_core.errors import LegonnError
from legonn_core.runtime.messages import DecodedText, ModuleDescription
from legonn_server.session.commands import EmitReplaying, EmitStarted, Fail
from legonn_server.session.endpoint import EndReason
from legonn_server.session.events import Broken, Cancelled, Finished, Flushed, InputEnded, Ticket
from legonn_server.session.text_policy import CommitRule

# --- events


@dataclass(frozen=True, slots=True)
class TextOpened:
    """The config arrived and was accepted.

    Attributes:
        rule: What is settled before a final; None: no partials are wanted.
        append_only: Show settled text only.
    """

    rule: CommitRule | None = None
    append_only: bool = False


@dataclass(frozen=True, slots=True)
class TextReceived:
    """More of the source text; ``now`` in monotonic seconds."""

    text: str
    now: float


@dataclass(frozen=True, slots=True)
class TextReading:
    """A translation of the source so far.

    Attributes:
        hypotheses: Best first, at least one; of an empty text too.
        num_rows: Rows that the encoder gave, which the words' positions are counted in.
        encoder: Stays for the whole segment.
        decoder: Likewise.
    """

    hypotheses: tuple[DecodedText, ...]
    num_rows: int
    encoder: ModuleDescription
    decoder: ModuleDescription


@dataclass(frozen=True, slots=True)
class TextRead:
    """The answer to ``ReadText``; ``now`` in monotonic seconds."""

    ticket: Ticket
    reading: TextReading
    now: float


@dataclass(frozen=True, slots=True)
class TextRefused:
    """This text cannot be translated; the stream goes on."""

    ticket: Ticket
    error: LegonnError


@dataclass(frozen=True, slots=True)
class TextLost:
    """The call failed in a way that another attempt may mend."""

    ticket: Ticket
    cause: LegonnError


@dataclass(frozen=True, slots=True)
class Ticked:
    """The machine's ``next_due`` has come."""

    now: float


TextEvent = (
    TextOpened
    | TextReceived
    | TextRead
    | TextRefused
    | TextLost
    | Ticked
    | Flushed
    | InputEnded
    | Cancelled
    | Finished
    | Broken
)

# --- commands


@dataclass(frozen=True, slots=True)
class ReadText:
    """Translate a segment, or its beginning; a newer one of the same segment takes its place.

    Attributes:
        ticket: Comes back with the answer.
        text: Source as it stands.
        forced: Tokens that the translation begins with.
        is_final: The segment has ended.
        encoder: The pinned encoder; None asks the current routes.
        decoder: Likewise.
        is_suspect: An engine ended while it worked on the segment: let it be read alone.
    """

    ticket: Ticket
    text: str
    forced: tuple[int, ...]
    is_final: bool
    encoder: ModuleDescription | None
    decoder: ModuleDescription | None
    is_suspect: bool = False


@dataclass(frozen=True, slots=True)
class EmitTextPartial:
    """Show what is known of the open segment; fields as in ``TranslationPartial``."""

    segment_index: int
    revision: int
    stable_text: str
    tail_text: str
    end_character: int


@dataclass(frozen=True, slots=True)
class EmitTextFinal:
    """A segment's translation, or why there is none; code points [start, end) of the session.

    Attributes:
        reading: None where ``error`` says why.
    """

    segment_index: int
    start_character: int
    end_character: int
    reason: EndReason
    replays: int
    reading: TextReading | None
    error: LegonnError | None = None


@dataclass(frozen=True, slots=True)
class CloseText:
    """Everything is out."""

    characters_received: int
    num_segments: int
    num_replays: int


TextCommand = (
    EmitStarted | ReadText | EmitTextPartial | EmitTextFinal | EmitReplaying | CloseText | Fail
)
