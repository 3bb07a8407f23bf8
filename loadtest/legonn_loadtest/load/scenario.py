"""What a load test does, as one TOML file: phases of so many streams and texts, and the limits.

Read and checked before anything is started, so that a mistyped key costs a second.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, TypeVar

from legonn_core.scoring.sets import BadSet

Part = TypeVar("Part", bound="SpeechLoad | TextLoad | Phase | Limits")


@dataclass(frozen=True, slots=True)
class SpeechLoad:
    """What the streams say and how their clients behave.

    Attributes:
        audio: ``beeps`` (made up: 2.5 short words a second, what the fake backend hears), or a
            folder with `manifest.tsv`, or one audio file with a .txt beside it.
        language: BCP-47 code.
        stream_seconds: Length of a stream; the next client of that place follows it. 0: the phase.
        gap_seconds: Silence between recordings, and between groups of beeps.
        slow_share: Share of streams whose client pauses before it reads on.
        slow_seconds: How long those pause, each time.
        interim_results: Whether partials are asked for.
    """

    audio: str = "beeps"
    language: str = "en"
    stream_seconds: float = 0.0
    gap_seconds: float = 1.2
    slow_share: float = 0.0
    slow_seconds: float = 2.0
    interim_results: bool = True

    def __post_init__(self) -> None:
        if min(self.stream_seconds, self.gap_seconds, self.slow_seconds) < 0:
            raise ValueError("seconds must not be negative")
        if not 0 <= self.slow_share <= 1:
            raise ValueError("slow_share is a share, 0 to 1")


@dataclass(frozen=True, slots=True)
class TextLoad:
    """What is translated: sentences of a file of two columns, or a few of our own.

    Attributes:
        file: TSV of source and reference; empty takes built-in sentences without references.
        language: BCP-47 code of the source.
    """

    file: str = ""
    language: str = "de"


@dataclass(frozen=True, slots=True)
class Phase:
    """A stretch of time.

    Attributes:
        seconds: Its length.
        streams: Streams at its end; the number goes there in a straight line.
        text_per_second: Texts a second throughout, at random moments (Poisson).
        at_once: Jump to ``streams`` at the beginning instead.
        measured: Whether what happens in it counts; a warm-up does not.
    """

    seconds: float
    streams: int = 0
    text_per_second: float = 0.0
    at_once: bool = False
    measured: bool = True

    def __post_init__(self) -> None:
        if self.seconds <= 0 or self.streams < 0 or self.text_per_second < 0:
            raise ValueError("seconds must be positive, streams and text_per_second not negative")


@dataclass(frozen=True, slots=True)
class Limits:
    """What must hold for the run to count as good; 0 asks nothing.

    Attributes:
        lag_ms: 95th percentile of partial latency, from the audio that completed the text.
        final_ms: 95th percentile of end of segment to final.
        text_ms: 95th percentile of a translation.
        failed_share: Streams and texts that may fail.
        generator_share: Of a core that a generator process may use; above, its numbers lie.
    """

    lag_ms: float = 0.0
    final_ms: float = 0.0
    text_ms: float = 0.0
    failed_share: float = 0.0
    generator_share: float = 0.7


@dataclass(frozen=True, slots=True)
class Scenario:
    """The whole file.

    Attributes:
        chunk_ms: Audio in one message.
        processes: Generator processes.
        seed: Of everything random.
    """

    name: str
    about: str = ""
    chunk_ms: int = 100
    processes: int = 1
    seed: int = 1
    speech: SpeechLoad = SpeechLoad()
    text: TextLoad = TextLoad()
    phases: tuple[Phase, ...] = ()
    limits: Limits = field(default_factory=Limits)

    def __post_init__(self) -> None:
        if not self.phases:
            raise ValueError("a scenario needs at least one [[phases]]")
        if self.chunk_ms < 10 or self.processes < 1:
            raise ValueError("chunk_ms must be at least 10, processes at least 1")

    @property
    def seconds(self) -> float:
        """Length of all phases."""
        return sum(phase.seconds for phase in self.phases)

    @property
    def most_streams(self) -> int:
        """Streams at once, at most."""
        return max(phase.streams for phase in self.phases)


def read_scenario(path: Path) -> Scenario:
    """Read a scenario file.

    Raises:
        BadSet: If it cannot be read, or says something that there is not.
    """
    try:
        return parse(tomllib.loads(path.read_text(encoding="utf-8")), name=path.stem)
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError, TypeError, ValueError) as error:
        raise BadSet(f"scenario {path}: {error}") from error


def parse(content: Mapping[str, Any], *, name: str = "") -> Scenario:
    """A scenario from TOML's tables.

    Raises:
        ValueError: If a key is unknown or a value makes no sense; names it.
    """
    top = dict(content)
    return Scenario(
        name=top.pop("name", name),
        speech=_part(SpeechLoad, "speech", top.pop("speech", {})),
        text=_part(TextLoad, "text", top.pop("text", {})),
        limits=_part(Limits, "limits", top.pop("limits", {})),
        phases=tuple(_part(Phase, "phases", one) for one in top.pop("phases", ())),
        **_known(Scenario, "the scenario", top),
    )


def as_tables(scenario: Scenario) -> dict[str, Any]:
    """The scenario as ``parse`` takes it, for another process."""
    return asdict(scenario)


def _part(kind: type[Part], name: str, values: Mapping[str, Any]) -> Part:
    return kind(**_known(kind, f"[{name}]", values))


def _known(kind: Any, where: str, values: Mapping[str, Any]) -> dict[str, Any]:
    names = {one.name for one in fields(kind)}
    unknown = sorted(set(values) - names)
    if unknown:
        raise ValueError(
            f"{where} knows no {', '.join(unknown)}; it knows {', '.join(sorted(names))}"
        )
    return dict(values)
