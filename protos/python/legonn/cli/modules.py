"""``legonn modules``: what the server has loaded, and how good it is."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import asdict

from legonn.cli.connection import add_address
from legonn.client import Client
from legonn.streams import ModuleInfo

HELP = "list the modules of the server"
EXAMPLES = """examples:
  legonn modules            a table
  legonn modules --json     one JSON object a module version"""

HEADINGS = ("MODULE", "KIND", "LANGUAGES", "VOCABULARY", "STATE", "WEIGHTS", "SCORES")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("--json", action="store_true", help="print one JSON object a line")
    add_address(parser)


def run(arguments: argparse.Namespace) -> int:
    """Print the modules."""
    with Client(arguments.address) as client:
        found = client.modules()
    for line in _objects(found) if arguments.json else table(found):
        print(line)
    return 0


def _objects(modules: Sequence[ModuleInfo]) -> list[str]:
    return [json.dumps(asdict(module), ensure_ascii=False) for module in modules]


def table(modules: Sequence[ModuleInfo]) -> list[str]:
    """The modules as lines of aligned columns under a heading."""
    rows = [HEADINGS, *(_row(module) for module in modules)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]


def _row(module: ModuleInfo) -> tuple[str, ...]:
    languages = (module.source_language, module.target_language)
    scores = ", ".join(f"{name} {value:.4g}" for name, value in sorted(module.scores.items()))
    return (
        f"{module.name}/{module.version}",
        f"{module.modality} {module.kind}".strip().lower(),
        "→".join(dict.fromkeys(language for language in languages if language)),
        module.vocabulary,
        module.state + (f": {module.error}" if module.error else ""),
        f"{module.num_parameters / 1e6:.1f} M" if module.num_parameters else "",
        scores,
    )
