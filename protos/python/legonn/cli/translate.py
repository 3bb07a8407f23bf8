"""``legonn translate``: texts or lines to another language, in batches with their order kept."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import TextIO

from legonn._channel import BATCH_TEXTS
from legonn.cli import text_stream
from legonn.cli.connection import add_address, explain
from legonn.cli.progress import Progress
from legonn.client import Client
from legonn.errors import BadText, LegonnError

HELP = "turn text into text of another language"
EXAMPLES = """examples:
  legonn translate --from de "Guten Morgen!" "Wo ist der Bahnhof?"
  legonn translate --from ro --file in.txt > out.txt     a line in, a line out
  legonn translate --from de --json < in.txt             {"source", "text"} a line
  captioner | legonn translate --from de --stream        as it comes, sentence by sentence

Order is kept, and empty lines stay empty lines. A line that fails gives an empty line (null with
--json), its number and the reason on stderr, and exit code 1."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("texts", nargs="*", metavar="TEXT", help="default: the lines of stdin")
    parser.add_argument(
        "--from", dest="source", required=True, metavar="CODE", help="language of the texts"
    )
    parser.add_argument(
        "--to", dest="target", default="en", metavar="CODE", help="language wanted; default en"
    )
    parser.add_argument("--file", metavar="FILE", help="translate the lines of a UTF-8 file")
    parser.add_argument("--json", action="store_true", help="print one JSON object a line")
    text_stream.add_arguments(parser)
    add_address(parser)


def run(arguments: argparse.Namespace) -> int:
    """Translate everything; 1 if anything failed."""
    if arguments.texts and arguments.file:
        print("legonn: give texts or --file, not both", file=sys.stderr)
        return 2
    if arguments.stream:
        if arguments.texts or arguments.file:
            print("legonn: --stream reads stdin; leave the texts out", file=sys.stderr)
            return 2
        return text_stream.run(
            arguments, replace(arguments.settle, append_only=arguments.append_only)
        )
    if arguments.texts:
        return _translate(arguments.texts, arguments, total=len(arguments.texts))
    if arguments.file:
        with Path(arguments.file).open(encoding="utf-8-sig", newline="\n") as file:
            lines = list(_lines(file, arguments.file))
        return _translate(lines, arguments, total=len(lines))
    if hasattr(sys.stdin, "reconfigure"):
        # Whatever the locale, and only line feeds divide lines: what goes in comes out in step.
        sys.stdin.reconfigure(encoding="utf-8-sig", errors="strict", newline="\n")
    return _translate(_lines(sys.stdin, "stdin"), arguments, total=None)


def _translate(texts: Iterable[str], arguments: argparse.Namespace, *, total: int | None) -> int:
    # A person at the keyboard wants an answer to each line, not to each batch.
    is_typed = total is None and sys.stdin.isatty()
    size = 1 if is_typed else BATCH_TEXTS
    progress = Progress(
        "translate",
        total,
        unit="texts",
        out=sys.stderr,
        is_shown=not is_typed and (total is None or total > BATCH_TEXTS),
    )
    done = failed = 0
    with Client(arguments.address) as client:
        for batch in _batches(texts, size):
            try:
                results = _translate_batch(client, batch, arguments)
            except LegonnError as error:
                progress.clear()
                print(f"legonn: {explain(error, client.address)}", file=sys.stderr)
                return 1
            progress.clear()
            for number, (text, result) in enumerate(zip(batch, results, strict=True), done + 1):
                if isinstance(result, LegonnError):
                    failed += 1
                    print(f"legonn: text {number}: {result.message}", file=sys.stderr)
                _print(text, result, as_json=arguments.json)
            sys.stdout.flush()
            done += len(batch)
            progress.at(done)
    progress.clear()
    return 1 if failed else 0


def _translate_batch(
    client: Client, batch: list[str], arguments: argparse.Namespace
) -> list[str | LegonnError]:
    """One result a text; blank texts are not asked for."""
    spoken = [text for text in batch if text.strip()]
    found = client.translate_each(spoken, source=arguments.source, target=arguments.target)
    return [next(found) if text.strip() else "" for text in batch]


def _print(text: str, result: str | LegonnError, *, as_json: bool) -> None:
    translated = None if isinstance(result, LegonnError) else result
    if as_json:
        print(json.dumps({"source": text, "text": translated}, ensure_ascii=False))
    else:
        print(" ".join((translated or "").split("\n")))


def _lines(file: TextIO, name: str) -> Iterator[str]:
    """The lines without their ends.

    Raises:
        BadText: If the file is not UTF-8.
    """
    number = 0
    try:
        for line in file:
            number += 1
            yield line.removesuffix("\n").removesuffix("\r")
    except UnicodeDecodeError as error:
        raise BadText(f"{name}: not UTF-8 text, somewhere after line {number}") from error


def _batches(texts: Iterable[str], size: int) -> Iterator[list[str]]:
    iterator = iter(texts)
    while batch := list(islice(iterator, size)):
        yield batch
