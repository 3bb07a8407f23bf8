"""From timed words to caption cues: what goes on the screen together, on which line, and how long.

Pure. Lines and cues are broken where a reader expects it: at the ends of sentences, at commas and
pauses, before conjunctions; not behind an article, inside a name, or between a number and its unit.
All breaks of a stretch of speech are weighed together (dynamic programming over words). Limits are
kept without exception: where speech is faster than reading, cues come later, and pauses win the
time back; ``lag_s`` of a cue says by how much.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise

from legonn.captions_breaks import PAUSE_S, break_cost
from legonn.streams import Final, Word

LONG_PAUSE_S = 2.0
"""A cue never spans such a pause."""

JOIN_S = 0.4
"""Cues nearer than this follow without a gap: a blink of an empty screen disturbs."""


@dataclass(frozen=True, slots=True)
class CaptionRules:
    """The limits of a cue.

    Attributes:
        max_chars: Characters a line. A single longer word stands alone on its line, whole.
        max_lines: Lines.
        min_s: Least time on screen, in seconds.
        max_s: Most time on screen.
        max_cps: Reading speed: characters a second of time on screen.
    """

    max_chars: int = 42
    max_lines: int = 2
    min_s: float = 1.0
    max_s: float = 7.0
    max_cps: float = 20.0

    def __post_init__(self) -> None:
        if self.max_chars < 8 or self.max_lines < 1:
            raise ValueError("a line has at least 8 characters, and a cue at least one line")
        if not 0 < self.min_s <= self.max_s:
            raise ValueError("times on screen are positive, the most not below the least")
        if self.max_cps * self.max_s < self.max_chars:
            raise ValueError("not even one line can be read in the longest time on screen")

    @property
    def max_cue_chars(self) -> int:
        """Characters that can be shown and read at once."""
        return int(min(self.max_chars * self.max_lines, self.max_cps * self.max_s))

    def needed_s(self, num_chars: int) -> float:
        """Least time on screen of a cue of so many characters."""
        return min(max(self.min_s, num_chars / self.max_cps), self.max_s)


@dataclass(frozen=True, slots=True)
class Cue:
    """What is on the screen from ``start_s`` to ``end_s``.

    Attributes:
        lines: Text, line by line.
        lag_s: How much later than its first word it comes, because the one before was still read.
    """

    start_s: float
    end_s: float
    lines: tuple[str, ...]
    lag_s: float = 0.0

    @property
    def text(self) -> str:
        """The lines as one."""
        return " ".join(self.lines)


def shape(finals: Iterable[Final], rules: CaptionRules | None = None) -> list[Cue]:
    """The cues of a transcript: monotone, without overlap, each inside the limits."""
    found = rules or CaptionRules()
    cues: list[Cue] = []
    for stretch in _stretches(timed_words(finals)):
        for group in _Stretch(stretch, found).groups():
            after = cues[-1].end_s if cues else 0.0
            cues.append(_cue(group, found, not_before=after))
    return _joined(cues, found)


def timed_words(finals: Iterable[Final]) -> list[Word]:
    """All words with times that never fall; words without get their share of the segment."""
    words: list[Word] = []
    latest = 0.0
    for final in finals:
        for word in final.words if _is_timed(final) else _spread(final):
            start = max(word.start_s or 0.0, latest)
            end = max(word.end_s or 0.0, start)
            latest = start
            if text := word.text.strip():
                words.append(Word(text, start, end))
    return words


def _is_timed(final: Final) -> bool:
    words = final.words
    return bool(words) and all(word.start_s is not None for word in words)


def _spread(final: Final) -> list[Word]:
    """The words of a final over its time, by their lengths."""
    texts = final.text.split()
    total = sum(len(text) + 1 for text in texts) or 1
    length = final.end_s - final.start_s
    words, place = [], 0
    for text in texts:
        start = final.start_s + length * place / total
        place += len(text) + 1
        words.append(Word(text, start, final.start_s + length * place / total))
    return words


def _stretches(words: Sequence[Word]) -> Iterable[list[Word]]:
    """Words between long pauses."""
    stretch: list[Word] = []
    for word in words:
        if stretch and _start(word) - _end(stretch[-1]) >= LONG_PAUSE_S:
            yield stretch
            stretch = []
        stretch.append(word)
    if stretch:
        yield stretch


class _Stretch:
    """Words without a long pause between them, on their way to cues."""

    def __init__(self, words: Sequence[Word], rules: CaptionRules) -> None:
        self._words = words
        self._rules = rules
        self._costs = [_break_cost(words, index) for index in range(len(words))]
        # Length of a range of words as a line: the difference of two of these, less one.
        self._lengths = [0, *accumulate(len(word.text) + 1 for word in words)]

    def groups(self) -> list[tuple[tuple[str, ...], Sequence[Word]]]:
        """The best way to cut it: lines and words of each cue."""
        best: list[tuple[float, int, tuple[int, ...]]] = [(0.0, 0, ())]
        for stop in range(1, len(self._words) + 1):
            options = []
            for start in range(stop - 1, -1, -1):
                length = self._length(start, stop)
                if start < stop - 1 and not self._may_be_shown(start, stop, length):
                    break
                laid = self._lay(start, stop, self._rules.max_lines)
                if laid is not None:
                    cost = best[start][0] + laid[0] + _size_cost(length, self._rules)
                    options.append((cost, start, laid[1]))
            cost, start, cuts = min(options)
            best.append((cost + self._costs[stop - 1], start, cuts))
        groups = []
        stop = len(self._words)
        while stop:
            _, start, cuts = best[stop]
            edges = (start, *cuts, stop)
            lines = tuple(
                " ".join(word.text for word in self._words[one:other])
                for one, other in pairwise(edges)
            )
            groups.append((lines, self._words[start:stop]))
            stop = start
        return groups[::-1]

    def _length(self, start: int, stop: int) -> int:
        return self._lengths[stop] - self._lengths[start] - 1

    def _may_be_shown(self, start: int, stop: int, length: int) -> bool:
        span = _end(self._words[stop - 1]) - _start(self._words[start])
        return length <= self._rules.max_cue_chars and span <= self._rules.max_s

    def _lay(self, start: int, stop: int, num_lines: int) -> tuple[float, tuple[int, ...]] | None:
        """The best breaks of a cue into lines and what they cost; None if it does not fit."""
        limit = self._rules.max_chars
        if self._length(start, stop) <= limit or start + 1 == stop:
            return 0.0, ()
        if num_lines == 1 or self._length(start, stop) > num_lines * (limit + 1) - 1:
            return None
        options = []
        for cut in range(start + 1, stop):
            top = self._length(start, cut)
            if top > limit and cut > start + 1:
                break
            below = self._lay(cut, stop, num_lines - 1)
            if below is not None:
                uneven = abs(top - self._length(cut, stop) / (num_lines - 1)) / limit
                cost = 0.6 * self._costs[cut - 1] + below[0] + 0.5 * uneven
                options.append((cost, (cut, *below[1])))
        return min(options, default=None)


def _size_cost(length: int, rules: CaptionRules) -> float:
    """What a cue costs in itself: few full cues are calmer than many short ones."""
    emptiness = 1.0 - length / (rules.max_chars * rules.max_lines)
    return 1.0 + 2.0 * emptiness**2


def _break_cost(words: Sequence[Word], index: int) -> float:
    """What it costs to break behind a word; the end of the stretch is free."""
    if index + 1 == len(words):
        return 0.0
    pause = _start(words[index + 1]) - _end(words[index])
    return break_cost(words[index].text, words[index + 1].text, has_pause=pause >= PAUSE_S)


def _cue(
    group: tuple[tuple[str, ...], Sequence[Word]], rules: CaptionRules, *, not_before: float
) -> Cue:
    lines, words = group
    spoken = _start(words[0])
    start = max(spoken, not_before)
    needed = rules.needed_s(sum(map(len, lines)) + len(lines) - 1)
    end = min(max(_end(words[-1]), start + needed), start + rules.max_s)
    return Cue(start, end, lines, start - spoken)


def _joined(cues: Sequence[Cue], rules: CaptionRules) -> list[Cue]:
    """Close gaps that would only blink."""
    joined = []
    for index, cue in enumerate(cues):
        end = cue.end_s
        if index + 1 < len(cues) and cues[index + 1].start_s - end < JOIN_S:
            end = min(cues[index + 1].start_s, cue.start_s + rules.max_s)
        joined.append(Cue(cue.start_s, end, cue.lines, cue.lag_s))
    return joined


def _start(word: Word) -> float:
    return word.start_s or 0.0


def _end(word: Word) -> float:
    return word.end_s or 0.0
