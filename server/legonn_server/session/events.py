"""What can happen to a stream: each arrow into the session machine is one frozen dataclass."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from legonn_core.errors import LegonnError
from legonn_core.runtime.messages import (
    DecodeResult,
    EncodeResult,
    ModuleDescription,
    Phrase,
    SlotRef,
)
from legonn_server.session.endpoint import EndpointRule


@dataclass(frozen=True, slots=True)
class Ticket:
    """Names one attempt at one segment; an answer that carries an older ticket is dropped.

    Attributes:
        segment: Counts all segments of a session, also those later found to hold no speech.
        attempt: 0, then one more for each replay.
    """

    segment: int
    attempt: int


@dataclass(frozen=True, slots=True)
class Opened:
    """The config arrived and was accepted.

    Attributes:
        sample_rate: Of the audio that follows, in Hz: the encoder's.
        rule: How segments end.
        interim_results: Send partials; without them nothing is committed before the final.
        num_best: Hypotheses in each final.
        first_index: Index of the first final; above 0 where a broken session goes on.
        committed_text: What was promised of that segment before the session broke.
        phrases: Text that is likely to be said.
    """

    sample_rate: int
    rule: EndpointRule
    interim_results: bool = False
    num_best: int = 1
    first_index: int = 0
    committed_text: str = ""
    phrases: tuple[Phrase, ...] = ()


@dataclass(frozen=True, slots=True)
class AudioReceived:
    """Samples at the model's rate, (N,) float32 in [-1, 1]."""

    samples: NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Flushed:
    """The caller wants a final for all audio so far; the stream goes on."""


@dataclass(frozen=True, slots=True)
class SegmentCancelled:
    """The caller wants to hear nothing of the open segment; the stream goes on."""


@dataclass(frozen=True, slots=True)
class InputEnded:
    """The caller half-closed: finals for all audio, then the end."""


@dataclass(frozen=True, slots=True)
class SlotOpened:
    """An encoder slot is ready; the module versions named here stay for the whole segment."""

    ticket: Ticket
    slot: SlotRef
    encoder: ModuleDescription
    decoder: ModuleDescription


@dataclass(frozen=True, slots=True)
class MarginalsArrived:
    """The encoder's answer to the chunk in flight."""

    ticket: Ticket
    result: EncodeResult


@dataclass(frozen=True, slots=True)
class CommitArrived:
    """The decoder's reading of the open segment so far."""

    ticket: Ticket
    result: DecodeResult


@dataclass(frozen=True, slots=True)
class FinalArrived:
    """The decoder's n-best for the closed segment."""

    ticket: Ticket
    result: DecodeResult


@dataclass(frozen=True, slots=True)
class WorkLost:
    """The call in flight failed in a way that another attempt may mend.

    Attributes:
        needs_new_pair: Whether the segment's module versions are gone: the next attempt begins
            anew with those in service.
    """

    ticket: Ticket
    cause: LegonnError
    needs_new_pair: bool = False


@dataclass(frozen=True, slots=True)
class Cancelled:
    """The caller left."""


@dataclass(frozen=True, slots=True)
class Finished:
    """The machine's own word to its table: the last final is out."""


@dataclass(frozen=True, slots=True)
class Broken:
    """The machine's own word to its table: the stream cannot go on."""


Event = (
    Opened
    | AudioReceived
    | Flushed
    | SegmentCancelled
    | InputEnded
    | SlotOpened
    | MarginalsArrived
    | CommitArrived
    | FinalArrived
    | WorkLost
    | Cancelled
    | Finished
    | Broken
)
