"""What of an unfinished segment's translation is settled: pure functions of what was read so far.

The text of a segment grows, and its beginning is translated again and again, each time beginning
with what is settled. A word too many in the settled part stays for ever, a word too few comes late:
the rules differ in what they trust. None settles the newest word of a translation, because a
decoder that sees half a sentence likes to end it there. Sources: local agreement, Liu et al. 2020;
wait-k under a decoder of whole sentences, Ma et al. 2019 §4.1.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from legonn_core.runtime.messages import DecodedText
from legonn_core.search.stability import agreed_words


@dataclass(frozen=True, slots=True)
class TextLimits:
    """How streams of text are worked on.

    Attributes:
        max_characters: A segment without an end is cut at white space before it is longer.
        max_ahead: Ended segments of one stream that are translated at once.
        max_attempts: Tries of one segment before the stream is given up.
        partial_beam: Beam of the translations behind partials.
    """

    max_characters: int = 400
    max_ahead: int = 8
    max_attempts: int = 3
    partial_beam: int = 2

    def __post_init__(self) -> None:
        for name in self.__dataclass_fields__:
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, not {getattr(self, name)}")


@dataclass(frozen=True, slots=True)
class View:
    """What a rule may look at.

    Attributes:
        newest: Translation of the source so far.
        earlier: Translations of shorter sources before it, newest first.
        num_source_words: Complete words that ``newest`` was made from.
        ages_s: For each word of ``newest``, how long ago the source came that it stands on.
    """

    newest: DecodedText
    earlier: tuple[DecodedText, ...]
    num_source_words: int
    ages_s: tuple[float, ...]


class CommitRule(Protocol):
    """Says how many leading words of the newest translation are settled."""

    @property
    def memory(self) -> int:
        """How many earlier translations the rule looks at."""

    @property
    def max_delay_s(self) -> float | None:
        """Age at which a word is settled whatever else; None: age does not matter."""

    def settle(self, view: View) -> int:
        """How many words, the newest one of the translation not counted."""


@dataclass(frozen=True, slots=True)
class LocalAgreement:
    """What the last ``agreement`` translations agree on (LA-n), and what is older than a budget."""

    agreement: int = 2
    max_delay_s: float | None = None

    @property
    def memory(self) -> int:
        """One fewer than must agree: the newest is one of them."""
        return self.agreement - 1

    def settle(self, view: View) -> int:
        """Words in all of the last translations, or else old enough."""
        agreed = 0
        if len(view.earlier) >= self.memory:
            agreed = agreed_words(view.newest, *view.earlier[: self.memory])
        if self.max_delay_s is not None:
            while agreed < len(view.ages_s) and view.ages_s[agreed] >= self.max_delay_s:
                agreed += 1
        return agreed


@dataclass(frozen=True, slots=True)
class WaitK:
    """One word for each source word after the first ``wait_words``."""

    wait_words: int = 3
    memory: int = 0
    max_delay_s: None = None

    def settle(self, view: View) -> int:
        """As many words as the source is ahead."""
        return max(0, view.num_source_words - self.wait_words)


@dataclass(frozen=True, slots=True)
class FinalsOnly:
    """Nothing before the final."""

    memory: int = 0
    max_delay_s: None = None

    def settle(self, view: View) -> int:
        """None."""
        del view
        return 0
