"""The options of ``legonn evaluate exchange``: told without loading torch."""

from __future__ import annotations

import argparse

from legonn_core.search.joint import JointSettings

HELP = "runs and modules exchanged: every encoder under every decoder that reads it"
EXAMPLES = """examples:
  legonn evaluate exchange work/baseline-ro --set dev.tsv:ro --encoder text-ro/1 \\
      --decoder decoder-en/1 --against baseline-ro          what reuse is worth beside a baseline
  legonn evaluate exchange work/no-ctc-1 work/no-ctc-2 --set dev.tsv:de     swaps without CTC
  legonn evaluate exchange work/speech-phones-en+work/phones-en --decoder decoder-en/1 \\
      --set recordings/                                     three modules

A RUN is the folder that `legonn train` wrote: recipe and checkpoint. A+B is a chain of two: the
reader of phones of B behind the recogniser of phones of A. Rows cross whole: nothing is cut or
coded. --decoding CTC:BONUS may be given several times; choose on a dev set. Beside the table
it prints the relative swap gap, the loss of an encoder under another decoder than its own."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what the command takes beside ``--store``, ``--json`` and ``--picture``."""
    add = parser.add_argument
    add("runs", metavar="RUN", nargs="*", help="folder of a training; A+B plugs phones in")
    add(
        "--set",
        metavar="SET",
        action="append",
        default=[],
        dest="sets",
        help="FILE:LANGUAGE, or a folder of recordings",
    )
    add("--limit", metavar="N", type=int, help="an even stride of N items")
    for kind in ("encoder", "decoder"):
        more = f"a packaged {kind}, beside those of the runs; repeatable"
        add(f"--{kind}", metavar="NAME/VERSION", action="append", default=[], help=more)
    add("--against", metavar="RUN", default="", help="paired differences to this run's own pair")
    add("--beam", metavar="K", type=int, default=5, help="hypotheses kept (5)")
    ways = "CTC weight and bonus a token (0.55:1.5); repeatable"
    add("--decoding", metavar="CTC:BONUS", type=_decoding, action="append", default=[], help=ways)


def _decoding(argument: str) -> tuple[float, float]:
    weight, _, bonus = argument.partition(":")
    try:
        JointSettings(ctc_weight=float(weight), length_bonus=float(bonus))
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{argument!r}: write CTC:BONUS, 0.55:1.5") from error
    return float(weight), float(bonus)
