"""How far a set has come, and how fast, on stderr."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TextIO

from legonn.captions import can_draw


class Progress:
    """One line drawn over on a terminal, else a line a tenth.

    Args:
        name: Of the set.
        total: Items of it.
        out: Where to write.
        clock: Seconds that only grow.
    """

    def __init__(
        self, name: str, total: int, *, out: TextIO, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._name = name
        self._total = total
        self._out = out
        self._clock = clock
        self._start = clock()
        self._done = 0
        self._last_tenth = 0
        self._can_draw = can_draw(out)

    def advance(self, count: int) -> None:
        """So many more are done."""
        self._done += count
        rate = self._done / max(self._clock() - self._start, 1e-9)
        left = (self._total - self._done) / rate
        line = (
            f"{self._name}: {self._done} of {self._total}, {rate:.1f} a second, {left:.0f} s left"
        )
        tenth = 10 * self._done // self._total
        if self._can_draw:
            self._out.write(f"\r\x1b[K{line}" + "\n" * (self._done == self._total))
        elif tenth > self._last_tenth:
            self._last_tenth = tenth
            self._out.write(f"{line}\n")
        self._out.flush()
