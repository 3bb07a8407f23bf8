"""Which sub-commands there are: this package's own, and those that other packages register.

A command is a module or object with ``HELP``, ``add_arguments`` and ``run``, and ``EXAMPLES`` if it
likes. Others register theirs under the entry-point group ``legonn.commands``; they are imported
only when they are used, since ``serve`` brings a server with it and ``train`` brings torch.
"""

from __future__ import annotations

import argparse
from importlib import import_module
from importlib.metadata import entry_points
from typing import Protocol, cast

OWN = ("transcribe", "captions", "listen", "translate", "modules", "routes", "doctor")
GROUP = "legonn.commands"
# What can be said of heavy commands without importing them: the extra, and what they do.
HEAVY = {
    "bench": ("loadtest", "play load against a server, or find how much it carries"),
    "modules export": ("core", "write a Triton model repository"),
    "modules sign": ("core", "sign a module version, or check who signed"),
    "serve": ("server", "start a server on this machine"),
    "train": ("train", "train a module from its recipe"),
    "evaluate": ("train", "measure modules: asr, mt, and the swap matrix"),
}


class Command(Protocol):
    """What a sub-command is."""

    HELP: str

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Declare its arguments."""

    def run(self, arguments: argparse.Namespace) -> int:
        """Do it, and return the exit code."""


class MissingExtra(Exception):
    """A command that needs more than the plain install; the message says what to install."""

    def __init__(self, name: str, missing: str) -> None:
        extra, _ = HEAVY.get(name, (name, ""))
        why = f" ({missing} is not installed)" if missing else ""
        super().__init__(
            f"`legonn {name}` needs more than the plain install{why}: pip install 'legonn[{extra}]'"
        )


def names() -> list[str]:
    """All commands that could be used, our own first."""
    others = {point.name for point in entry_points(group=GROUP)} | set(HEAVY)
    return [*OWN, *sorted(others - set(OWN))]


def listing() -> str:
    """All commands with what they do, a line each."""
    lines = ["commands:"]
    for name in names():
        what = load(name).HELP if name in OWN else HEAVY.get(name, ("", ""))[1]
        lines.append(f"  {name:<16}{what}".rstrip())
    return "\n".join(lines)


def load(name: str) -> Command:
    """Import a command.

    Raises:
        MissingExtra: If it, or something that it needs, is not installed.
    """
    if name in OWN:
        return cast(Command, import_module(f"legonn.cli.{name}"))
    for point in entry_points(group=GROUP, name=name):
        try:
            return cast(Command, point.load())
        except ModuleNotFoundError as error:
            raise MissingExtra(name, (error.name or "").partition(".")[0]) from error
    raise MissingExtra(name, "")
