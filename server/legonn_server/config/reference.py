"""Writes docs/behaviour.md from the code: ``python -m legonn_server.config.reference``.

States, limits, queues and errors stand there as the code has them; a check fails when the page is
old.
"""

from __future__ import annotations

import argparse
import inspect
import re
import sys
from collections.abc import Iterator, Sequence
from dataclasses import MISSING, fields
from enum import Enum
from pathlib import Path

from legonn_core import errors
from legonn_server.config.queues import QUEUES
from legonn_server.config.settings import Settings
from legonn_server.gateway.interceptors.errors import status_code
from legonn_server.gateway.interceptors.web import http_status
from legonn_server.session.table import TRANSITIONS

PAGE = Path("docs/behaviour.md")

_HEAD = """# Behaviour

What a server promises in every state, where its limits are, and what it does at them. Written by `make docs` from the code; do not edit.
"""  # noqa: E501 - a paragraph of the page is one line

_SETTINGS = """
## Settings and limits

Each is a key of the settings file, `[section]` and name; `LEGONN_SECTION__NAME` in the environment; some are options of `legonn serve` as well. `legonn serve --print-config` shows the values of a server with their sources. What belongs to a tenant (calls, audio and text a minute, priority) stands in the access file: [access.md](access.md).
"""  # noqa: E501

_QUEUES = """
## What waits, and what happens when it is full

A message that is too large, too long or too many for a limit above is refused with `LIMIT_EXCEEDED` before anything is done with it; a compressed file is decoded in a process of its own and cut at the limit of its length, whatever its size says. Nothing waits without a bound:

| what waits | bound | seen in `legonn_…` | when full |
|---|---|---|---|
"""  # noqa: E501

_ERRORS = """
## Errors

The reason is in `google.rpc.ErrorInfo` and in the JSON of HTTP; after `later` the answer says how long (`RetryInfo`, `retry-after`).

| reason | gRPC | HTTP | retry | means |
|---|---|---|---|---|
"""  # noqa: E501

_STATES = """
## States of a speech stream

```mermaid
stateDiagram-v2
"""


def page() -> str:
    """The whole page."""
    parts = [_HEAD, _STATES, *_state_lines(), "```\n", _SETTINGS]
    for section, about in Settings.model_fields.items():
        parts += _section(section, about.default)
    parts.append(_QUEUES)
    parts += [
        f"| {one.name} | {one.bound} | `{one.metric}` | {one.when_full} |\n" for one in QUEUES
    ]
    parts.append(_ERRORS)
    parts += [_error(cls) for cls in errors.error_classes() if cls is not errors.LegonnError]
    return "".join(parts)


def _state_lines() -> Iterator[str]:
    yield "    [*] --> AWAITING_CONFIG\n"
    for (state, event), following in TRANSITIONS.items():
        if state is not following:
            yield f"    {state.name} --> {following.name}: {event.__name__}\n"
    yield "    CLOSED --> [*]\n    FAILED --> [*]\n"


def _section(name: str, about: object) -> Iterator[str]:
    kind = type(about)
    meanings = attributes(kind)
    yield f"\n### [{name}]\n\n| name | default | meaning |\n|---|---|---|\n"
    for one in fields(about):  # type: ignore[arg-type]  # every section is a dataclass
        assert one.default is not MISSING
        meaning = meanings[one.name].replace("|", "\\|")
        yield f"| `{one.name}` | {_shown(one.default)} | {meaning} |\n"


def _shown(value: object) -> str:
    if isinstance(value, Enum):
        return f"`{value.value}`"
    if isinstance(value, bool):
        return "`true`" if value else "`false`"
    return "none" if value in ("", None) else f"`{value}`"


def attributes(kind: type) -> dict[str, str]:
    """Meanings of a class's fields, as its docstring's ``Attributes`` give them."""
    text = inspect.getdoc(kind) or ""
    _, _, listed = text.partition("Attributes:\n")
    found = re.findall(r"^    (\w+): (.*(?:\n     +.*)*)", listed, flags=re.MULTILINE)
    return {name: re.sub(r"\s+", " ", meaning).replace("``", "`") for name, meaning in found}


def _error(cls: type[errors.LegonnError]) -> str:
    told = cls("")
    meaning = (inspect.getdoc(cls) or "").partition("\n")[0]
    return (
        f"| `{cls.reason}` | {status_code(told).name} | {http_status(told)} |"
        f" {cls.retry.value} | {meaning} |\n"
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the page, or with --check say whether it is what the code gives."""
    parser = argparse.ArgumentParser(prog="behaviour reference", description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; 1 if the page is old")
    if not parser.parse_args(arguments).check:
        PAGE.write_text(page(), encoding="utf-8")
        return 0
    if PAGE.is_file() and PAGE.read_text(encoding="utf-8") == page():
        return 0
    sys.stderr.write(f"{PAGE} is not what the code says; run: make docs\n")
    return 1


if __name__ == "__main__":
    sys.exit(main())
