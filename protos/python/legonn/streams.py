"""What a client sends as wishes and gets as events: plain frozen values, free of protobuf and gRPC.

Times are seconds as float from the session's first sample; indices and samples count from 0. Every
event has the ``sequence`` of its message, which counts from 0 without a gap (-1 if it came from no
stream).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class SpeechOptions:
    """How a recording or a stream is to be read; the defaults are the server's.

    Attributes:
        language: BCP-47 code of the spoken language.
        target_language: BCP-47 code of the text; empty means the spoken language.
        model: Name of a route; empty takes the default of the languages.
        interim_results: Whether partials are wanted. Without them finals may be better.
        max_alternatives: Readings a final at most, 1 to 10.
        end_silence_s: Silence that ends a segment, in seconds; None takes the server's.
        max_segment_s: Longest segment, in seconds; None takes the server's.
        phrases: Phrases that are likely to be said, with how much likelier (0 to 20, natural log).
        glossary: Terms with their one rendering in the target language; None keeps the term.
        mask_profanity: Whether coarse words get asterisks.
        verbatim: Whether hesitations such as "uh" are written.
        labels: Free words for the server's accounting.
    """

    language: str = "en"
    target_language: str = ""
    model: str = ""
    interim_results: bool = True
    max_alternatives: int = 1
    end_silence_s: float | None = None
    max_segment_s: float | None = None
    phrases: Mapping[str, float] = field(default_factory=dict)
    glossary: Mapping[str, str | None] = field(default_factory=dict)
    mask_profanity: bool = False
    verbatim: bool = False
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Word:
    """One word, its place in the audio (None for text) and how sure the model is of it, 0 to 1."""

    text: str
    start_s: float | None = None
    end_s: float | None = None
    confidence: float | None = None


@dataclass(frozen=True, slots=True)
class Hypothesis:
    """One reading of a segment or of a text."""

    text: str
    confidence: float
    words: tuple[Word, ...] = ()


@dataclass(frozen=True, slots=True)
class Started:
    """The stream is accepted; always the first event."""

    session_id: str
    request_id: str
    sequence: int = field(default=-1, kw_only=True)


@dataclass(frozen=True, slots=True)
class Partial:
    """What is known so far of the open segment; replaces the segment's earlier partials.

    Attributes:
        stable_text: Will not change: later partials and the final begin with it.
        tail_text: May still change; begins with the space between the two, if any.
        end_s: Up to where the audio has been read.
    """

    segment_index: int
    revision: int
    stable_text: str
    tail_text: str
    end_s: float
    sequence: int = field(default=-1, kw_only=True)

    @property
    def text(self) -> str:
        """The whole line as it looks now."""
        return self.stable_text + self.tail_text


@dataclass(frozen=True, slots=True)
class Final:
    """The text of one segment: comes once, in order, and never changes.

    Attributes:
        alternatives: Readings, best first; at least one.
        encoder: Version that heard it, as name/version.
        decoder: Version that wrote it, as name/version.
        replays: How often it was computed again because a part of the server was lost.
        reason: Why it ended: ENDPOINT, FLUSH, MAX_SEGMENT, HALF_CLOSE or STALL.
    """

    segment_index: int
    start_s: float
    end_s: float
    start_sample: int
    end_sample: int
    alternatives: tuple[Hypothesis, ...]
    encoder: str = ""
    decoder: str = ""
    replays: int = 0
    reason: str = ""
    sequence: int = field(default=-1, kw_only=True)

    @property
    def text(self) -> str:
        """The best reading."""
        return self.alternatives[0].text if self.alternatives else ""

    @property
    def words(self) -> tuple[Word, ...]:
        """The words of the best reading."""
        return self.alternatives[0].words if self.alternatives else ()


@dataclass(frozen=True, slots=True)
class SpeechMark:
    """Speech began (``BEGIN``) or ended (``END``)."""

    kind: str
    offset_s: float
    sequence: int = field(default=-1, kw_only=True)


@dataclass(frozen=True, slots=True)
class Notice:
    """A remark that changes no text.

    REPLAYING, SWAPPED, DRAINING, COALESCED, DEGRADED and CANCELLED come from the server;
    RECONNECTING and RECOVERED from this client, when it lost the server and when it goes on.
    """

    kind: str
    message: str
    grace_s: float | None = None
    sequence: int = field(default=-1, kw_only=True)


@dataclass(frozen=True, slots=True)
class Summary:
    """The account of a session; the last event of a stream that ends well."""

    samples_received: int
    samples_in_finals: int
    samples_non_speech: int
    num_segments: int
    num_replays: int
    sequence: int = field(default=-1, kw_only=True)


Event = Started | Partial | Final | SpeechMark | Notice | Summary


@dataclass(frozen=True, slots=True)
class Transcript:
    """The text of a whole recording."""

    segments: tuple[Final, ...]

    @property
    def text(self) -> str:
        """All segments in one line."""
        return " ".join(final.text for final in self.segments if final.text)

    @property
    def words(self) -> tuple[Word, ...]:
        """The words of all segments."""
        return tuple(word for final in self.segments for word in final.words)


@dataclass(frozen=True, slots=True)
class ModuleInfo:
    """One version of one module, as the server lists it.

    Attributes:
        kind: ENCODER or DECODER.
        modality: SPEECH or TEXT; empty for a decoder.
        state: ABSENT, LOADING, CHECKING, WARM, SERVING, SHADOW, DRAINING, RETIRED or FAILED.
        vocabulary: Name of the vocabulary it meets the other side at.
        digest: SHA-256 of the weights.
        scores: Measured when it was made, by name.
    """

    name: str
    version: str
    kind: str
    modality: str
    source_language: str
    target_language: str
    state: str
    vocabulary: str
    digest: str
    num_parameters: int
    scores: Mapping[str, float]
    error: str = ""
