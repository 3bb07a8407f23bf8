"""The part of a partial that later partials keep.

Local agreement: what two hypotheses in a row, made with more and more rows, both say is believed,
as whole words only and not too near the newest row, where one more row may still change a word.
What is believed never shrinks; the search gets it as forced tokens, so the final begins with it.
Source: Liu, Spanakis & Niehues 2020 (local agreement, LA-2), with a hold of rows.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import accumulate

from legonn_core.search.hypothesis import DecodedText, Word


@dataclass(frozen=True, slots=True)
class StablePrefix:
    """What is believed of one segment so far; a value, replaced by ``agree``.

    Attributes:
        hold_rows: A word must end at least this many rows before the newest to be believed.
        tokens: Believed tokens.
        words: The words they make.
        previous: The hypothesis that the next one is compared with.
    """

    hold_rows: int = 6
    tokens: tuple[int, ...] = ()
    words: tuple[Word, ...] = ()
    previous: DecodedText | None = None

    def __post_init__(self) -> None:
        if self.hold_rows < 0:
            raise ValueError(f"hold_rows is {self.hold_rows}, below 0")

    @property
    def text(self) -> str:
        """Believed text; grows at its end only."""
        # A bare word mark has no text, nor has a word that is not to be shown.
        return " ".join([word.text for word in self.words if word.text])

    @property
    def last_position(self) -> int:
        """Row of the last believed token; -1 if there is none."""
        return self.words[-1].last_position if self.words else -1

    def agree(self, hypothesis: DecodedText, *, num_rows: int) -> StablePrefix:
        """Believe what this hypothesis and the one before agree on.

        A hypothesis that does not begin with the believed tokens (a replay on another version may
        give one) changes nothing but what the next is compared with.

        Args:
            hypothesis: Best reading of all rows so far.
            num_rows: How many rows those are.
        """
        count = 0
        if self.previous is not None:
            agreed = agreed_words(hypothesis, self.previous)
            newest = num_rows - 1 - self.hold_rows
            while count < agreed and hypothesis.words[count].last_position <= newest:
                count += 1
        return self.extend(hypothesis, count)

    def extend(self, hypothesis: DecodedText, num_words: int) -> StablePrefix:
        """Believe the first ``num_words`` words of a hypothesis, if they go on from what stands."""
        words = hypothesis.words[:num_words]
        tokens = hypothesis.tokens[: sum(word.num_tokens for word in words)]
        if len(tokens) <= len(self.tokens) or tokens[: len(self.tokens)] != self.tokens:
            words, tokens = self.words, self.tokens
        return StablePrefix(self.hold_rows, tokens, words, hypothesis)

    def keep(self, hypothesis: DecodedText, promised: str) -> StablePrefix:
        """Believe the leading words of a hypothesis that say ``promised``, which it begins with.

        For text that was shown before this segment was heard: nothing is left to agree on.
        """
        count = length = 0
        for word in hypothesis.words:
            if length >= len(promised):
                break
            length += len(word.text) + (length > 0 and bool(word.text))
            count += 1
        words = hypothesis.words[:count]
        tokens = hypothesis.tokens[: sum(word.num_tokens for word in words)]
        return StablePrefix(self.hold_rows, tokens, words, hypothesis)


def agreed_words(newest: DecodedText, *earlier: DecodedText) -> int:
    """How many leading words of the newest hypothesis all the earlier ones have, token by token."""
    borders = [{0, *accumulate(word.num_tokens for word in one.words)} for one in earlier]
    end = count = 0
    for word in newest.words:
        start, end = end, end + word.num_tokens
        tokens = newest.tokens[start:end]
        if any(
            one.tokens[start:end] != tokens or end not in border
            for one, border in zip(earlier, borders, strict=True)
        ):
            break
        count += 1
    return count
