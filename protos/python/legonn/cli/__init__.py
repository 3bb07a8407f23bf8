"""The command ``legonn``: one file a sub-command, heavier ones found by entry points.

Job: read a command line, call the SDK, print. May import: the rest of ``legonn``. Start here:
``main``.
Errors are one sentence on stderr. Exit codes: 0 all went well, 1 something failed, 2 wrong usage,
130 interrupted.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence

from legonn import __version__
from legonn.cli.commands import MissingExtra, listing, load, names
from legonn.cli.connection import adopt, explain
from legonn.errors import LegonnError

EXAMPLES = """examples:
  legonn serve                                  start a server here
  legonn transcribe --live talk.wav             watch a recording being transcribed as it plays
  legonn listen                                 caption what the microphone hears
  legonn captions talk.wav --out talk.vtt       captions for a player
  legonn transcribe --json *.flac > out.jsonl   words with times, one object a file
  legonn translate --from de "Guten Morgen!"    translate a sentence
  legonn translate --from ro < in.txt           translate line by line
  legonn doctor                                 find out what is wrong

The server is --address, else $LEGONN_ADDRESS, else 127.0.0.1:50051. If it asks who is calling:
--key or $LEGONN_KEY; if it speaks TLS: --ca or $LEGONN_CA.
`legonn COMMAND --help` says more."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command line and return its exit code."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    try:
        if not words or words[0].startswith("-") or words[0] not in names():
            _overview(words)
            return 0
        is_pair = " ".join(words[:2]) in names()  # `modules export` is a command of its own
        return _run(" ".join(words[: 1 + is_pair]), words[1 + is_pair :])
    except MissingExtra as missing:
        return _fail(str(missing))
    except KeyboardInterrupt:
        print(file=sys.stderr)
        return 130
    except BrokenPipeError:
        # The reader, such as `head`, has enough; Python would say so again when it flushes.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except OSError as error:
        return _fail(f"{error.filename}: {error.strerror}" if error.filename else str(error))


def _run(name: str, words: Sequence[str]) -> int:
    command = load(name)
    parser = argparse.ArgumentParser(
        prog=f"legonn {name}",
        description=command.HELP,
        epilog=getattr(command, "EXAMPLES", None),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    command.add_arguments(parser)
    parsed = parser.parse_args(words)
    if hasattr(parsed, "address"):
        adopt(parsed)
    try:
        code = command.run(parsed)
    except LegonnError as error:
        return _fail(explain(error, getattr(parsed, "address", "")))
    sys.stdout.flush()
    return code


def _overview(words: Sequence[str]) -> None:
    """Parse a line without a known command: --help, --version, or wrong usage (exits with 2)."""
    parser = argparse.ArgumentParser(
        prog="legonn",
        description="Speech and text to English text, from a legonn server.",
        usage="legonn COMMAND …",
        epilog=f"{listing()}\n\n{EXAMPLES}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"legonn {__version__}")
    parser.parse_args([word for word in words if word.startswith("-")][:1])
    if words and not words[0].startswith("-"):
        parser.error(f"there is no command {words[0]!r}; there are {', '.join(names())}")
    parser.print_help()


def _fail(sentence: str) -> int:
    print(f"legonn: {sentence}", file=sys.stderr)
    return 1
