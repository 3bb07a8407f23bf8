"""What became of each segment: told by those who serve it, heard by trials and shadows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from legonn_core.runtime.messages import EncodeStep
from legonn_server.pools.module_manager import Pair
from legonn_server.routing.canary import Outcome


@dataclass(frozen=True, slots=True)
class SegmentCopy:
    """One finished segment as a shadow hears it.

    Attributes:
        pair: The versions that served it.
        chunks: Its audio as the encoder was given it, the last one marked so.
        blocks: The marginals that came of it.
        max_row: Rows that belong to it; None means all.
        text: Its final.
    """

    pair: Pair
    chunks: tuple[EncodeStep, ...]
    blocks: tuple[bytes, ...]
    text: str


class Outcomes:
    """Hears of every segment, and does nothing about it; children do."""

    def report(self, pair: Pair, outcome: Outcome) -> None:
        """A segment or a sentence ended."""

    def wants_copy(self, pair: Pair) -> bool:
        """Whether a segment of these versions is to be copied."""
        del pair
        return False

    def copy(self, copied: SegmentCopy) -> None:
        """A segment that was wanted."""


class SegmentRecord:
    """What one stream remembers of its open segment for whoever judges versions.

    Args:
        outcomes: Told when the segment ends.
    """

    def __init__(self, outcomes: Outcomes) -> None:
        self._outcomes = outcomes
        self._pair: Pair | None = None
        self._is_copied = False
        self._steps: list[EncodeStep] = []
        self._blocks: list[bytes] = []
        self._rows = self._blank_rows = 0

    def opened(self, pair: Pair) -> None:
        """A segment begins, or begins again."""
        self._pair = pair
        self._is_copied = self._outcomes.wants_copy(pair)
        self._steps, self._blocks = [], []
        self._rows = self._blank_rows = 0

    def heard(self, step: EncodeStep, marginals: bytes, blank_probs: Sequence[float]) -> None:
        """A chunk was encoded."""
        self._rows += len(blank_probs)
        self._blank_rows += sum(prob > 0.5 for prob in blank_probs)
        if self._is_copied:
            self._steps.append(step)
            self._blocks.append(marginals)

    def finished(self, text: str, latency_s: float) -> None:
        """The segment has its final."""
        if self._pair is None:
            return
        share = self._blank_rows / self._rows if self._rows else None
        self._outcomes.report(self._pair, Outcome(latency_s=latency_s, blank_share=share))
        if self._is_copied and self._steps:
            copied = SegmentCopy(self._pair, tuple(self._steps), tuple(self._blocks), text)
            self._outcomes.copy(copied)

    def failed(self) -> None:
        """An engine or a module failed at the segment."""
        if self._pair is not None:
            self._outcomes.report(self._pair, Outcome(is_error=True))


def samples_of(copied: SegmentCopy) -> NDArray[np.float32]:
    """All audio of a copy, (N,)."""
    return np.concatenate([step.samples for step in copied.chunks])
