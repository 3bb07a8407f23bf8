"""Data as users have it: LibriSpeech, Common Voice, Europarl-ST, parallel files, any TSV.

Each reader yields utterances or text rows; ``packing.py`` writes them in the project's own form,
which the trainers read. A bad row is refused with its file, its number and what to do about it.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from legonn_core.errors import BadText

READABLE = (".flac", ".wav", ".ogg", ".opus", ".mp3")
"""Suffixes that libsndfile decodes."""


@dataclass(frozen=True, slots=True)
class Utterance:
    """A stretch of a recording and what is said in it; ``end_s`` None is the recording's end."""

    name: str
    audio: Path
    text: str
    speaker: str = ""
    start_s: float = 0.0
    end_s: float | None = None


@dataclass(frozen=True, slots=True)
class TextRow:
    """A sentence, its English, and where it comes from."""

    source: str
    target: str
    origin: str


def librispeech(folder: Path) -> Iterator[Utterance]:
    """Read a LibriSpeech folder: ``SPEAKER/CHAPTER/SPEAKER-CHAPTER.trans.txt`` beside FLAC files.

    Raises:
        BadText: If there is no transcript file, a line has no text, or its audio is missing.
    """
    files = sorted(folder.rglob("*.trans.txt"))
    if not files:
        raise BadText(
            f"{folder}: no *.trans.txt below it; give the folder that holds the speakers, such as"
            " LibriSpeech/train-clean-100"
        )
    for file in files:
        for number, line in enumerate(_lines(file), 1):
            name, _, text = line.partition(" ")
            if not text.strip():
                raise _bad(file, number, "has no text behind its name", "remove the line")
            audio = _found(file.with_name(f"{name}.flac"), file, number)
            yield Utterance(name, audio, text.strip(), speaker=name.partition("-")[0])


def common_voice(table: Path) -> Iterator[Utterance]:
    """Read a Common Voice TSV (``validated.tsv`` …) with ``clips/`` beside it.

    Raises:
        BadText: If a column is missing, a sentence is empty, or a clip is missing.
    """
    for number, row in _rows(table, ("path", "sentence")):
        if not row["sentence"].strip():
            raise _bad(table, number, "has an empty sentence", "remove the row")
        audio = _found(table.parent / "clips" / row["path"], table, number)
        yield Utterance(
            Path(row["path"]).stem, audio, row["sentence"], speaker=row.get("client_id", "")[:16]
        )


def europarl_st(folder: Path, *, language: str) -> Iterator[Utterance]:
    """Read one split of Europarl-ST, such as ``v1.1/en/de/train``: English audio in segments.

    Args:
        folder: Holds ``segments.lst`` and ``segments.LANGUAGE``.
        language: Whose text to pair with the audio; ``en`` recognises English.

    Raises:
        BadText: If a line is malformed, the two files differ in length, or audio is missing.
    """
    listing, texts = folder / "segments.lst", _lines(folder / f"segments.{language}")
    segments = _lines(listing)
    if len(segments) != len(texts):
        raise BadText(
            f"{listing}: {len(segments)} segments, but segments.{language} has {len(texts)} lines;"
            " unpack the release again"
        )
    audios = folder.parents[1] / "audios"
    for number, (line, text) in enumerate(zip(segments, texts, strict=True), 1):
        try:
            name, start, end = line.split()
            start_s, end_s = float(start), float(end)
        except ValueError as error:
            raise _bad(listing, number, "is not NAME START END", "correct it") from error
        if end_s <= start_s:
            raise _bad(listing, number, f"ends at {end_s} s before it begins", "remove the line")
        audio = _found(audios / f"{name}.flac", listing, number, hint=M4A)
        yield Utterance(f"{name}-{number}", audio, text, name, start_s, end_s)


M4A = (
    "convert the release's audio first:"
    " for f in *.m4a; do ffmpeg -i $f -ar 16000 -ac 1 ${f%.m4a}.flac; done"
)
"""Europarl-ST comes as M4A, which libsndfile does not read."""


def speech_table(table: Path, *, audio: str, text: str) -> Iterator[Utterance]:
    """Read any TSV with a header; audio paths are relative to it.

    Args:
        table: UTF-8, no quoting.
        audio: Name of the column with paths.
        text: Name of the column with transcripts.

    Raises:
        BadText: If a column, a text or a recording is missing.
    """
    for number, row in _rows(table, (audio, text)):
        if not row[text].strip():
            raise _bad(table, number, f"has nothing in column {text}", "remove the row")
        recording = _found(table.parent / row[audio], table, number)
        yield Utterance(recording.stem, recording, row[text])


def parallel(source: Path, target: Path, *, origin: str) -> Iterator[TextRow]:
    """Read two files of one sentence a line, as WMT and Multi30k come (``train.de``, ``train.en``).

    Raises:
        BadText: If they differ in length, or a line is empty on one side only.
    """
    sources, targets = _lines(source), _lines(target)
    if len(sources) != len(targets):
        raise BadText(
            f"{source}: {len(sources)} lines, but {target.name} has {len(targets)}; the two must"
            " be parallel, line by line"
        )
    for number, (one, other) in enumerate(zip(sources, targets, strict=True), 1):
        if bool(one.strip()) != bool(other.strip()):
            raise _bad(source, number, "is empty on one side only", "remove it from both files")
        if one.strip():
            yield TextRow(one.strip(), other.strip(), origin)


def text_table(table: Path, *, source: str, target: str, origin: str) -> Iterator[TextRow]:
    """Read two named columns of any TSV with a header.

    Raises:
        BadText: If a column is missing or a cell is empty.
    """
    for number, row in _rows(table, (source, target)):
        if not row[source].strip() or not row[target].strip():
            raise _bad(table, number, f"has nothing in {source} or {target}", "remove the row")
        yield TextRow(row[source].strip(), row[target].strip(), origin)


def _rows(table: Path, columns: tuple[str, ...]) -> Iterator[tuple[int, dict[str, str]]]:
    """Rows with their line numbers, each with a value in every named column."""
    reader = csv.DictReader(_lines(table), delimiter="\t", quoting=csv.QUOTE_NONE)
    missing = [name for name in columns if name not in (reader.fieldnames or ())]
    if missing:
        raise BadText(
            f"{table}: no column {', '.join(missing)}; it has"
            f" {', '.join(reader.fieldnames or ('none',))} (tabs between columns, names in line 1)"
        )
    for number, row in enumerate(reader, 2):
        if any(row[name] is None for name in columns):
            raise _bad(table, number, f"breaks off after {len(row)} columns", "complete it")
        yield number, {name: value or "" for name, value in row.items() if name is not None}


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8-sig").removesuffix("\n").split("\n")
    except FileNotFoundError as error:
        raise BadText(f"{path}: no such file") from error
    except UnicodeDecodeError as error:
        raise BadText(f"{path}: byte {error.start} is not UTF-8; convert it with iconv") from error


def _found(audio: Path, table: Path, number: int, *, hint: str = "") -> Path:
    """The recording, if it is there and can be read."""
    if audio.suffix.lower() not in READABLE:
        todo = "convert it to FLAC: ffmpeg -i IN -ar 16000 -ac 1 OUT.flac"
        raise _bad(table, number, f"names {audio.name}, which cannot be decoded", todo)
    if not audio.is_file():
        todo = hint or "fetch it or remove the row"
        raise _bad(table, number, f"names {audio.name}, and {audio} is no file", todo)
    return audio


def _bad(path: Path, number: int, what: str, todo: str) -> BadText:
    return BadText(f"{path}: row {number} {what}; {todo}")
