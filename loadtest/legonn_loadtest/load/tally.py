"""What happened, in a form that processes can hand over and add up."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from hdrh.histogram import HdrHistogram

from legonn_loadtest.repeats import Repeats

MAX_US = 600_000_000
DIGITS = 3
PERCENTILES = (50.0, 90.0, 95.0, 99.0, 99.9, 100.0)


class Latencies:
    """Histograms by name, in microseconds, to three digits (HDR: no bucket choice, mergeable)."""

    def __init__(self) -> None:
        self._histograms: dict[str, HdrHistogram] = {}

    def record(self, name: str, seconds: float) -> None:
        """One latency; what is above ten minutes counts as ten minutes."""
        if name not in self._histograms:
            self._histograms[name] = HdrHistogram(1, MAX_US, DIGITS)
        self._histograms[name].record_value(min(max(round(seconds * 1e6), 1), MAX_US))

    def names(self) -> list[str]:
        """What was recorded."""
        return sorted(self._histograms)

    def count(self, name: str) -> int:
        """How often it was recorded."""
        found = self._histograms.get(name)
        return int(found.get_total_count()) if found else 0

    def percentile_ms(self, name: str, percentile: float) -> float:
        """A percentile in milliseconds; NaN if nothing was recorded."""
        if not self.count(name):
            return float("nan")
        return float(self._histograms[name].get_value_at_percentile(percentile)) / 1000

    def encoded(self) -> dict[str, str]:
        """All histograms, compressed (HdrHistogram V2, base64)."""
        return {name: self._histograms[name].encode().decode() for name in self.names()}

    def add(self, encoded: dict[str, str]) -> None:
        """Merge what another process recorded."""
        for name, content in encoded.items():
            other = HdrHistogram.decode(content.encode())
            if name in self._histograms:
                self._histograms[name].add(other)
            else:
                self._histograms[name] = other


@dataclass(slots=True)
class Tally:
    """Everything that one process saw, or all of them together.

    Attributes:
        counts: Streams, texts, finals, failures (``failed:REASON``), broken promises, words.
        broken: Broken promises, the first of them.
        heard: Reference and hypothesis of streams that ended well.
        translated: Reference and hypothesis of texts.
        timeline: Second of the run → latencies of that second, for plots (name → milliseconds).
        repeats: Whether equal recordings came to equal finals.
    """

    latencies: Latencies = field(default_factory=Latencies)
    counts: Counter[str] = field(default_factory=Counter)
    broken: list[str] = field(default_factory=list)
    heard: list[tuple[str, str]] = field(default_factory=list)
    translated: list[tuple[str, str]] = field(default_factory=list)
    timeline: dict[int, dict[str, list[float]]] = field(default_factory=dict)
    repeats: Repeats = field(default_factory=Repeats)

    def latency(self, name: str, seconds: float, *, at_s: float, is_measured: bool) -> None:
        """One latency, at a moment of the run."""
        self.timeline.setdefault(int(at_s), {}).setdefault(name, []).append(seconds * 1000)
        if is_measured:
            self.latencies.record(name, seconds)

    def as_json(self) -> dict[str, Any]:
        """For another process."""
        return {
            "latencies": self.latencies.encoded(),
            "counts": dict(self.counts),
            "broken": self.broken[:20],
            "heard": self.heard,
            "translated": self.translated,
            "timeline": self.timeline,
            "repeats": self.repeats.as_json(),
        }

    def add(self, content: dict[str, Any]) -> None:
        """Add what ``as_json`` gave."""
        self.latencies.add(content["latencies"])
        self.counts.update(content["counts"])
        self.broken += content["broken"]
        self.repeats.add(content["repeats"])
        self.heard += [(one, two) for one, two in content["heard"]]
        self.translated += [(one, two) for one, two in content["translated"]]
        for second, named in content["timeline"].items():
            for name, values in named.items():
                self.timeline.setdefault(int(second), {}).setdefault(name, []).extend(values)
