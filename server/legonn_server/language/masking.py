"""What is shown of the words that were read: coarse ones masked, hesitations left out.

Word by word, so that a settled beginning of a text stays its beginning whatever follows. English
only; words of other languages pass as they are.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from legonn_core.runtime.messages import DecodedText, Word

_COARSE = re.compile(
    r"(?:mother|bull|dumb|jack|dip|horse|ass)?"
    r"(?:fuck|shit|bitch|cunt|cock(?:suck)|dick(?:head)|wank|twat|bollock|arse(?:hole)|asshole"
    r"|ass(?=$|es$)|bastard|whore|slut|piss|prick|pussy|nigg(?:er|a)|fagg?(?:ot)|goddamn|slag)"
    r"(?:s|es|ed|er|ers|ing|in|y|ier|iest|face|head|heads|hole|holes|able|wit|wits|ty)?",
    re.IGNORECASE,
)
"""Whole words only; a word that only begins so, such as "cockpit" or "assess", is none of them."""

_HESITATIONS = frozenset({"uh", "um", "uhm", "umm", "uhh", "er", "erm", "hm", "hmm", "mm"})

_MAY_HESITATE = re.compile(rf"\b(?:{'|'.join(sorted(_HESITATIONS))})\b", re.IGNORECASE)
"""One look at a text that nearly always has none; where it finds one, each word is looked at."""

_LETTERS = re.compile(r"[^\W\d_]+(?:'[^\W\d_]+)*")


@dataclass(frozen=True, slots=True)
class WordStyle:
    """How words are shown.

    Attributes:
        masks_coarse: Write coarse words with asterisks behind their first letter.
        drops_hesitations: Leave out "uh" and its like.
        written: How single words are written instead, by the word in small letters.
    """

    masks_coarse: bool = False
    drops_hesitations: bool = False
    written: Mapping[str, str] = field(default_factory=dict)

    def apply(self, hypothesis: DecodedText) -> DecodedText:
        """The hypothesis as it is shown; tokens stay, a word left out has no text."""
        if not (self.masks_coarse or self.drops_hesitations or self.written):
            return hypothesis
        if not (self.masks_coarse or self.written) and not _MAY_HESITATE.search(hypothesis.text):
            return hypothesis
        words = tuple(self._shown(word) for word in hypothesis.words)
        text = " ".join(word.text for word in words if word.text)
        return replace(hypothesis, text=text, words=words)

    def _shown(self, word: Word) -> Word:
        text = word.text
        if self.drops_hesitations and is_hesitation(text):
            return replace(word, text="")
        if self.written:
            text = _LETTERS.sub(lambda found: self.written.get(found[0].lower(), found[0]), text)
        if self.masks_coarse:
            text = _LETTERS.sub(lambda found: masked(found[0]), text)
        return word if text == word.text else replace(word, text=text)


def is_hesitation(word: str) -> bool:
    """Whether a word, with whatever punctuation stands about it, is a sound of thinking."""
    bare = word.strip(".,;:!?…-–—\"'")
    return bare.lower() in _HESITATIONS and not (bare.isupper() and len(bare) > 1)


def masked(word: str) -> str:
    """A coarse word with asterisks, any other as it is."""
    stem = re.sub(r"'s$", "", word)
    return word[0] + "*" * (len(word) - 1) if _COARSE.fullmatch(stem) else word
