"""What searches find: readings of a segment, as plain values.

Tokens are vocabulary ids without blanks and without an end mark. Rows are counted from the
segment's start. Nothing here searches.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Hypothesis:
    """One complete reading found by the joint search.

    Attributes:
        tokens: Vocabulary ids.
        score: What the search ranks by: weighted logarithms and the length bonus.
        decoder_score: Natural log of the decoder's probability of tokens and end.
        ctc_score: Natural log of the CTC probability of the tokens; 0 if CTC was not asked.
    """

    tokens: tuple[int, ...]
    score: float
    decoder_score: float = 0.0
    ctc_score: float = 0.0

    @property
    def rank(self) -> tuple[float, tuple[int, ...]]:
        """Sort key: best first, ties by tokens, so that results repeat."""
        return (-self.score, self.tokens)


@dataclass(frozen=True, slots=True)
class Prefix:
    """The best CTC reading of a segment so far.

    Attributes:
        tokens: Vocabulary ids without blanks.
        positions: Row index (from the segment's start) at which each token first appeared.
        score: Natural log of the prefix's probability.
    """

    tokens: tuple[int, ...] = ()
    positions: tuple[int, ...] = ()
    score: float = 0.0


@dataclass(frozen=True, slots=True)
class Word:
    """One word of a hypothesis.

    Attributes:
        text: Without surrounding space.
        start_ms: From the segment's start; for text modules 0.
        end_ms: Not before ``start_ms``.
        confidence: In [0, 1].
        num_tokens: How many of the hypothesis's tokens make up the word.
        last_position: Row index of the word's last token.
    """

    text: str
    start_ms: int
    end_ms: int
    confidence: float
    num_tokens: int
    last_position: int


@dataclass(frozen=True, slots=True)
class DecodedText:
    """One hypothesis: tokens and the words they make, best first in ``DecodeResult``."""

    tokens: tuple[int, ...]
    text: str
    score: float
    confidence: float
    words: tuple[Word, ...]
