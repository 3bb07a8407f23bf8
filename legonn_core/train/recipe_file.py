"""A recipe's file: read with changes from the command line, and kept beside what it trained.

An experiment is often a recipe with one value changed. The change is said on the command line and
kept with the run, so that an evaluation can build the networks again and say what they were.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path

import tomli_w

from legonn_core.errors import BadConfig

KEPT = "recipe.toml"
"""Name of the copy in a run's folder."""


def read(path: Path, changes: Sequence[str] = ()) -> dict[str, object]:
    """A recipe's content after ``key=value`` changes, applied in order.

    Args:
        path: TOML.
        changes: ``key=value`` or ``table.key=value``; a value is TOML, or else taken as text.

    Raises:
        BadConfig: If a change has no ``=``, or its path leads through a value that is no table.
    """
    content: dict[str, object] = tomllib.loads(path.read_text("utf-8"))
    for change in changes:
        name, equals, value = change.partition("=")
        if not equals or not name:
            raise BadConfig(f"--with {change}: write key=value, such as --with seed=2")
        *tables, key = name.split(".")
        place = content
        for table in tables:
            inner = place.setdefault(table, {})
            if not isinstance(inner, dict):
                raise BadConfig(f"--with {change}: {table} is no table of the recipe")
            place = inner
        place[key] = _value(value)
    return content


def _value(text: str) -> object:
    try:
        return tomllib.loads(f"x = {text}")["x"]
    except tomllib.TOMLDecodeError:
        return text


def keep(folder: Path, content: Mapping[str, object]) -> None:
    """Write what a run is made by into its folder."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / KEPT).write_text(tomli_w.dumps(content), encoding="utf-8")
