"""The raw result of a run as JSON, and as tables for a terminal and for a page."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from legonn_core.scoring.scores import Score
from legonn_core.scoring.sets import BadSet

FORMAT = 1
HEADINGS = ("test set", "modules", "score", "95 % interval", "items", "speed")
LATENCY_HEADINGS = ("test set", "latency", "median", "95 %")


@dataclass(frozen=True, slots=True)
class Module:
    """One version that the server listed."""

    ref: str
    kind: str
    modality: str
    source_language: str
    target_language: str
    state: str
    vocabulary: str
    digest: str
    num_parameters: int


@dataclass(frozen=True, slots=True)
class Latency:
    """Seconds that something took, over the streams of a set."""

    name: str
    count: int
    median_s: float
    percentile_95_s: float


@dataclass(frozen=True, slots=True)
class Example:
    """One item as it went in and came out."""

    name: str
    reference: str
    hypothesis: str


@dataclass(frozen=True, slots=True)
class SetResult:
    """What a set gave.

    Attributes:
        task: ``recognition`` or ``translation``.
        items: Recordings or texts sent; those that failed are scored as empty.
        duration_s: Wall time for the set, all streams together.
        audio_s: Audio in it; None for text.
        real_time_factor: duration_s / audio_s; None for text and for paced audio.
        modules: Versions that answered.
        failures: The first of them, named.
        broken_promises: The first of them, named.
    """

    task: str
    name: str
    language: str
    items: int
    num_failed: int
    num_broken_promises: int
    scores: tuple[Score, ...]
    duration_s: float
    audio_s: float | None
    real_time_factor: float | None
    modules: tuple[str, ...]
    latencies: tuple[Latency, ...] = ()
    failures: tuple[str, ...] = ()
    broken_promises: tuple[str, ...] = ()
    examples: tuple[Example, ...] = ()


@dataclass(frozen=True, slots=True)
class Report:
    """A whole run.

    Attributes:
        started_at: UTC, ISO 8601.
        client_version: Of ``legonn``.
        num_streams: Calls at a time.
        interim_results: Whether partials were asked for.
        is_paced: Whether audio was sent in real time.
        limit: Items of a set at most; None for all.
        modules: What the server listed.
        results: Set by set.
    """

    started_at: str
    client_version: str
    num_streams: int
    interim_results: bool
    is_paced: bool
    limit: int | None
    modules: tuple[Module, ...]
    results: tuple[SetResult, ...] = ()
    format: int = field(default=FORMAT)


def write(report: Report, path: Path) -> None:
    """Write the report as JSON, whole or not at all."""
    draft = path.with_name(f".{path.name}.part")
    text = json.dumps(asdict(report), ensure_ascii=False, indent=1)
    draft.write_text(f"{text}\n", encoding="utf-8")
    draft.replace(path)


def read(path: Path) -> Report:
    """Read what ``write`` wrote.

    Raises:
        BadSet: If there is no such file, or it is of another format.
    """
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
        if raw["format"] != FORMAT:
            raise BadSet(f"{path}: format {raw['format']}, and this version reads {FORMAT}")
        raw["modules"] = tuple(Module(**one) for one in raw["modules"])
        raw["results"] = tuple(_result(one) for one in raw["results"])
        return Report(**raw)
    except FileNotFoundError as error:
        raise BadSet(f"{path}: no such file") from error
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BadSet(f"{path}: not the JSON of a quality run") from error


def _result(raw: dict[str, list[dict[str, object]]]) -> SetResult:
    kinds = {"scores": Score, "latencies": Latency, "examples": Example}
    fields = {
        name: tuple(kinds[name](**one) for one in value) if name in kinds else value
        for name, value in raw.items()
    }
    lists = {name: tuple(value) for name, value in fields.items() if isinstance(value, list)}
    return SetResult(**{**fields, **lists})  # type: ignore[arg-type] # what JSON holds is seen above


def score_rows(report: Report) -> list[tuple[str, ...]]:
    """One row a score, under ``HEADINGS``."""
    rows: list[tuple[str, ...]] = []
    for result in report.results:
        for score in result.scores:
            sign = " %" if score.name.startswith("WER") else ""
            failed = f", {result.num_failed} failed" if result.num_failed else ""
            rows.append(
                (
                    result.name,
                    ", ".join(result.modules) or "–",
                    f"{score.name} {score.value:.1f}{sign}",
                    f"{score.low:.1f}–{score.high:.1f}",
                    f"{result.items}{failed}",
                    _speed(result, report.num_streams),
                )
            )
    return rows


def _speed(result: SetResult, num_streams: int) -> str:
    if result.real_time_factor is not None:
        return f"real-time factor {result.real_time_factor:.2f} ({num_streams} streams)"
    if result.audio_s is not None:
        return "paced"
    return f"{result.items / max(result.duration_s, 1e-9):.1f} texts a second"


def latency_rows(report: Report) -> list[tuple[str, ...]]:
    """One row a latency, under ``LATENCY_HEADINGS``."""
    return [
        (result.name, one.name, f"{one.median_s:.2f} s", f"{one.percentile_95_s:.2f} s")
        for result in report.results
        for one in result.latencies
    ]


def plain(report: Report) -> str:
    """For a terminal: tables, what was computed how, and what went wrong."""
    blocks = [_aligned(HEADINGS, score_rows(report))]
    if latencies := latency_rows(report):
        blocks.append(_aligned(LATENCY_HEADINGS, latencies))
    signatures = {score.signature: None for one in report.results for score in one.scores}
    blocks.append("\n".join(signatures))
    speech = [one for one in report.results if one.task == "recognition"]
    if speech:
        num_broken = sum(one.num_broken_promises for one in speech)
        kept = "all promises kept" if not num_broken else f"{num_broken} promises broken"
        blocks.append(f"{kept} in {sum(one.items for one in speech)} streams")
    wrong = [line for one in report.results for line in (*one.broken_promises, *one.failures)]
    return "\n\n".join([*blocks, *(["\n".join(wrong)] if wrong else [])])


def markdown(report: Report) -> str:
    """For a page: the same tables in Markdown."""
    blocks = [_piped(HEADINGS, score_rows(report))]
    if latencies := latency_rows(report):
        blocks.append(_piped(LATENCY_HEADINGS, latencies))
    return "\n\n".join(blocks)


def _aligned(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    widths = [max(map(len, column)) for column in zip(headings, *rows, strict=True)]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in (headings, *rows)
    ]
    return "\n".join(lines)


def _piped(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [headings, ["---"] * len(headings), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
