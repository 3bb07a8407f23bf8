"""One sentence on its way to one final: its source, who translates it, what was shown of it."""

from __future__ import annotations

from dataclasses import dataclass, field

from legonn_core.errors import LegonnError
from legonn_core.runtime.messages import DecodedText, ModuleDescription
from legonn_core.search.stability import StablePrefix
from legonn_server.session.endpoint import EndReason
from legonn_server.session.events import Ticket
from legonn_server.session.text_messages import TextReading
from legonn_server.session.text_policy import CommitRule, View

_ROUNDING_S = 1e-6
"""A word that is due by ``next_due`` is old enough, whatever the sums were rounded to."""


@dataclass(slots=True)
class TextSegment:
    """A stretch of the session's source text.

    Attributes:
        number: Names the segment in tickets.
        start: Code point of the session at which it begins.
        text: Its source so far.
        reason: Why it ended; None while it is open.
        num_asked: Calls made for it; the newest alone is listened to.
        asked_length: Characters of the newest call; 0 when none was made.
        is_waiting: A call is under way.
        is_final_asked: The newest call was for the final.
        is_suspect: An engine ended while it worked on the newest call.
        arrivals: Length of ``text`` and time, at each arrival.
        read_length: Characters that ``readings[0]`` was made from.
        num_rows: Rows that its positions are counted in.
        readings: Newest first, as many as the rule looks at.
    """

    number: int
    start: int
    text: str = ""
    reason: EndReason | None = None
    encoder: ModuleDescription | None = None
    decoder: ModuleDescription | None = None
    num_asked: int = 0
    asked_length: int = 0
    is_waiting: bool = False
    is_final_asked: bool = False
    is_suspect: bool = False
    replays: int = 0
    revision: int = 0
    arrivals: list[tuple[int, float]] = field(default_factory=list)
    read_length: int = 0
    num_rows: int = 0
    readings: tuple[DecodedText, ...] = ()
    stable: StablePrefix = field(default_factory=lambda: StablePrefix(0))
    shown: tuple[str, str] = ("", "")
    result: TextReading | None = None
    error: LegonnError | None = None

    @property
    def ticket(self) -> Ticket:
        """The name of the newest call."""
        return Ticket(self.number, self.num_asked)

    @property
    def is_done(self) -> bool:
        """Whether the final can go out."""
        return self.result is not None or self.error is not None

    @property
    def needs_final(self) -> bool:
        """Whether the whole source is still to be asked for."""
        return not self.is_done and not (self.is_waiting and self.is_final_asked)

    @property
    def whole_words(self) -> str:
        """The source up to its last white space: a word half written may become another."""
        end = len(self.text)
        while end and not self.text[end - 1].isspace():
            end -= 1
        return self.text[:end]

    def add(self, text: str, now: float) -> None:
        """More source."""
        self.text += text
        self.arrivals.append((len(self.text), now))

    def split(self, end: int, *, number: int) -> TextSegment:
        """Cut the source at ``end``; what is behind becomes a segment of its own."""
        rest = TextSegment(number, self.start + end, self.text[end:])
        rest.arrivals = [(length - end, at) for length, at in self.arrivals if length > end]
        self.text = self.text[:end]
        return rest

    def remember(self, reading: TextReading, rule: CommitRule) -> None:
        """Take an answer made from ``asked_length`` characters."""
        self.readings = (reading.hypotheses[0], *self.readings)[: rule.memory + 1]
        self.read_length, self.num_rows = self.asked_length, reading.num_rows

    def settle(self, rule: CommitRule, now: float) -> None:
        """Move the settled text on as far as the rule allows, never to the newest word."""
        newest = self.readings[0]
        view = View(
            newest=newest,
            earlier=self.readings[1:],
            num_source_words=len(self.text[: self.read_length].split()),
            ages_s=tuple(now - came + _ROUNDING_S for came in self._times()),
        )
        count = min(rule.settle(view), len(newest.words) - 1)
        self.stable = self.stable.extend(newest, count)

    def next_due(self, max_delay_s: float) -> float | None:
        """When age alone settles the next word; None if no word waits for that.

        While a call is under way nothing may be settled that it was not told to begin with.
        """
        if self.is_waiting:
            return None
        waiting = self._times()[len(self.stable.words) : -1]
        return waiting[0] + max_delay_s if waiting else None

    def _times(self) -> list[float]:
        """For each word of the newest reading, when the source came that it stands on.

        Rows are spread evenly over the source, so a word's last row says how far it had been read.
        """
        if not self.readings:
            return []
        times = []
        arrivals = iter(self.arrivals)
        length, at = next(arrivals)
        for word in self.readings[0].words:
            reached = self.read_length * (word.last_position + 1) // max(self.num_rows, 1)
            while length < reached:
                length, at = next(arrivals)
            times.append(at)
        return times
