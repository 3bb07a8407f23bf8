"""How a sentence may be misheard, word by word, so that a decoder learns to read through it.

A recogniser that lacks a word writes another that sounds so, spells what it heard, or loses and
joins words; case and punctuation cannot be heard at all. Nothing here was measured on an encoder:
the sounds come from a pronouncing dictionary (CMUdict), so a decoder that learns from it has met no
speech encoder.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from legonn_core.train.text_data import open_text

RESPELLINGS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("tion", ("shun", "sion", "tian")),
    ("ough", ("o", "uff", "ow", "ou")),
    ("augh", ("af", "aw", "au")),
    ("igh", ("y", "ie", "i")),
    ("tch", ("ch",)),
    ("ph", ("f",)),
    ("ck", ("k", "c", "ch")),
    ("kn", ("n",)),
    ("wr", ("r",)),
    ("wh", ("w", "h")),
    ("th", ("f", "t", "d", "s")),
    ("sh", ("ch", "s")),
    ("ch", ("sh", "tch", "j")),
    ("qu", ("kw", "c")),
    ("ng", ("n", "nk")),
    ("ee", ("ea", "e", "y", "ie")),
    ("ea", ("ee", "e", "ie")),
    ("ai", ("ay", "a", "e")),
    ("ay", ("ai", "a", "ey")),
    ("oo", ("u", "o", "ou")),
    ("ou", ("ow", "u", "o")),
    ("ow", ("ou", "o", "aw")),
    ("er", ("or", "ar", "ur", "a")),
    ("or", ("er", "ore", "ar")),
    ("ar", ("or", "er", "ah")),
    ("le", ("el", "al")),
    ("a", ("e", "o", "u", "ah")),
    ("e", ("i", "a", "ea", "")),
    ("i", ("e", "y", "ee")),
    ("o", ("a", "u", "aw")),
    ("u", ("o", "a", "oo")),
    ("y", ("i", "ie", "e")),
    ("b", ("p", "bb", "v")),
    ("c", ("k", "s", "g")),
    ("d", ("t", "dd", "")),
    ("f", ("v", "ff", "th")),
    ("g", ("k", "j", "gg")),
    ("h", ("", "wh")),
    ("j", ("g", "ch")),
    ("k", ("g", "c", "ck")),
    ("l", ("ll", "r", "w")),
    ("m", ("n", "mm")),
    ("n", ("m", "nn", "ng")),
    ("p", ("b", "pp")),
    ("r", ("rr", "w", "l")),
    ("s", ("z", "c", "ss", "sh")),
    ("t", ("d", "tt", "")),
    ("v", ("f", "b")),
    ("w", ("wh", "")),
    ("x", ("cks", "s")),
    ("z", ("s", "zz")),
)
"""What a spelling may be taken for, longest first: sounds that are near, and ways to write them."""

_BY_GRAPHEME = dict(RESPELLINGS)
_GRAPHEME = re.compile("|".join(re.escape(grapheme) for grapheme, _ in RESPELLINGS))
_SHORT = 4
_WORD = re.compile(r"^(\W*)(.*?)(\W*)$")


def read_lexicon(path: Path) -> dict[str, tuple[str, ...]]:
    """Words and their first pronunciation, without stress, from a CMUdict file."""
    lexicon: dict[str, tuple[str, ...]] = {}
    for line in open_text(path):
        word, _, phones = line.partition(" ")
        if phones and "(" not in word:
            lexicon[word] = tuple(phone.rstrip("012") for phone in phones.split())
    return lexicon


def sound_alikes(
    counts: Mapping[str, int], lexicon: Mapping[str, tuple[str, ...]], *, most: int = 24
) -> dict[str, tuple[str, ...]]:
    """For every known word the more frequent words that sound the same or nearly so.

    Two words are near if they agree once a phone is left out of either (at most one sound
    replaced, added or lost next to it).

    Args:
        counts: How often each lower-case word stands in the text.
        lexicon: Pronunciations.
        most: Listed for a word, by frequency.
    """
    buckets: dict[tuple[str, ...], set[str]] = defaultdict(set)
    for word in counts:
        phones = lexicon.get(word)
        if phones:
            for form in _with_one_left_out(phones):
                buckets[form].add(word)
    found = {}
    for word in counts:
        phones = lexicon.get(word)
        if not phones or len(phones) < 2:
            continue
        near = {other for form in _with_one_left_out(phones) for other in buckets[form]} - {word}
        if near:
            found[word] = tuple(sorted(near, key=lambda other: (-counts[other], other))[:most])
    return found


def _with_one_left_out(phones: tuple[str, ...]) -> Iterable[tuple[str, ...]]:
    yield phones
    for at in range(len(phones)):
        yield (*phones[:at], "", *phones[at + 1 :])
        yield phones[:at] + phones[at + 1 :]


def word_counts(texts: Iterable[str], *, least: int = 3) -> Counter[str]:
    """Lower-case words of a text that stand in it at least so often."""
    counts = Counter(word for text in texts for word in re.findall(r"[a-z']+", text.lower()))
    return Counter({word: count for word, count in counts.items() if count >= least})


@dataclass(frozen=True, slots=True)
class HeardWord:
    """A word as it was spoken and as it was heard.

    Attributes:
        true: Empty where nothing was said.
        heard: Empty where it was lost.
    """

    true: str
    heard: str


class Mishearing:
    """Draws how a sentence is heard.

    Args:
        alikes: From ``sound_alikes``.
        rng: Source of all draws.
    """

    def __init__(self, alikes: Mapping[str, tuple[str, ...]], rng: np.random.Generator) -> None:
        self._alikes, self._rng = alikes, rng
        self._common = sorted((w for w in alikes if len(w) <= _SHORT), key=len)

    def __call__(self, words: Sequence[str], *, rate: float) -> list[HeardWord]:
        """How the words of a sentence are heard.

        Args:
            words: As written, punctuation attached.
            rate: Share of words that are misheard.
        """
        rng = self._rng
        bare, lower = (float(draw) for draw in rng.random(2) ** 3)
        heard: list[HeardWord] = []
        for word in words:
            if rng.random() < 0.05 * rate and self._common:
                heard.append(HeardWord("", self._common[rng.integers(len(self._common))]))
            taken = self._misheard(word) if rng.random() < rate else word
            if taken and rng.random() < bare * 0.5:
                taken = taken.rstrip(".,;:!?\"'-") or taken
            if taken and rng.random() < lower * 0.5:
                taken = taken.lower()
            heard.append(HeardWord(word, taken))
        return heard

    def _misheard(self, word: str) -> str:
        rng = self._rng
        matched = _WORD.match(word)
        assert matched is not None
        before, core, after = matched.groups()
        if not core:
            return word
        alike, kind = self._alikes.get(core.lower(), ()), rng.random()
        if len(core) <= _SHORT and kind < 0.25:
            return ""
        if alike and kind < 0.6:
            # The frequent ones come first; a geometric draw prefers them.
            taken = alike[min(int(rng.geometric(0.25)) - 1, len(alike) - 1)]
        else:
            taken = self._respelt(core.lower())
        return before + (taken.capitalize() if core[0].isupper() else taken) + after

    def _respelt(self, core: str) -> str:
        """The word with a few of its graphemes written as they might have sounded."""
        rng = self._rng
        graphemes = _GRAPHEME.findall(core) if core.isalpha() else []
        if "".join(graphemes) != core:
            return core
        changes = 1 + int(rng.integers(0, max(1, len(graphemes) // 3) + 1))
        for at in rng.permutation(len(graphemes))[:changes]:
            choices = _BY_GRAPHEME[graphemes[at]]
            graphemes[at] = choices[rng.integers(len(choices))]
        return "".join(graphemes) or core
