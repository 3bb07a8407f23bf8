"""What crosses between a gateway and the engine that runs modules.

Plain frozen dataclasses, free of torch, so that a gateway without torch can speak to an engine in
a child process or behind Triton with the same words. Audio is float32 at the card's sample rate;
marginals travel as the bytes of ``interface.codec`` and are opaque on the way.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from legonn_core.interface.reference import ModuleDescription, ModuleRef
from legonn_core.search.biasing import Phrase
from legonn_core.search.hypothesis import DecodedText, Prefix, Word

__all__ = [
    "BackendHealth",
    "DecodeJob",
    "DecodeKind",
    "DecodeResult",
    "DecodedText",
    "EncodeResult",
    "EncodeStep",
    "EncodeText",
    "ModuleDescription",
    "ModuleRef",
    "Phrase",
    "Prefix",
    "SlotRef",
    "Word",
]


@dataclass(frozen=True, slots=True)
class SlotRef:
    """One use of one row of an engine's state table; the epoch makes the name unique for ever."""

    module: ModuleRef
    slot: int
    epoch: int


@dataclass(frozen=True, slots=True)
class EncodeStep:
    """Feed one chunk of one stream.

    Attributes:
        slot: From ``open``.
        seq: 0, 1, 2 … within the slot's epoch; any other order is refused.
        samples: (N,) float32 in [-1, 1]; exactly the card's chunk unless ``is_last``.
        is_last: The segment ends here: emit the rows still held back, then the slot is finished.
    """

    slot: SlotRef
    seq: int
    samples: NDArray[np.float32]
    is_last: bool = False


@dataclass(frozen=True, slots=True)
class EncodeText:
    """Encode one sentence of text."""

    module: ModuleRef
    text: str


@dataclass(frozen=True, slots=True)
class EncodeResult:
    """Rows that an encoder emitted, and what the CTC search reads in the segment so far.

    Attributes:
        marginals: ``interface.codec`` bytes of the new rows.
        num_rows: How many rows those are.
        total_rows: Rows of the segment so far, these included.
        best: Best CTC prefix of the whole segment so far.
        trailing_blank_ms: How long the newest rows have been blank; 0 for text.
        blank_probs: (num_rows,) probability of blank, for choosing where to cut a long segment.
        times_ms: (num_rows,) centre of each row from the segment's start.
    """

    marginals: bytes
    num_rows: int
    total_rows: int
    best: Prefix
    trailing_blank_ms: int = 0
    blank_probs: tuple[float, ...] = ()
    times_ms: tuple[int, ...] = ()


class DecodeKind(IntEnum):
    """Why a decode is asked for; the order is the priority.

    FINAL closes a segment that somebody waits for, COMMIT may add to its stable text, PARTIAL only
    refreshes what may still change. TEXT is a sentence somebody waits for, BULK a text nobody does.
    """

    FINAL = 0
    COMMIT = 1
    PARTIAL = 2
    TEXT = 3
    BULK = 4


@dataclass(frozen=True, slots=True)
class DecodeJob:
    """One pure request to the decoder pool: the same job gives the same answer anywhere.

    Attributes:
        module: Decoder version.
        marginals: Codec bytes of all blocks of the segment, in order.
        kind: Priority class.
        forced: Token ids that every hypothesis begins with (text already committed).
        forced_text: The same as text, for a promise whose tokens are not known.
        beam: Beam width.
        num_best: How many hypotheses to return, at most ``beam``.
        ctc_weight: Weight of the CTC prefix score in [0, 1]; None takes the card's.
        length_bonus: Natural-log bonus a token; None takes the card's.
        max_row: Use only rows before this index; None uses all.
        row_ms: Duration of a row, for word times; 0 for text.
        phrases: Text that is likely, each with its bonus.
        timeout_s: A job that has not begun after so long is dropped, not run late; None: never.
    """

    module: ModuleRef
    marginals: tuple[bytes, ...]
    kind: DecodeKind = DecodeKind.FINAL
    forced: tuple[int, ...] = ()
    forced_text: str = ""
    beam: int = 5
    num_best: int = 1
    ctc_weight: float | None = None
    length_bonus: float | None = None
    max_row: int | None = None
    row_ms: float = 0.0
    phrases: tuple[Phrase, ...] = ()
    timeout_s: float | None = None


@dataclass(frozen=True, slots=True)
class DecodeResult:
    """N-best of one job."""

    hypotheses: tuple[DecodedText, ...]


@dataclass(frozen=True, slots=True)
class BackendHealth:
    """Whether the engine answers, and how busy it is.

    Attributes:
        turn_seconds: Longest turn to be expected: one full batch of each engine, as warming
            measured it; 0 when not known.
    """

    is_alive: bool
    open_slots: int = 0
    waiting_jobs: int = 0
    detail: str = ""
    turn_seconds: float = 0.0
