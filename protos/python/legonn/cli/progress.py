"""Progress of long work on stderr: one line drawn over on a terminal, else a line a tenth."""

from __future__ import annotations

from typing import TextIO

from legonn.captions import can_draw


class Progress:
    """Says how far a piece of work has come.

    Args:
        name: What is worked on.
        total: How much it is; None if that is not known.
        unit: Written after the numbers.
        out: Where to write.
        is_shown: False for short work, of which nothing is said.
    """

    def __init__(
        self, name: str, total: float | None, *, unit: str, out: TextIO, is_shown: bool = True
    ) -> None:
        self._name = name
        self._total = total
        self._unit = unit
        self._out = out
        self._is_shown = is_shown
        self._can_draw = can_draw(out)
        self._last_tenth = 0

    def at(self, done: float) -> None:
        """So much is done."""
        if not self._is_shown:
            return
        if self._can_draw:
            self._out.write(f"\r\x1b[K{self._line(done)}")
        elif self._total and (tenth := int(10 * done / self._total)) > self._last_tenth:
            self._last_tenth = tenth
            self._out.write(f"{self._line(done)}\n")
        self._out.flush()

    def clear(self) -> None:
        """Take the line away, so that results and errors can be written."""
        if self._is_shown and self._can_draw:
            self._out.write("\r\x1b[K")
            self._out.flush()

    def _line(self, done: float) -> str:
        if not self._total:
            return f"{self._name}: {done:.0f} {self._unit}"
        share = min(1.0, done / self._total)
        return f"{self._name}: {share:4.0%} of {self._total:.0f} {self._unit}"
