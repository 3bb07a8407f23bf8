"""The open segment of a stream and the audio that it may have to be replayed from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from legonn_core.errors import BackendDown, LegonnError, PoisonSegment
from legonn_core.runtime.messages import (
    DecodedText,
    EncodeResult,
    ModuleDescription,
    Prefix,
    SlotRef,
)
from legonn_core.search.stability import StablePrefix
from legonn_server.session.endpoint import EndReason, Reading
from legonn_server.session.events import Event, SlotOpened, Ticket


class SegmentBuffer:
    """Samples since the last segment's end, oldest first; grows as needed, shrinks by ``drop``."""

    def __init__(self) -> None:
        self._data = np.zeros(16_384, np.float32)
        self._start = 0
        self._end = 0

    def __len__(self) -> int:
        return self._end - self._start

    def append(self, samples: NDArray[np.float32]) -> None:
        """Add (N,) samples at the end."""
        if self._end + len(samples) > len(self._data):
            self._make_room(len(self) + len(samples))
        self._data[self._end : self._end + len(samples)] = samples
        self._end += len(samples)

    def _make_room(self, needed: int) -> None:
        """Move what is held to the front; into a larger array only if half of this one is full."""
        held = self._data[self._start : self._end]
        fits = 2 * needed <= len(self._data)
        data = self._data if fits else np.zeros(2 * needed, np.float32)
        data[: len(held)] = held
        data[len(held) : self._end] = 0.0
        self._data, self._start, self._end = data, 0, len(held)

    def read(self, start: int, stop: int) -> NDArray[np.float32]:
        """Copy samples [start, stop), counted from the oldest one held."""
        return self._data[self._start + start : self._start + stop].copy()

    def drop(self, count: int) -> None:
        """Forget the oldest ``count`` samples, and overwrite them."""
        self._data[self._start : self._start + count] = 0.0
        self._start += count


@dataclass(frozen=True, slots=True)
class Mark:
    """The caller wants everything before this model-rate position finished."""

    sample: int
    reason: EndReason


@dataclass(slots=True)
class Rows:
    """What the encoder said of a segment so far; rebuilt from nothing by a replay."""

    blocks: list[bytes] = field(default_factory=list)
    times_ms: list[int] = field(default_factory=list)
    blank_probs: list[float] = field(default_factory=list)
    best: Prefix = field(default_factory=Prefix)
    trailing_blank_ms: int = 0

    def add(self, result: EncodeResult) -> None:
        """Join one answer to the rows before it."""
        if result.num_rows:
            self.blocks.append(result.marginals)
        self.times_ms.extend(result.times_ms)
        self.blank_probs.extend(result.blank_probs)
        self.best = result.best
        self.trailing_blank_ms = result.trailing_blank_ms


@dataclass(slots=True)
class Segment:
    """One stretch of audio on its way to one final.

    Attributes:
        number: Names the segment in tickets.
        start_sample: Model-rate position in the session.
        fed: Samples given to the encoder in this attempt.
        num_steps: Chunks sent in this attempt.
        num_judged: Chunks after which the segment was found to go on; a replay does not ask again.
        num_commits: Chunks after which the decoder was asked; a replay does not ask again.
        deadly: Pieces of work (what was awaited, after how many chunks) with which an engine died.
        end_sample: Known once the last chunk is sent or the segment is cut.
        num_rows: Rows that belong to the segment after a cut; None means all.
        promise: Text of this segment that a caller was shown before its session broke.
        has_caught_up: Whether so much was heard again that the promise can be read off the audio.
    """

    number: int
    start_sample: int
    promise: str = ""
    has_caught_up: bool = False
    attempt: int = 0
    encoder: ModuleDescription | None = None
    decoder: ModuleDescription | None = None
    slot: SlotRef | None = None
    fed: int = 0
    num_steps: int = 0
    num_judged: int = 0
    num_commits: int = 0
    revision: int = 0
    rows: Rows = field(default_factory=Rows)
    commit_best: tuple[int, ...] = ()
    stable: StablePrefix = field(default_factory=StablePrefix)
    shown: tuple[str, str] = ("", "")
    deadly: set[tuple[type[Event] | None, int]] = field(default_factory=set)
    end_sample: int | None = None
    num_rows: int | None = None
    reason: EndReason = EndReason.ENDPOINT

    @property
    def ticket(self) -> Ticket:
        """The name of the attempt under way."""
        return Ticket(self.number, self.attempt)

    @property
    def promised(self) -> str:
        """What the final begins with."""
        return self.stable.text or self.promise

    @property
    def is_catching_up(self) -> bool:
        """Whether an earlier promise is not yet part of the stable text."""
        return bool(self.promise) and not self.stable.tokens

    @property
    def has_text(self) -> bool:
        """Whether something was decoded or promised."""
        return bool(self.rows.best.tokens or self.stable.tokens)

    def doubts(self, found: Sequence[DecodedText], least: float) -> bool:
        """Whether a reading is more likely noise than speech; never once something is promised."""
        return bool(found) and not self.promised and found[0].confidence < least

    def reading(self, sample_rate: int) -> Reading:
        """What is known of it, for the rule that ends segments."""
        assert self.encoder is not None
        return Reading(
            has_text=self.has_text,
            fed_ms=self.fed * 1000 / sample_rate,
            trailing_blank_ms=self.rows.trailing_blank_ms,
            times_ms=self.rows.times_ms,
            blank_probs=self.rows.blank_probs,
            row_ms=self.encoder.row_ms,
            first_cut=self.stable.last_position + 1,
        )

    def unpin(self) -> None:
        """The pinned versions are gone: the next attempt takes those in service.

        The chunk that was judged last is judged again, since it may have closed the segment.
        """
        self.encoder = self.decoder = None
        self.num_judged = max(self.num_judged - 1, 0)

    def hopeless(
        self, awaited: type[Event] | None, cause: LegonnError, max_attempts: int
    ) -> LegonnError | None:
        """Why the segment is not tried again after this loss; None if it is.

        Args:
            awaited: The answer that the lost work would have given.
            cause: How it was lost.
            max_attempts: Tries in all.
        """
        if isinstance(cause, BackendDown) and cause.was_running and awaited is not SlotOpened:
            work = (awaited, self.num_steps)
            if work in self.deadly:
                return PoisonSegment("the same piece of a segment ended two engines")
            self.deadly.add(work)
        if self.attempt + 1 < max_attempts:
            return None
        return BackendDown(
            f"the engine was lost {self.attempt + 1} times while it worked on one segment;"
            f" the last time: {cause.message}"
        )

    def restart(self) -> None:
        """Begin the next attempt: the rows are gone, what was promised and pinned stays."""
        self.slot = None
        self.fed = 0
        self.num_steps = 0
        self.rows = Rows()
