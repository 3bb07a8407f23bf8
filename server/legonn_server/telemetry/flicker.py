"""Flicker: how many words that a caller was shown were taken back."""

from __future__ import annotations

from legonn_server.telemetry.metrics import Metrics


class TailWords:
    """Counts words that were shown as a tail, and those of them that later changed.

    Args:
        metrics: Where the counts go.
    """

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._shown: list[str] = []
        self._start = 0

    def partial(self, stable: str, tail: str) -> None:
        """A partial was shown."""
        self._compare(stable + tail)
        self._start = len(stable.split())
        self._shown = tail.split()
        self._metrics.partial_words.inc(len(self._shown))

    def final(self, text: str) -> None:
        """The segment closed."""
        self._compare(text)
        self._shown, self._start = [], 0

    def _compare(self, text: str) -> None:
        now = text.split()[self._start : self._start + len(self._shown)]
        now += [""] * (len(self._shown) - len(now))
        changed = sum(old != new for old, new in zip(self._shown, now, strict=True))
        if changed:
            self._metrics.partial_words_revised.inc(changed)
