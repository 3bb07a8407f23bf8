"""Evaluation sets on disk: recordings with their transcripts, and sentence pairs.

Read before anything is measured, so that a mistyped path costs a second and not an hour. It must
not know what is measured.
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

COLUMNS = ("id", "path", "transcript", "normalized")

Row = TypeVar("Row")


class BadSet(Exception):
    """A set that is missing or cannot be read; the message names it and says why."""


@dataclass(frozen=True, slots=True)
class Recording:
    """One recording and what is said in it.

    Attributes:
        transcript: As the corpus writes it.
        normalized: With numbers and abbreviations spelled out; the reference.
    """

    name: str
    path: Path
    transcript: str
    normalized: str


@dataclass(frozen=True, slots=True)
class SpeechSet:
    """Recordings in one language."""

    name: str
    recordings: tuple[Recording, ...]
    language: str = "en"


@dataclass(frozen=True, slots=True)
class TextSet:
    """Sentences and their translations, as many and in the same order."""

    name: str
    language: str
    sources: tuple[str, ...]
    references: tuple[str, ...]


def stride(rows: Sequence[Row], limit: int | None) -> tuple[Row, ...]:
    """At most ``limit`` rows, evenly spread from the first on; all of them for None."""
    if limit is None or limit >= len(rows):
        return tuple(rows)
    return tuple(rows[index * len(rows) // limit] for index in range(limit))


def read_speech_set(folder: Path, *, limit: int | None = None) -> SpeechSet:
    """A folder of recordings with a table (TSV) inside it or beside it.

    Raises:
        BadSet: If folder, table, a column or a recording is missing.
    """
    if not folder.is_dir():
        raise BadSet(f"{folder}: no such folder")
    table = _table_of(folder.resolve())
    rows = csv.DictReader(_lines(table), delimiter="\t", quoting=csv.QUOTE_NONE)
    missing = [name for name in COLUMNS if name not in (rows.fieldnames or ())]
    if missing:
        raise BadSet(f"{table}: no column {', '.join(missing)}")
    recordings = stride([_recording(row, table) for row in rows], limit)
    if not recordings:
        raise BadSet(f"{table}: no rows")
    for recording in recordings:
        if not recording.path.is_file():
            raise BadSet(f"{table}: {recording.name}: no such file: {recording.path}")
    return SpeechSet(folder.resolve().name, recordings)


def _recording(row: dict[str, str], table: Path) -> Recording:
    if any(row[name] is None for name in COLUMNS):
        raise BadSet(f"{table}: the row of {row['id']!r} breaks off")
    path = table.parent / row["path"]
    return Recording(row["id"], path, row["transcript"], row["normalized"])


def _table_of(folder: Path) -> Path:
    candidates = [folder / f"{folder.name}.tsv", folder.with_name(f"{folder.name}.tsv")]
    inside = list(folder.glob("*.tsv"))
    if len(inside) == 1:
        candidates += inside
    for path in candidates:
        if path.is_file():
            return path
    raise BadSet(f"{folder}: no table {folder.name}.tsv in it or beside it")


def read_text_set(path: Path, language: str, *, limit: int | None = None) -> TextSet:
    """A file of ``source TAB target`` lines.

    Args:
        path: UTF-8, no heading.
        language: Of the sources.
        limit: Rows at most.

    Raises:
        BadSet: If the file is missing, or a line is no pair.
    """
    pairs = []
    for number, line in enumerate(_lines(path), 1):
        columns = line.split("\t")
        if len(columns) < 2:
            raise BadSet(f"{path}: line {number} has no tab between source and target")
        pairs.append((columns[0], columns[1]))
    if not pairs:
        raise BadSet(f"{path}: no lines")
    sources, references = zip(*stride(pairs, limit), strict=True)
    return TextSet(path.stem, language, sources, references)


def _lines(path: Path) -> list[str]:
    """The lines without their ends; only line feeds divide lines, as sentences may hold others."""
    try:
        return path.read_text(encoding="utf-8-sig").removesuffix("\n").split("\n")
    except FileNotFoundError as error:
        raise BadSet(f"{path}: no such file") from error
    except (OSError, UnicodeDecodeError) as error:
        raise BadSet(f"{path}: cannot be read as UTF-8 text") from error
