"""The named vocabulary on which encoders and decoders meet.

A vocabulary is the list of English sub-word pieces that a marginal distribution ranges over, plus
one blank for CTC, plus the normaliser that text went through before it was cut into pieces. Change
any of the three and probabilities no longer mean the same thing: the fingerprint covers them all.
"""

from __future__ import annotations

import hashlib
import json
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

WORD_START = "\u2581"
"""SentencePiece's mark for "a space comes before this piece"."""

_UNIFIED = str.maketrans(
    {
        "\u2018": "'",
        "\u2019": "'",
        "\u201a": "'",
        "\u201b": "'",
        "\u2032": "'",
        "`": "'",
        "\u00b4": "'",
        "\u201c": '"',
        "\u201d": '"',
        "\u201e": '"',
        "\u201f": '"',
        "\u00ab": '"',
        "\u00bb": '"',
        "\u2010": "-",
        "\u2011": "-",
        "\u2012": "-",
        "\u2013": "-",
        "\u2014": "-",
        "\u2015": "-",
        "\u2212": "-",
        "\u200b": None,
        "\u00ad": None,
    }
)


def normalize_english(text: str) -> str:
    """Bring English text into the one register of the interface.

    NFKC, straight quotes, one dash, folded white space; case and punctuation stay, so that what is
    read straight off the marginals is already a caption.
    """
    folded = unicodedata.normalize("NFKC", text.translate(_UNIFIED)).translate(_UNIFIED)
    return " ".join(folded.split())


NORMALIZERS = {"english-cased/1": normalize_english}
"""Normalisers by the name that a vocabulary file carries."""


@dataclass(frozen=True)
class Vocabulary:
    """English sub-word pieces in class order; class 0 is the CTC blank.

    Attributes:
        name: For people and cards, for example ``en/1``. Not part of the fingerprint.
        tokens: ``V`` strings; ``tokens[blank]`` is a placeholder that never appears in text.
        normalizer: Key into ``NORMALIZERS``.
        blank: Class index of the CTC blank.
    """

    name: str
    tokens: tuple[str, ...]
    normalizer: str = "english-cased/1"
    blank: int = 0

    def __post_init__(self) -> None:
        if self.normalizer not in NORMALIZERS:
            raise ValueError(
                f"vocabulary {self.name!r} names the unknown normaliser {self.normalizer!r};"
                f" known: {', '.join(sorted(NORMALIZERS))}"
            )
        if len(set(self.tokens)) != len(self.tokens):
            raise ValueError(f"vocabulary {self.name!r} lists a piece twice")
        if not 0 <= self.blank < len(self.tokens):
            raise ValueError(f"vocabulary {self.name!r} has no class {self.blank} for the blank")

    def __len__(self) -> int:
        return len(self.tokens)

    @cached_property
    def fingerprint(self) -> str:
        """Sixteen hex digits that change with the pieces, their order, blank or normaliser."""
        content = json.dumps([self.tokens, self.blank, self.normalizer], ensure_ascii=False)
        return hashlib.sha256(content.encode()).hexdigest()[:16]

    def normalize(self, text: str) -> str:
        """Apply the normaliser that this vocabulary was built with."""
        return NORMALIZERS[self.normalizer](text)

    def text(self, ids: Iterable[int]) -> str:
        """Join piece ids (blank-free, not collapsed any further) into text.

        A word mark that nothing follows has no text, so no two spaces meet.
        """
        pieces = "".join(self.tokens[index] for index in ids)
        return " ".join(word for word in pieces.split(WORD_START) if word)

    def spell(self, text: str) -> tuple[int, ...]:
        """The fewest pieces that read as ``text``, which is normalised already.

        Raises:
            ValueError: If the pieces cannot write it.
        """
        marked = WORD_START + text.replace(" ", WORD_START) if text else ""
        # Pieces of the shortest spelling of each beginning, and the last piece of it.
        best: list[tuple[int, int]] = [(0, -1)]
        for end in range(1, len(marked) + 1):
            options = [
                (best[start][0] + 1, found)
                for start in range(max(0, end - self._longest), end)
                if best[start][0] < len(marked) + 1
                and (found := self._index.get(marked[start:end], -1)) >= 0
            ]
            best.append(min(options, default=(len(marked) + 1, -1)))
        ids: list[int] = []
        end = len(marked)
        while end:
            if best[end][1] < 0:
                raise ValueError(f"vocabulary {self.name!r} has no pieces for the whole text")
            ids.append(best[end][1])
            end -= len(self.tokens[ids[-1]])
        return tuple(reversed(ids))

    @cached_property
    def _index(self) -> dict[str, int]:
        return {token: i for i, token in enumerate(self.tokens) if i != self.blank and token}

    @cached_property
    def _longest(self) -> int:
        return max(map(len, self._index), default=0)

    def starts_word(self, index: int) -> bool:
        """Whether the piece begins a new word."""
        return self.tokens[index].startswith(WORD_START)

    def words(self, ids: Sequence[int]) -> list[tuple[int, int]]:
        """Cut a piece sequence into words.

        Returns:
            Half-open index ranges into ``ids``, gapless, one a word.
        """
        starts = [i for i, index in enumerate(ids) if i == 0 or self.starts_word(index)]
        return list(zip(starts, [*starts, len(ids)][1:], strict=True))

    def to_json(self) -> str:
        """Serialise for ``modules/<name>/vocabulary.json``."""
        return json.dumps(
            {
                "name": self.name,
                "normalizer": self.normalizer,
                "blank": self.blank,
                "fingerprint": self.fingerprint,
                "tokens": self.tokens,
            },
            ensure_ascii=False,
            indent=0,
        )

    @classmethod
    def from_json(cls, content: str) -> Vocabulary:
        """Read what ``to_json`` wrote.

        Raises:
            ValueError: If the content is not a vocabulary, or is not the one its fingerprint names.
        """
        fields = json.loads(content)
        try:
            vocabulary = cls(
                name=fields["name"],
                tokens=tuple(fields["tokens"]),
                normalizer=fields["normalizer"],
                blank=fields["blank"],
            )
            stated = fields["fingerprint"]
        except (KeyError, TypeError) as error:
            raise ValueError(f"not a vocabulary file: {error}") from error
        if stated != vocabulary.fingerprint:
            raise ValueError(
                f"vocabulary {vocabulary.name!r} says fingerprint {stated} but its content gives"
                f" {vocabulary.fingerprint}: the file was changed after it was written"
            )
        return vocabulary
