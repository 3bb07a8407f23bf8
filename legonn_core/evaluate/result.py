"""What an evaluation found: cells with intervals, as JSON, as a table, as a picture."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from legonn_core.scoring.scores import Score

FORMAT = 1


@dataclass(frozen=True, slots=True)
class Cell:
    """One measured figure.

    Attributes:
        encoder: What made the rows.
        decoder: What read them; ``–`` where the rows were read off without one.
        condition: What was done in between: ``marginals``, ``one-hot``, ``shuffled`` …
        test_set: Name of the data.
        items: How many sentences or recordings.
        score: With its interval.
    """

    encoder: str
    decoder: str
    condition: str
    test_set: str
    items: int
    score: Score


@dataclass(frozen=True, slots=True)
class Claim:
    """Something that LegoNN says of the cells, and whether it came out."""

    text: str
    holds: bool


@dataclass(frozen=True, slots=True)
class Result:
    """A whole evaluation.

    Attributes:
        title: One line.
        command: What makes it again.
        cells: In the order of the table.
        claims: Only where an experiment has some.
        facts: Anything else worth keeping, such as sizes or settings.
    """

    title: str
    command: str
    cells: tuple[Cell, ...]
    claims: tuple[Claim, ...] = ()
    facts: dict[str, object] = field(default_factory=dict)
    format: int = FORMAT


def write(result: Result, path: Path) -> None:
    """Write the result as JSON, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.part")
    content = json.dumps(asdict(result), ensure_ascii=False, indent=1)
    draft.write_text(f"{content}\n", encoding="utf-8")
    draft.replace(path)


def table(result: Result) -> str:
    """Cells in Markdown, then claims, then how scores were counted."""
    headings = ("test set", "encoder", "decoder", "condition", "score", "95 % interval", "items")
    rows = [
        (
            cell.test_set,
            cell.encoder,
            cell.decoder,
            cell.condition,
            f"{cell.score.name} {_shown(cell.score, cell.score.value)}",
            f"{_shown(cell.score, cell.score.low)}–{_shown(cell.score, cell.score.high)}",
            str(cell.items),
        )
        for cell in result.cells
    ]
    lines = [headings, ("---",) * len(headings), *rows]
    blocks = ["\n".join(f"| {' | '.join(line)} |" for line in lines)]
    if result.claims:
        blocks.append("\n".join(f"{_mark(claim)} {claim.text}" for claim in result.claims))
    blocks.append("\n".join({cell.score.signature: None for cell in result.cells}))
    return "\n\n".join(blocks)


def _mark(claim: Claim) -> str:
    return "holds:   " if claim.holds else "DOES NOT:"


def _shown(score: Score, value: float) -> str:
    """Percent and points with one digit, seconds, ratios and nats with three."""
    return f"{value:.3f}" if score.name in ("LAAL", "erasure", "surprise") else f"{value:.1f}"


def draw(result: Result, path: Path) -> None:
    """Bars with intervals, one panel for each test set and score, as SVG or PNG by the suffix."""
    from matplotlib.figure import Figure

    panels: dict[tuple[str, str], list[Cell]] = {}
    for cell in result.cells:
        panels.setdefault((cell.test_set, cell.score.name), []).append(cell)
    heights = [0.32 * len(cells) + 0.9 for cells in panels.values()]
    figure = Figure(figsize=(8.0, sum(heights) + 0.4), layout="constrained")
    axes = figure.subplots(len(panels), 1, squeeze=False, height_ratios=heights)[:, 0]
    for axis, ((test_set, name), cells) in zip(axes, panels.items(), strict=True):
        values = [cell.score.value for cell in cells]
        below = [max(cell.score.value - cell.score.low, 0.0) for cell in cells]
        above = [max(cell.score.high - cell.score.value, 0.0) for cell in cells]
        colours = ["#2b6cb0" if cell.condition in PLAIN else "#b0b7c3" for cell in cells]
        places = range(len(cells))
        axis.barh(places, values, xerr=[below, above], color=colours, height=0.7)
        axis.set_yticks(places, [_label(cell) for cell in cells], fontsize=8)
        axis.invert_yaxis()
        axis.set_title(f"{test_set}: {name}", fontsize=9, loc="left")
        axis.spines[["top", "right"]].set_visible(False)
    figure.suptitle(result.title, fontsize=10)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path)


PLAIN = ("marginals", "joint search", "greedy")
"""Conditions of use, in colour; the others are controls."""


def _label(cell: Cell) -> str:
    return f"{cell.encoder} → {cell.decoder}: {cell.condition}"


def mean(values: Sequence[float]) -> float:
    """The arithmetic mean of at least one value."""
    return sum(values) / len(values)
