"""Letters as a second target of speech training: read off the trunk, forgotten with the trainer."""

from __future__ import annotations

import string

from legonn_core.interface.vocabulary import Vocabulary


class LetterAlphabet:
    """Spells classes of a vocabulary: blank 0, space 1, apostrophe 2, then a to z."""

    def __init__(self, vocabulary: Vocabulary) -> None:
        letters = " '" + string.ascii_lowercase
        self._index = {letter: i + 1 for i, letter in enumerate(letters)}
        self._vocabulary = vocabulary
        self.num_classes = 1 + len(letters)

    def spell(self, tokens: tuple[int, ...]) -> tuple[int, ...]:
        """Letters of a token sequence; case is folded, everything else left out."""
        text = self._vocabulary.text(list(tokens)).lower()
        return tuple(self._index[letter] for letter in text if letter in self._index)
