"""``legonn routes``: which modules serve what, and changing that while streams go on."""

from __future__ import annotations

import argparse
import json
import tomllib
from pathlib import Path
from typing import Any

from google.protobuf.json_format import MessageToDict

from legonn.admin import Admin
from legonn.cli.connection import add_address
from legonn.errors import BadConfig
from legonn.v1 import module_card_pb2

HELP = "show and change which modules serve what"
EXAMPLES = """examples:
  legonn routes                                              a table
  legonn routes set speech en en speech-en/2 decoder-en/1    change one route
  legonn routes apply routes.toml                            load what it names, set all of it

A server that follows a routes file (`legonn serve --routes DIR`) writes changes to that file, or
refuses them if it may not. docs/swap.md describes the file."""

_MODALITIES = {"speech": module_card_pb2.MODALITY_SPEECH, "text": module_card_pb2.MODALITY_TEXT}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the actions and their arguments; without an action it is ``show``."""
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    add_address(parser)
    actions = parser.add_subparsers(dest="action", metavar="ACTION", title="actions")
    show = actions.add_parser("show", help="show the routes")
    show.add_argument("--json", action="store_true", default=argparse.SUPPRESS)
    one = actions.add_parser("set", help="add or replace one route; its modules are in memory")
    one.add_argument("modality", choices=sorted(_MODALITIES))
    for name in ("source", "target", "encoder", "decoder"):
        one.add_argument(name)
    one.add_argument("--model", default="", help="the name by which callers ask for it")
    one.add_argument(
        "--expect", type=int, default=0, metavar="N", help="change nothing unless this is current"
    )
    apply = actions.add_parser("apply", help="set every route of a file; others stay as they are")
    apply.add_argument("file", type=Path)
    for action in (show, one, apply):
        action.add_argument("--address", default=argparse.SUPPRESS, help=argparse.SUPPRESS)


def run(arguments: argparse.Namespace) -> int:
    """Carry out the action."""
    with Admin(arguments.address, timeout_s=60.0) as admin:
        match arguments.action:
            case "set":
                route = module_card_pb2.Route(
                    modality=_MODALITIES[arguments.modality],
                    source_language_code=arguments.source,
                    target_language_code=arguments.target,
                    encoder=arguments.encoder,
                    decoder=arguments.decoder,
                    model=arguments.model,
                )
                found = admin.set_route(route, expected_generation=arguments.expect)
            case "apply":
                found = _apply(admin, arguments.file)
            case _:
                found = admin.routes()
    if arguments.json:
        print(json.dumps(MessageToDict(found, preserving_proto_field_name=True)))
        return 0
    for line in table(found):
        print(line)
    return 0


def _apply(admin: Admin, file: Path) -> module_card_pb2.RouteTable:
    """Load what a file names, then set its routes, each on top of the one before."""
    routes = read(file.read_text(encoding="utf-8"))
    for module in sorted(
        {getattr(part, side) for route in routes for part in _parts(route) for side in _SIDES}
        - {""}
    ):
        admin.load(module, wait_s=540.0)
    found = admin.routes()
    for route in routes:
        found = admin.set_route(route, expected_generation=found.generation)
    return found


_SIDES = ("encoder", "decoder")


def _parts(
    route: module_card_pb2.Route,
) -> tuple[module_card_pb2.Route | module_card_pb2.Canary | module_card_pb2.Shadow, ...]:
    return (route, route.canary, route.shadow)


def read(text: str) -> list[module_card_pb2.Route]:
    """The routes of a file in the form of docs/swap.md.

    Raises:
        BadConfig: If it cannot be read; the server checks what it says.
    """
    try:
        entries = tomllib.loads(text).get("routes", [])
        return [_route(entry) for entry in entries]
    except (tomllib.TOMLDecodeError, KeyError, TypeError, ValueError, AttributeError) as error:
        raise BadConfig(f"the routes cannot be read: {error}") from error


def _route(entry: dict[str, Any]) -> module_card_pb2.Route:
    route = module_card_pb2.Route(
        modality=_MODALITIES[entry["modality"]],
        source_language_code=entry["source"],
        target_language_code=entry["target"],
        model=entry.get("model", ""),
        encoder=entry["encoder"],
        decoder=entry["decoder"],
    )
    if "canary" in entry:
        plan = dict(entry["canary"])
        hold = plan.pop("hold_seconds", 60.0)
        route.canary.CopyFrom(module_card_pb2.Canary(**plan))
        route.canary.hold_duration.FromMilliseconds(round(hold * 1000))
    if "shadow" in entry:
        route.shadow.CopyFrom(module_card_pb2.Shadow(**entry["shadow"]))
    return route


def table(routes: module_card_pb2.RouteTable) -> list[str]:
    """The routes as aligned columns under a heading."""
    rows = [("INPUT", "LANGUAGES", "MODEL", "ENCODER", "DECODER", "BESIDE")]
    for one in routes.routes:
        is_speech = one.modality == module_card_pb2.MODALITY_SPEECH
        languages = dict.fromkeys((one.source_language_code, one.target_language_code))
        rows.append(
            (
                "speech" if is_speech else "text",
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


def _beside(route: module_card_pb2.Route) -> str:
    parts = []
    if route.HasField("canary"):
        trial = f"{route.canary.encoder}+{route.canary.decoder}"
        parts.append(f"canary {trial} at {route.canary.weight_percent} % {route.canary.status}")
    if route.HasField("shadow"):
        parts.append(f"shadow {route.shadow.encoder}+{route.shadow.decoder}")
    return ", ".join(part.strip() for part in parts)
