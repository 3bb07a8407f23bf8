"""When audio came: positions of a stream with the time at which each was received."""

from __future__ import annotations

from collections import deque


class Arrivals:
    """Remembers arrivals until they are asked for; positions only grow.

    Bounded: what is never asked for (nothing was said) is forgotten, oldest first.
    """

    def __init__(self, max_kept: int = 1_024) -> None:
        self._kept: deque[tuple[int, float]] = deque(maxlen=max_kept)
        self._end = 0

    def add(self, num_samples: int, now: float) -> None:
        """So many samples came."""
        self._end += num_samples
        self._kept.append((self._end, now))

    def completed(self, position: int) -> float | None:
        """When the sample before ``position`` came; None if that is not known any more.

        Forgets everything before it, so that asking costs no more than adding did.
        """
        kept = self._kept
        while kept and kept[0][0] < position:
            kept.popleft()
        return kept[0][1] if kept else None
