"""How segments of a stream are decoded."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class DecodingPolicy:
    """How segments are decoded.

    Attributes:
        final_beam: Beam of finals.
        commit_beam: Beam of the decodes behind partials.
        hold_rows: A word is promised only so many rows behind the newest.
        min_confidence: A segment whose best reading is less sure, before calibration, holds no
            speech: noise and music make readings below it, clear speech above.
        max_attempts: Tries of one segment before the stream is given up.
    """

    final_beam: int = 5
    commit_beam: int = 2
    hold_rows: int = 6
    min_confidence: float = 0.2
    max_attempts: int = 5

    def __post_init__(self) -> None:
        if not 0.0 <= self.min_confidence <= 1.0:
            raise ValueError("min_confidence must lie in [0, 1]")
        if min(self.final_beam, self.commit_beam, self.max_attempts) < 1 or self.hold_rows < 0:
            raise ValueError("beams and attempts must be at least 1, hold_rows at least 0")
