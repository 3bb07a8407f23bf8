"""What a client wishes of translations and gets from streams of text: plain frozen values.

Characters are code points of the text sent so far, counted from 0. Every event has the ``sequence``
of its message, as in ``streams.py``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from legonn.errors import LegonnError
from legonn.streams import Hypothesis, Notice, Started

Policy = Literal["local-agreement", "wait-k", "latency-budget", "finals-only"]


@dataclass(frozen=True, slots=True)
class TranslateOptions:
    """How text is to be translated; the defaults are the server's.

    Attributes:
        model: Name of a route; empty takes the default of the languages.
        interim_results: Whether partials are wanted; streams only, and so for all up to
            ``append_only``.
        policy: What of a partial is settled: what the last translations agree on, one word for each
            source word after the first few, what agrees or is old, or nothing.
        agreement: Translations that must agree, 2 to 5.
        wait_words: Source words that "wait-k" stays behind, 1 to 20.
        max_delay_s: Age at which "latency-budget" settles a word, in seconds, 0.1 to 30.
        append_only: Partials without a tail: what was shown only grows.
        max_alternatives: Translations of a text at most, 1 to 10; streams only.
        phrases: Phrases that are likely in the translation, with how much likelier (0 to 20).
        glossary: Terms with their one rendering; None keeps the term as it is.
        mask_profanity: Write coarse words with asterisks.
        labels: Free words for the server's accounting.
    """

    model: str = ""
    interim_results: bool = True
    policy: Policy = "local-agreement"
    agreement: int = 2
    wait_words: int = 3
    max_delay_s: float = 2.0
    append_only: bool = False
    max_alternatives: int = 1
    phrases: Mapping[str, float] = field(default_factory=dict)
    glossary: Mapping[str, str | None] = field(default_factory=dict)
    mask_profanity: bool = False
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class EndOfSegment:
    """Sent among pieces of text: translate what is there now, as if the sentence ended."""


END_OF_SEGMENT = EndOfSegment()


@dataclass(frozen=True, slots=True)
class TextPartial:
    """What is known so far of the open segment; replaces the segment's earlier partials.

    Attributes:
        stable_text: Will not change: later partials and the final begin with it.
        tail_text: May still change; begins with the space between the two, if any.
        end_character: Up to where the source has been read.
    """

    segment_index: int
    revision: int
    stable_text: str
    tail_text: str
    end_character: int
    sequence: int = field(default=-1, kw_only=True)

    @property
    def text(self) -> str:
        """The whole line as it looks now."""
        return self.stable_text + self.tail_text


@dataclass(frozen=True, slots=True)
class TextFinal:
    """The translation of one segment: comes once, in order, and never changes.

    Attributes:
        start_character: First code point of the segment in the session's text.
        end_character: The code point after its last.
        alternatives: Translations, best first; none where ``error`` says why.
        encoder: Version that read it, as name/version.
        decoder: Version that wrote it, as name/version.
        replays: How often it was computed again because a part of the server was lost.
        reason: Why it ended: ENDPOINT, FLUSH, MAX_SEGMENT or HALF_CLOSE.
        error: Why this segment could not be translated; the others are not concerned.
    """

    segment_index: int
    start_character: int
    end_character: int
    alternatives: tuple[Hypothesis, ...] = ()
    encoder: str = ""
    decoder: str = ""
    replays: int = 0
    reason: str = ""
    error: LegonnError | None = None
    sequence: int = field(default=-1, kw_only=True)

    @property
    def text(self) -> str:
        """The best translation; empty where there is none."""
        return self.alternatives[0].text if self.alternatives else ""


@dataclass(frozen=True, slots=True)
class TextSummary:
    """The account of a session; the last event of a stream that ends well."""

    characters_received: int
    num_segments: int
    num_replays: int
    sequence: int = field(default=-1, kw_only=True)


TextEvent = Started | TextPartial | TextFinal | Notice | TextSummary
