"""``legonn translate --stream``: text to another language while it is being written."""

from __future__ import annotations

import argparse
import codecs
import io
import json
import re
import sys
from collections.abc import Iterable, Iterator
from typing import cast

from legonn.captions import Terminal
from legonn.cli.connection import explain
from legonn.client import Client
from legonn.errors import BadText, LegonnError
from legonn.streams import Final, Notice, Partial
from legonn.translation import TextEvent, TextFinal, TextPartial, TranslateOptions

READ_BYTES = 4096


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments that only streams have."""
    parser.add_argument(
        "--stream", action="store_true", help="translate stdin as it comes; dim words may change"
    )
    parser.add_argument(
        "--settle",
        type=settling,
        default="la-2",
        metavar="RULE",
        help="with --stream, when words stop changing: la-N (N translations agree; default la-2), "
        "wait-N (N words behind), 1.5s (at that age) or final",
    )
    parser.add_argument(
        "--append-only", action="store_true", help="with --stream, show only what will not change"
    )


def settling(rule: str) -> TranslateOptions:
    """The options that ``--settle`` stands for."""
    if rule == "final":
        return TranslateOptions(policy="finals-only")
    if found := re.fullmatch(r"la-(\d+)", rule):
        return TranslateOptions(policy="local-agreement", agreement=int(found[1]))
    if found := re.fullmatch(r"wait-(\d+)", rule):
        return TranslateOptions(policy="wait-k", wait_words=int(found[1]))
    if found := re.fullmatch(r"(\d+(?:\.\d+)?)s", rule):
        return TranslateOptions(policy="latency-budget", max_delay_s=float(found[1]))
    raise argparse.ArgumentTypeError(f"{rule!r} is none of la-N, wait-N, 1.5s and final")


def run(arguments: argparse.Namespace, options: TranslateOptions) -> int:
    """Translate stdin until it ends; 1 if a part of it failed."""
    failed = False
    with Client(arguments.address) as client:
        events = client.translate_stream(
            stdin_pieces(), source=arguments.source, target=arguments.target, options=options
        )
        try:
            for event in _json(events) if arguments.json else _shown(events):
                if isinstance(event, TextFinal) and event.error:
                    failed = True
                    place = f"characters {event.start_character} to {event.end_character}"
                    print(f"legonn: {place}: {event.error.message}", file=sys.stderr)
        except LegonnError as error:
            print(f"legonn: {explain(error, client.address)}", file=sys.stderr)
            return 1
    return 1 if failed else 0


def stdin_pieces() -> Iterator[str]:
    """What is there of stdin, as soon as it is there.

    Raises:
        BadText: If it is not UTF-8.
    """
    decoder = codecs.getincrementaldecoder("utf-8-sig")()
    source = cast("io.BufferedReader", sys.stdin.buffer)
    is_over = False
    while not is_over:
        content = source.read1(READ_BYTES)
        is_over = not content
        try:
            text = decoder.decode(content, final=is_over)
        except UnicodeDecodeError as error:
            raise BadText("stdin: not UTF-8 text") from error
        if text:
            yield text


def _shown(events: Iterable[TextEvent]) -> Iterator[TextEvent]:
    """Draw the events as live captions are drawn, and pass them on."""
    terminal = Terminal(sys.stdout)
    try:
        for event in events:
            match event:
                case TextPartial():
                    numbers = event.segment_index, event.revision
                    terminal.show(Partial(*numbers, event.stable_text, event.tail_text, 0.0))
                case TextFinal():
                    terminal.show(Final(event.segment_index, 0.0, 0.0, 0, 0, event.alternatives))
                case Notice():
                    terminal.show(event)
            yield event
    finally:
        terminal.close()


def _json(events: Iterable[TextEvent]) -> Iterator[TextEvent]:
    """Print partials and finals as objects, and pass all events on."""
    for event in events:
        match event:
            case TextPartial():
                _print(segment=event.segment_index, stable=event.stable_text, tail=event.tail_text)
            case TextFinal():
                _print(
                    segment=event.segment_index,
                    text=None if event.error else event.text,
                    start=event.start_character,
                    end=event.end_character,
                )
        yield event


def _print(**fields: object) -> None:
    print(json.dumps(fields, ensure_ascii=False), flush=True)
