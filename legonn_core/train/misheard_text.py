"""Plain English as training batches: sentences joined to the length of speech, and misheard."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from legonn_core.train.mishearing import HeardWord, Mishearing
from legonn_core.train.simulate import MisheardTokens
from legonn_core.train.text_data import EnglishPieces

Classes = Callable[[str], tuple[int, ...]]
"""Cuts one word."""


@dataclass(frozen=True, slots=True)
class JoiningRule:
    """How long the inputs are, and how badly heard.

    Attributes:
        longest: Target tokens of an input, at most.
        single: Share of inputs that are one sentence as it stands.
        worst: Highest share of misheard words; each input draws its own, low ones more often.
        pool: Inputs drawn and sorted by length together.
    """

    longest: int = 64
    single: float = 0.3
    worst: float = 0.5
    pool: int = 1024


class MisheardText:
    """Yields batches of misheard token sequences for ever.

    Args:
        texts: Sentences of the closed alphabet.
        weights: (N,) sampling weights.
        pieces: Cuts words into classes.
        mishearing: Draws what was heard.
        rule: Lengths and error rates.
        batch_tokens: Longest target times batch size.
        rng: Source of all draws.
    """

    def __init__(
        self,
        texts: Sequence[str],
        weights: NDArray[np.float64],
        *,
        pieces: EnglishPieces,
        mishearing: Mishearing,
        rule: JoiningRule,
        batch_tokens: int,
        rng: np.random.Generator,
    ) -> None:
        self.texts, self.pieces, self.mishearing = texts, pieces, mishearing
        self.rule, self.batch_tokens, self.rng = rule, batch_tokens, rng
        self.cumulative = np.cumsum(weights / weights.sum())
        self.cut: dict[str, tuple[int, ...]] = {}

    def __iter__(self) -> Iterator[list[MisheardTokens]]:
        """Batches of inputs of like length, in random order."""
        while True:
            drawn = [one for _ in range(self.rule.pool) if (one := self._input()) is not None]
            drawn.sort(key=lambda one: len(one.heard))
            batches, start = [], 0
            while start < len(drawn):
                # Like sizes reuse a CPU's matrix kernels; a remainder waits for no one and is lost.
                size = max(8, self.batch_tokens // (len(drawn[start].heard) + 8) // 8 * 8)
                if start + size <= len(drawn):
                    batches.append(drawn[start : start + size])
                start += size
            for index in self.rng.permutation(len(batches)):
                yield batches[index]

    def _input(self) -> MisheardTokens | None:
        rng, rule = self.rng, self.rule
        words = self._sentence()
        target = self._classes(words)
        if rng.random() >= rule.single:
            wanted = rng.integers(8, rule.longest + 1)
            while len(target) < wanted:
                more = self._sentence()
                classes = self._classes(more)
                if len(target) + len(classes) > rule.longest:
                    break
                words, target = words + more, target + classes
        if not target or len(target) > rule.longest:
            return None
        rate = rule.worst * float(rng.random()) ** 1.5
        return aligned(self.mishearing(words, rate=rate), target, self._classes_of)

    def _sentence(self) -> list[str]:
        """The words of one that the alphabet covers."""
        while True:
            at = int(np.searchsorted(self.cumulative, self.rng.random()))
            words = self.texts[min(at, len(self.texts) - 1)].split()
            if all(self._classes_of(word) for word in words):
                return words

    def _classes(self, words: Sequence[str]) -> tuple[int, ...]:
        return tuple(token for word in words for token in self._classes_of(word))

    def _classes_of(self, word: str) -> tuple[int, ...]:
        """Classes of one word; empty where it has a character that the alphabet lacks."""
        if word not in self.cut:
            self.cut[word] = (self.pieces.encode(word) or ()) if word else ()
        return self.cut[word]


def aligned(
    words: Sequence[HeardWord], target: tuple[int, ...], classes_of: Classes
) -> MisheardTokens | None:
    """Classes heard and said, place by place; None if nothing was heard.

    Within a word that was misheard the places share its true classes in order, in proportion.
    """
    heard: list[int] = []
    said: list[int] = []
    start = 0
    for word in words:
        places, true = classes_of(word.heard), len(classes_of(word.true))
        heard += places
        said += [start + at * true // len(places) if true else -1 for at in range(len(places))]
        start += true
    if not heard:
        return None
    return MisheardTokens(np.asarray(heard), np.asarray(said), target)
