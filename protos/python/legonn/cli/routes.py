"""``legonn routes``: which modules serve what, and changing that while streams go on."""

from __future__ import annotations

import argparse
import json
import tomllib
from dataclasses import asdict
from pathlib import Path
from typing import Any

from legonn._swap import parts
from legonn.cli.connection import add_address
from legonn.client import Client
from legonn.errors import BadConfig
from legonn.routes import Canary, Route, RouteTable, Shadow

HELP = "show and change which modules serve what"
EXAMPLES = """examples:
  legonn routes                                              a table
  legonn routes set speech en en speech-en/2 decoder-en/1    change one route
  legonn routes apply routes.toml                            load what it names, set all of it

A server that follows a routes file (`legonn serve --routes DIR`) writes changes to that file, or
refuses them if it may not. docs/swap.md describes the file."""

_MODALITIES = ("speech", "text")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the actions and their arguments; without an action it is ``show``."""
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    add_address(parser)
    actions = parser.add_subparsers(dest="action", metavar="ACTION", title="actions")
    show = actions.add_parser("show", help="show the routes")
    show.add_argument("--json", action="store_true", default=argparse.SUPPRESS)
    one = actions.add_parser("set", help="add or replace one route; its modules are in memory")
    one.add_argument("modality", choices=_MODALITIES)
    for name in ("source", "target", "encoder", "decoder"):
        one.add_argument(name)
    one.add_argument("--model", default="", help="the name by which callers ask for it")
    one.add_argument(
        "--expect", type=int, default=0, metavar="N", help="change nothing unless this is current"
    )
    apply = actions.add_parser("apply", help="set every route of a file; others stay as they are")
    apply.add_argument("file", type=Path)
    for action in (show, one, apply):
        add_address(action, is_repeated=True)


def run(arguments: argparse.Namespace) -> int:
    """Carry out the action."""
    with Client(arguments.address) as client:
        match arguments.action:
            case "set":
                route = Route(
                    task="",
                    modality=arguments.modality.upper(),
                    source_language=arguments.source,
                    target_language=arguments.target,
                    encoder=arguments.encoder,
                    decoder=arguments.decoder,
                    model=arguments.model,
                )
                found = client.set_route(route, expected_generation=arguments.expect)
            case "apply":
                found = _apply(client, arguments.file)
            case _:
                found = client.routes()
    if arguments.json:
        print(json.dumps(asdict(found), ensure_ascii=False))
        return 0
    for line in table(found):
        print(line)
    return 0


def _apply(client: Client, file: Path) -> RouteTable:
    """Load what a file names, then set its routes, each on top of the one before."""
    routes = read(file.read_text(encoding="utf-8"))
    sides = [
        side
        for route in routes
        for one in (route, route.canary, route.shadow)
        if one is not None
        for side in (one.encoder, one.decoder)
        if side
    ]
    for module in sorted(set(sides)):
        client.load_module(*parts(module), wait_s=540.0)
    found = client.routes()
    for route in routes:
        found = client.set_route(route, expected_generation=found.generation)
    return found


def read(text: str) -> list[Route]:
    """The routes of a file in the form of docs/swap.md.

    Raises:
        BadConfig: If it cannot be read; the server checks what it says.
    """
    try:
        entries = tomllib.loads(text).get("routes", [])
        return [_route(entry) for entry in entries]
    except (tomllib.TOMLDecodeError, KeyError, TypeError, ValueError, AttributeError) as error:
        raise BadConfig(f"the routes cannot be read: {error}") from error


def _route(entry: dict[str, Any]) -> Route:
    if entry["modality"] not in _MODALITIES:
        raise ValueError(f"a modality is speech or text, not {entry['modality']!r}")
    return Route(
        task="",
        modality=entry["modality"].upper(),
        source_language=entry["source"],
        target_language=entry["target"],
        model=entry.get("model", ""),
        encoder=entry["encoder"],
        decoder=entry["decoder"],
        canary=_canary(**entry["canary"]) if "canary" in entry else None,
        shadow=Shadow(**entry["shadow"]) if "shadow" in entry else None,
    )


def _canary(*, hold_seconds: float = 60.0, steps: tuple[int, ...] = (), **plan: Any) -> Canary:
    return Canary(hold_s=hold_seconds, steps=tuple(steps), **plan)


def table(routes: RouteTable) -> list[str]:
    """The routes as aligned columns under a heading."""
    rows = [("INPUT", "LANGUAGES", "MODEL", "ENCODER", "DECODER", "BESIDE")]
    for one in routes.routes:
        languages = dict.fromkeys((one.source_language, one.target_language))
        rows.append(
            (
                one.modality.lower(),
                "→".join(languages),
                one.model or "-",
                one.encoder,
                one.decoder,
                _beside(one),
            )
        )
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]
    lines.append(f"generation {routes.generation}, content {routes.content_hash[:12]}")
    if routes.error:
        lines.append(f"NOT IN FORCE: {routes.error}")
    return lines


def _beside(route: Route) -> str:
    parts = []
    if route.canary is not None:
        trial = f"{route.canary.encoder}+{route.canary.decoder}"
        parts.append(f"canary {trial} at {route.canary.weight_percent} % {route.canary.status}")
    if route.shadow is not None:
        parts.append(f"shadow {route.shadow.encoder}+{route.shadow.decoder}")
    return ", ".join(part.strip() for part in parts)
