"""Phrases that a caller expects: a bonus for hypotheses that write them, on the way and at the end.

The phrases' characters form a trie; a hypothesis stands at one of its nodes, and a token moves it
by all of the token's characters at once, so every way to cut a phrase into pieces is covered.
On the way a hypothesis has as much of the boost on loan as it has characters of the phrase, and
gives it back with its next token. Where a word ends with the phrase, the boost is its own. So what
is complete has exactly its boost more, and everything else has nothing more. A hypothesis that
leaves a phrase goes on in the longest other one that it is in (Aho & Corasick 1975).

The bonus is added to the joint score: since w·b + (1-w)·b = b, to the CTC prefix score and to the
decoder's score alike. Sources: Zhao et al. 2019 (shallow-fusion biasing, weights taken back),
Le et al. 2021 (tries in both searches).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from legonn_core.interface.vocabulary import WORD_START, Vocabulary

Floats = NDArray[np.float64]
Ids = NDArray[np.int64]

ROOT = 0
MAX_TOKENS = 64
"""Tokens that are tried for the phrases' sake beside those that the search tries anyway."""

_JOINED = frozenset("'-")
"""Behind these a word goes on; behind any other character that is no letter or digit it has ended.
"""


@dataclass(frozen=True, slots=True)
class Phrase:
    """Text that is likely, and by how much: a natural-log bonus for the whole of it."""

    text: str
    boost: float


class _Trie:
    """The phrases' characters; node 0 is the root, where every hypothesis begins."""

    def __init__(self) -> None:
        self.children: list[dict[str, int]] = [{}]
        self.loans: list[float] = [0.0]
        self.rewards: list[float] = [0.0]
        self.failures: list[int] = [ROOT]

    def add(self, text: str, boost: float) -> None:
        """Add one phrase; of two with the same text the higher boost counts."""
        node = ROOT
        for length, character in enumerate(text, start=1):
            child = self.children[node].get(character)
            if child is None:
                child = len(self.children)
                self.children[node][character] = child
                self.children.append({})
                self.loans.append(0.0)
                self.rewards.append(0.0)
            node = child
            self.loans[node] = max(self.loans[node], boost * length / len(text))
        self.rewards[node] = max(self.rewards[node], boost)

    def link(self) -> None:
        """For each node, the longest proper suffix of its text that is a node too.

        What ends there, ends here as well.
        """
        self.failures = [ROOT] * len(self.children)
        queue = deque([ROOT])
        while queue:
            node = queue.popleft()
            for character, child in self.children[node].items():
                queue.append(child)
                suffix = self.failures[node]
                while suffix != ROOT and character not in self.children[suffix]:
                    suffix = self.failures[suffix]
                found = self.children[suffix].get(character, ROOT) if node != ROOT else ROOT
                self.failures[child] = found
                self.rewards[child] += self.rewards[found]

    def walk(self, node: int, text: str) -> int | None:
        """The node behind ``text``; None if it leaves the trie."""
        for character in text:
            child = self.children[node].get(character)
            if child is None:
                return None
            node = child
        return node


class PhraseBias:
    """What phrases add to scores; made once a set of phrases, holds nothing of a search.

    Args:
        phrases: At least one. A phrase is brought to the vocabulary's register and also looked for
            with a capital at its beginning; one with a character that no piece has can never be
            written and is left out.
        vocabulary: The pieces.

    Attributes:
        tokens: Pieces that occur in some way to write a phrase, ascending.
        highest: The largest boost.
    """

    def __init__(self, phrases: Iterable[Phrase], vocabulary: Vocabulary) -> None:
        trie = _Trie()
        self.highest = 0.0
        letters = {character for token in vocabulary.tokens for character in token}
        for phrase in phrases:
            text = vocabulary.normalize(phrase.text)
            for variant in {text, text[:1].upper() + text[1:]} - {""}:
                written = WORD_START + variant.replace(" ", WORD_START)
                if letters.issuperset(written):
                    trie.add(written, phrase.boost)
                    self.highest = max(self.highest, phrase.boost)
        trie.link()
        self._size = len(vocabulary)
        self._blank = vocabulary.blank
        self._loans = np.array(trie.loans)
        self._rewards = np.array(trie.rewards)
        self._failures = np.array(trie.failures, np.int64)
        self._ends_word = np.array([_ends_word(token) for token in vocabulary.tokens])
        self._ends_word[vocabulary.blank] = True  # in the decoder's output: the end
        self._keys, self._targets = self._edges(trie, vocabulary)
        self.tokens: Ids = np.unique(self._keys % self._size)

    def _edges(self, trie: _Trie, vocabulary: Vocabulary) -> tuple[Ids, Ids]:
        """All moves inside the trie that tokens make, sorted by node and token."""
        by_first: dict[str, list[tuple[int, str]]] = {}
        for index, token in enumerate(vocabulary.tokens):
            if index != vocabulary.blank and token:
                by_first.setdefault(token[0], []).append((index, token))
        moves: dict[int, int] = {}
        seen, queue = {ROOT}, deque([ROOT])
        while queue:
            node = queue.popleft()
            for first in trie.children[node]:
                for index, token in by_first.get(first, ()):
                    target = trie.walk(node, token)
                    if target is None:
                        continue
                    moves[node * self._size + index] = target
                    if target not in seen:
                        seen.add(target)
                        queue.append(target)
        keys = sorted(moves)
        return np.array(keys, np.int64), np.array([moves[key] for key in keys], np.int64)

    def advance(self, nodes: Ids, tokens: Ids) -> Ids:
        """Where hypotheses stand after one more token.

        Args:
            nodes: (…) where they stand; ``ROOT`` at the beginning.
            tokens: The token of each; broadcast against ``nodes``.

        Returns:
            (…) nodes.
        """
        nodes, tokens = np.broadcast_arrays(nodes, tokens)
        found = np.full(nodes.shape, ROOT, np.int64)
        if not len(self._keys):
            return found
        trying = nodes.copy()
        is_open = np.ones(nodes.shape, bool)
        while is_open.any():
            keys = trying * self._size + tokens
            places = np.minimum(np.searchsorted(self._keys, keys), len(self._keys) - 1)
            is_move = is_open & (self._keys[places] == keys)
            found[is_move] = self._targets[places[is_move]]
            is_open &= ~is_move & (trying != ROOT)
            trying = self._failures[trying]
        return found

    def bonus(self, nodes: Ids, tokens: Ids) -> Floats:
        """What one more token adds to the scores of hypotheses: a share, or the loan back.

        Args:
            nodes: (…) where they stand.
            tokens: The token of each, or the blank, which in the decoder's output is the end;
                broadcast against ``nodes``.

        Returns:
            (…) natural-log bonus.
        """
        after = np.where(tokens == self._blank, ROOT, self.advance(nodes, tokens))
        kept = np.where(self._ends_word[tokens], self._rewards[nodes], 0.0)
        result: Floats = self._loans[after] - self._loans[nodes] + kept
        return result

    def heard(self, peaks: NDArray[np.float32], traced: NDArray[np.bool_]) -> Ids:
        """The phrases' tokens that a segment holds a trace of, the clearest ones, ascending.

        Args:
            peaks: (V,) natural log of each class's highest probability in any row.
            traced: (V,) classes of which a row holds a trace.
        """
        tokens = self.tokens[traced[self.tokens]]
        order = np.argsort(-peaks[tokens], kind="stable")[:MAX_TOKENS]
        return np.sort(tokens[order])


def _ends_word(token: str) -> bool:
    """Whether the word before a token is over: a space follows, or punctuation."""
    first = token[:1]
    return first == WORD_START or not (first.isalnum() or first in _JOINED)


def total_bonus(bias: PhraseBias, tokens: Sequence[int], *, end: int = 0) -> float:
    """What a whole hypothesis has more for the phrases in it, its end included."""
    node, total = np.array(ROOT), 0.0
    for token in (*tokens, end):
        total += float(bias.bonus(node, np.array(token)))
        node = bias.advance(node, np.array(token))
    return total
