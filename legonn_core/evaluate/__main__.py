"""``python -m legonn_core.evaluate``: the same as ``legonn evaluate``."""

from __future__ import annotations

import argparse
import sys

from legonn_core.evaluate import command

parser = argparse.ArgumentParser(
    prog="legonn evaluate",
    description=command.HELP,
    epilog=command.EXAMPLES,
    formatter_class=argparse.RawDescriptionHelpFormatter,
)
command.add_arguments(parser)
sys.exit(command.run(parser.parse_args()))
