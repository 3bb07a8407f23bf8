"""English text as phones: CMUdict where it knows a word, letters by their neighbours where not.

Stress is left out, and a mark stands before every word: it halves what a phone sequence may mean.
Sounds of unknown words come from the dictionary itself: its spellings are aligned with its phones
(each letter stands for no phone, one or two), and a letter is said as it is said most often between
the same neighbours, from wide contexts down to the letter alone.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from unicodedata import combining

import numpy as np
from numpy.typing import NDArray

from legonn_core.interface.vocabulary import WORD_START, Vocabulary
from legonn_core.train.text_data import open_text

NAME = "phones-en/1"
CLASSES = {
    "vowel": "AA AE AH AO AW AY EH ER EY IH IY OW OY UH UW",
    "stop": "B D G K P T",
    "fricative": "DH F S SH TH V Z ZH HH",
    "affricate": "CH JH",
    "nasal": "M N NG",
    "glide": "L R W Y",
}
PHONES = tuple(phone for names in CLASSES.values() for phone in names.split())
CONTEXTS = ((3, 3), (2, 3), (2, 2), (1, 2), (1, 1), (0, 1), (0, 0))
"""How many letters to the left and right decide, the widest that was seen first."""

Spelling = Sequence[str]
Sounds = tuple[str, ...]

_WORDS = re.compile(r"[a-z']+")


def phone_vocabulary() -> Vocabulary:
    """Blank, the mark before a word, and the phones."""
    return Vocabulary(NAME, ("<blank>", WORD_START, *PHONES))


def phone_confusions(*, neighbours: int = 12) -> NDArray[np.int64]:
    """(V, neighbours) for every class phones of its own kind first, then others."""
    vocabulary = phone_vocabulary()
    kinds = {phone: kind for kind, names in CLASSES.items() for phone in names.split()}
    table = np.zeros((len(vocabulary), neighbours), dtype=np.int64)
    for index, token in enumerate(vocabulary.tokens):
        others = [i for i, other in enumerate(vocabulary.tokens) if i > 1 and other != token]
        alike = [i for i in others if kinds[vocabulary.tokens[i]] == kinds.get(token)]
        rest = [i for i in others if i not in alike]
        # Where its own kind is small, it comes again and again before others are tried.
        filled = (alike * neighbours)[: neighbours - 2] + rest[index % 7 :: 7]
        table[index] = (filled + rest)[:neighbours]
    return table


def read_dictionary(path: Path) -> dict[str, Sounds]:
    """Words and their first pronunciation, without stress, from a file in CMUdict's form."""
    found: dict[str, Sounds] = {}
    for line in open_text(path):
        word, _, phones = line.partition("#")[0].strip().partition(" ")
        if word and "(" not in word:
            found.setdefault(word, tuple(p.rstrip("012") for p in phones.split()))
    return found


@dataclass(frozen=True, slots=True)
class LetterSounds:
    """Says words that no dictionary has.

    Attributes:
        said: For each context of a letter what it is most often said as.
    """

    said: Mapping[tuple[str, str, str], Sounds]

    def say(self, word: str) -> Sounds:
        """Phones of a word in lower-case letters; unknown signs are silent."""
        found: list[str] = []
        for place in range(len(word)):
            for key in _contexts(word, place):
                if key in self.said:
                    found += self.said[key]
                    break
        return tuple(found)

    @classmethod
    def learn(cls, words: Mapping[str, Sounds], *, rounds: int = 3) -> LetterSounds:
        """Align spellings with phones by hard expectation-maximisation, and count contexts."""
        weights: dict[tuple[str, Sounds], float] = {}
        aligned: list[tuple[str, list[Sounds]]] = []
        for _ in range(rounds):
            aligned = [
                (word, found)
                for word, sounds in words.items()
                if (found := align(word, sounds, weights)) is not None
            ]
            counts = Counter(
                (letter, sounds)
                for word, chunks in aligned
                for letter, sounds in zip(word, chunks, strict=True)
            )
            letters: Counter[str] = Counter()
            for (letter, _), count in counts.items():
                letters[letter] += count
            weights = {key: float(np.log(count / letters[key[0]])) for key, count in counts.items()}
        heard: dict[tuple[str, str, str], Counter[Sounds]] = defaultdict(Counter)
        for word, chunks in aligned:
            for place, sounds in enumerate(chunks):
                for key in _contexts(word, place):
                    heard[key][sounds] += 1
        return cls({key: counts.most_common(1)[0][0] for key, counts in heard.items()})


def _contexts(word: str, place: int) -> Iterable[tuple[str, str, str]]:
    marked = f"^^^{word}$$$"
    at = place + 3
    for left, right in CONTEXTS:
        yield marked[at - left : at], marked[at], marked[at + 1 : at + 1 + right]


def align(
    word: str, sounds: Sounds, weights: Mapping[tuple[str, Sounds], float]
) -> list[Sounds] | None:
    """The likeliest split of a word's phones over its letters; None if they do not fit.

    Args:
        word: Letters.
        sounds: Phones, at most two a letter.
        weights: Log-probability of phones given a letter; empty at the start, where one phone a
            letter is preferred.
    """
    floor = -12.0
    best: dict[int, tuple[float, tuple[Sounds, ...]]] = {0: (0.0, ())}
    for place, letter in enumerate(word):
        left = len(word) - place - 1
        following: dict[int, tuple[float, tuple[Sounds, ...]]] = {}
        for done, (score, chunks) in best.items():
            for size in (1, 0, 2):  # of equal splits, the one whose silent letters come last
                stop = done + size
                if stop > len(sounds) or len(sounds) - stop > 2 * left:
                    continue
                chunk = sounds[done:stop]
                gain = weights.get((letter, chunk), floor) if weights else (-1.5, 0.0, -2.5)[size]
                if stop not in following or score + gain > following[stop][0]:
                    following[stop] = (score + gain, (*chunks, chunk))
        best = following
    found = best.get(len(sounds))
    return list(found[1]) if found else None


class PhoneSpeller:
    """Turns English text into classes of the phone vocabulary.

    Args:
        words: The dictionary.
        letters: For words that it does not have.
    """

    def __init__(self, words: Mapping[str, Sounds], letters: LetterSounds) -> None:
        self.vocabulary = phone_vocabulary()
        self._words, self._letters = words, letters
        self._index = {token: i for i, token in enumerate(self.vocabulary.tokens)}
        self._known: dict[str, tuple[int, ...]] = {}

    @classmethod
    def of(cls, path: Path, *, stride: int = 6) -> PhoneSpeller:
        """Read a dictionary; every ``stride``-th word teaches how letters are said."""
        words = read_dictionary(path)
        plain = [word for word in words if word.isalpha() and word.isascii()]
        return cls(words, LetterSounds.learn({word: words[word] for word in plain[::stride]}))

    def spell(self, text: str) -> tuple[int, ...] | None:
        """Classes of a text; None where it has figures, which have no one pronunciation."""
        if any(sign.isdigit() for sign in text):
            return None
        found: list[int] = []
        plain = "".join(c for c in unicodedata.normalize("NFKD", text) if not combining(c))
        for word in _WORDS.findall(plain.lower()):
            if said := self._word(word.strip("'") or ""):
                found += (self._index[WORD_START], *said)
        return tuple(found) or None

    def _word(self, word: str) -> tuple[int, ...]:
        if word not in self._known:
            sounds = self._words.get(word) or self._inflected(word)
            self._known[word] = tuple(self._index[sound] for sound in sounds)
        return self._known[word]

    def _inflected(self, word: str) -> Sounds:
        """A known word with 's behind it, or the letters."""
        stem, _, ending = word.partition("'")
        if ending == "s" and (base := self._words.get(stem) or self._letters.say(stem)):
            if base[-1] in ("S", "Z", "SH", "ZH", "CH", "JH"):
                return (*base, "IH", "Z")
            return (*base, "S" if base[-1] in ("P", "T", "K", "F", "TH") else "Z")
        return self._letters.say(word.replace("'", ""))
