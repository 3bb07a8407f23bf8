"""``legonn evaluate``: what modules are worth, alone and exchanged; figures with intervals."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from legonn_core.errors import LegonnError
from legonn_core.evaluate.result import Result, draw, table, write

HELP = "measure modules: asr, mt, and the swap matrix (needs legonn[train])"
EXAMPLES = """examples:
  legonn evaluate swap --synthetic                 LegoNN's claims on a made-up language, 2 minutes

A table goes to standard output; --json FILE keeps the raw figures, --picture FILE draws them.
Exit code: 0 all went well; 1 something failed or a claim did not hold; 2 wrong usage."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the sub-commands and their arguments."""
    tasks = parser.add_subparsers(dest="task", required=True, metavar="TASK")
    swap = tasks.add_parser("swap", help="encoders and decoders exchanged, with controls")
    swap.add_argument(
        "--synthetic", action="store_true", help="train tiny systems on a made-up language"
    )
    _add_output(swap)


def _add_output(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", metavar="FILE", type=Path, help="write the raw result")
    parser.add_argument("--picture", metavar="FILE", type=Path, help="draw it (.svg or .png)")


def run(arguments: argparse.Namespace) -> int:
    """Run the command; the exit status."""
    try:
        result = _synthetic()
        return _finish(result, arguments)
    except (LegonnError, OSError) as error:
        print(f"legonn evaluate: {error}", file=sys.stderr)
        return 1


def _synthetic() -> Result:
    from legonn_core.evaluate.synthetic import Effort, SyntheticExperiment

    return SyntheticExperiment(Effort(), report=_say).run()


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _finish(result: Result, arguments: argparse.Namespace) -> int:
    print(table(result))
    if arguments.json:
        write(result, arguments.json)
    if arguments.picture:
        draw(result, arguments.picture)
    return 0 if all(claim.holds for claim in result.claims) else 1
