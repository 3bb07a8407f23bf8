"""When a segment ends, and at which row: functions of audio positions, never of wall time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum


class EndReason(Enum):
    """Why a segment ended."""

    ENDPOINT = "endpoint"
    FLUSH = "flush"
    MAX_SEGMENT = "max segment"
    HALF_CLOSE = "half close"
    NON_SPEECH = "non-speech"
    CANCELLED = "cancelled"


@dataclass(frozen=True, slots=True)
class EndpointRule:
    """How segments end.

    Attributes:
        end_silence_ms: Silence after something was said that ends a segment.
        max_segment_ms: A longer segment is cut.
        max_nonspeech_ms: So much audio without a word is dropped as non-speech.
        cut_window_ms: A long segment is cut at the quietest row of its last so many ms.
        pre_roll_ms: How much of the closing silence the next segment starts with.
    """

    end_silence_ms: int = 700
    max_segment_ms: int = 20_000
    max_nonspeech_ms: int = 5_000
    cut_window_ms: int = 3_000
    pre_roll_ms: int = 300

    def __post_init__(self) -> None:
        for name in ("end_silence_ms", "max_segment_ms", "max_nonspeech_ms", "cut_window_ms"):
            if getattr(self, name) <= 0:
                raise ValueError(f"{name} must be positive, not {getattr(self, name)}")
        if self.cut_window_ms > self.max_segment_ms:
            raise ValueError("cut_window_ms must not exceed max_segment_ms")
        if not 0 <= self.pre_roll_ms < self.max_nonspeech_ms:
            raise ValueError("pre_roll_ms must lie in [0, max_nonspeech_ms)")


@dataclass(frozen=True, slots=True)
class Reading:
    """What is known of the open segment when an encoder's answer is in.

    Attributes:
        has_text: Something was decoded.
        fed_ms: Audio given to the encoder.
        trailing_blank_ms: How long the newest rows have been blank.
        times_ms: Centre of every row.
        blank_probs: Probability of blank at every row.
        row_ms: Duration of a row.
        first_cut: No cut before this row: text up to there is committed.
    """

    has_text: bool
    fed_ms: float
    trailing_blank_ms: int
    times_ms: Sequence[int]
    blank_probs: Sequence[float]
    row_ms: float
    first_cut: int


@dataclass(frozen=True, slots=True)
class Cut:
    """End the segment: rows [0, num_rows) and audio up to ``end_ms`` belong to it."""

    reason: EndReason
    num_rows: int
    end_ms: float


def find_end(rule: EndpointRule, reading: Reading) -> Cut | None:
    """Say whether the segment ends now.

    The audio after ``end_ms`` starts the next segment, so a word whose beginning is already heard
    but not yet emitted is never split.
    """
    if not reading.times_ms:
        if reading.fed_ms >= rule.max_nonspeech_ms:
            return Cut(EndReason.NON_SPEECH, 0, reading.fed_ms)
        return None
    newest_ms = reading.times_ms[-1] + reading.row_ms / 2
    if not reading.has_text:
        if reading.fed_ms >= rule.max_nonspeech_ms:
            return _cut_before(reading, newest_ms - rule.pre_roll_ms, EndReason.NON_SPEECH)
        return None
    if reading.trailing_blank_ms >= rule.end_silence_ms:
        kept = min(rule.pre_roll_ms, reading.trailing_blank_ms // 2)
        return _cut_before(reading, newest_ms - kept, EndReason.ENDPOINT)
    if reading.fed_ms >= rule.max_segment_ms:
        return _quietest_cut(reading, newest_ms - rule.cut_window_ms)
    return None


def _cut_before(reading: Reading, end_ms: float, reason: EndReason) -> Cut:
    """Keep the rows whose centre lies before ``end_ms``, at least the committed ones."""
    rows = sum(1 for time in reading.times_ms if time < end_ms)
    return Cut(reason, max(rows, reading.first_cut, 1), max(end_ms, reading.row_ms))


def _quietest_cut(reading: Reading, since_ms: float) -> Cut:
    """Cut behind the most surely blank row of the window; the last of equals."""
    last = len(reading.times_ms) - 1
    rows = [
        row
        for row, time in enumerate(reading.times_ms)
        if time >= since_ms and row >= reading.first_cut
    ] or [last]
    row = max(rows, key=lambda index: (reading.blank_probs[index], index))
    end_ms = reading.times_ms[row] + reading.row_ms / 2
    return Cut(EndReason.MAX_SEGMENT, row + 1, end_ms)
