"""What a stream wants done: the session machine answers every event with a list of these."""

from __future__ import annotations

from dataclasses import dataclass

from legonn_core.errors import LegonnError
from legonn_core.runtime.messages import (
    DecodedText,
    DecodeJob,
    EncodeStep,
    ModuleDescription,
    SlotRef,
)
from legonn_server.session.endpoint import EndReason
from legonn_server.session.events import Ticket


@dataclass(frozen=True, slots=True)
class EmitStarted:
    """Tell the caller that the stream is accepted, and where it begins; see ``events.Opened``."""

    first_index: int = 0
    committed_text: str = ""


@dataclass(frozen=True, slots=True)
class OpenSlot:
    """Take an encoder slot.

    Attributes:
        encoder: The pinned encoder when the segment is replayed; None asks the current routes.
        decoder: Likewise.
    """

    ticket: Ticket
    encoder: ModuleDescription | None = None
    decoder: ModuleDescription | None = None


@dataclass(frozen=True, slots=True)
class EncodeChunk:
    """Feed one chunk; exactly one call of a stream is in flight at a time."""

    ticket: Ticket
    step: EncodeStep


@dataclass(frozen=True, slots=True)
class DecodeSegment:
    """Decode rows of the open segment (COMMIT) or of the closed one (FINAL)."""

    ticket: Ticket
    job: DecodeJob


@dataclass(frozen=True, slots=True)
class CloseSlot:
    """Give the slot back; never answered."""

    slot: SlotRef


@dataclass(frozen=True, slots=True)
class EmitPartial:
    """Show what is known of the open segment.

    Attributes:
        segment_index: 0, 1, 2 … over the finals of the session.
        revision: Counts within the segment.
        stable_text: Never changes again; each one begins with the one before.
        tail_text: May change; continues ``stable_text`` as it stands (its own space included).
        end_sample: Model-rate position up to which audio was encoded.
    """

    segment_index: int
    revision: int
    stable_text: str
    tail_text: str
    end_sample: int


@dataclass(frozen=True, slots=True)
class EmitFinal:
    """A segment's result; samples [start_sample, end_sample) of the model-rate stream.

    Word times in ``hypotheses`` are milliseconds from ``start_sample``, inside the segment and
    never falling.
    """

    segment_index: int
    start_sample: int
    end_sample: int
    hypotheses: tuple[DecodedText, ...]
    encoder: ModuleDescription
    decoder: ModuleDescription
    replays: int
    reason: EndReason


@dataclass(frozen=True, slots=True)
class EmitReplaying:
    """Tell the caller that a segment is being replayed."""

    segment_index: int


@dataclass(frozen=True, slots=True)
class EmitCancelled:
    """Tell the caller that a segment was dropped; the next one bears its index."""

    segment_index: int


@dataclass(frozen=True, slots=True)
class EmitDraining:
    """Tell the caller that the server is about to stop.

    Attributes:
        grace_s: Time left before the stream is ended.
    """

    grace_s: float


@dataclass(frozen=True, slots=True)
class CloseStream:
    """Everything is out.

    Attributes:
        num_segments: Finals sent by this stream; where a session was resumed, not those before.
        final_samples: Model-rate samples covered by finals.
        nonspeech_samples: Model-rate samples in which nothing was said.
        replays: Segments' attempts beyond the first, summed.
    """

    num_segments: int
    final_samples: int
    nonspeech_samples: int
    replays: int


@dataclass(frozen=True, slots=True)
class Fail:
    """End the stream with this error."""

    error: LegonnError


Command = (
    EmitStarted
    | OpenSlot
    | EncodeChunk
    | DecodeSegment
    | CloseSlot
    | EmitPartial
    | EmitFinal
    | EmitReplaying
    | EmitCancelled
    | EmitDraining
    | CloseStream
    | Fail
)
