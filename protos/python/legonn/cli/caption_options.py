"""The options that shape captions, shared by the commands that write them."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from legonn.captions_shape import CaptionRules
from legonn.captions_write import kind_of, render
from legonn.errors import BadConfig
from legonn.streams import Final


def add_shape(parser: argparse.ArgumentParser) -> None:
    """Declare the limits of a caption."""
    rules = CaptionRules()
    group = parser.add_argument_group("shape of captions (.vtt and .srt)")

    def add(name: str, kind: type[int] | type[float], default: float, text: str) -> None:
        group.add_argument(
            name, type=kind, metavar="N", default=default, help=f"{text}; default {default:g}"
        )

    add("--max-chars", int, rules.max_chars, "characters a line")
    add("--max-lines", int, rules.max_lines, "lines")
    add("--min-seconds", float, rules.min_s, "least time on screen")
    add("--max-seconds", float, rules.max_s, "most time on screen")
    add("--reading-speed", float, rules.max_cps, "characters a second at most")


def rules_of(arguments: argparse.Namespace) -> CaptionRules:
    """The limits that were asked for.

    Raises:
        BadConfig: If they contradict each other.
    """
    try:
        return CaptionRules(
            max_chars=arguments.max_chars,
            max_lines=arguments.max_lines,
            min_s=arguments.min_seconds,
            max_s=arguments.max_seconds,
            max_cps=arguments.reading_speed,
        )
    except ValueError as error:
        raise BadConfig(str(error)) from error


def checked_kind(path: str) -> str:
    """The kind of a file to write.

    Raises:
        BadConfig: If its name says none.
    """
    try:
        return kind_of(path)
    except ValueError as error:
        raise BadConfig(str(error)) from error


def write_file(path: str, finals: Sequence[Final], rules: CaptionRules, language: str) -> None:
    """Write a transcript in the kind that the name of the file says."""
    content = render(finals, checked_kind(path), rules=rules, language=language)
    Path(path).write_text(content, encoding="utf-8")
