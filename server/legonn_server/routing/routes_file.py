"""The routes file: what serves what, written by people, read by every gateway.

    generation = 3                    # one more with each change

    [[routes]]
    modality = "speech"
    source = "en"
    target = "en"
    encoder = "speech-en/1"
    decoder = "decoder-en/1"

    [routes.canary]                   # optional: another version with a part of the sessions
    encoder = "speech-en/2"
    steps = [1, 10, 50, 100]

This room reads and writes text; files are the watcher's.
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, field

import tomli_w

from legonn_core.errors import BadConfig
from legonn_core.interface.tables import TableError, read_table, write_table
from legonn_core.runtime.messages import ModuleRef
from legonn_server.routing.routes import Modality, Route, RouteKey, RouteTable, route_key
from legonn_server.routing.trials import CanaryBands, CanaryPlan, ShadowPlan


@dataclass(frozen=True, slots=True)
class CanaryEntry:
    """``[routes.canary]``; an absent module is the route's own."""

    encoder: str = ""
    decoder: str = ""
    steps: tuple[int, ...] = (1, 10, 50, 100)
    hold_seconds: float = 60.0
    min_segments: int = 30
    bands: CanaryBands = field(default_factory=CanaryBands)


@dataclass(frozen=True, slots=True)
class ShadowEntry:
    """``[routes.shadow]``; an absent module is the route's own."""

    encoder: str = ""
    decoder: str = ""
    percent: int = 100


@dataclass(frozen=True, slots=True)
class RouteEntry:
    """``[[routes]]``."""

    modality: Modality
    source: str
    target: str
    encoder: str
    decoder: str
    model: str = ""
    canary: CanaryEntry | None = None
    shadow: ShadowEntry | None = None


@dataclass(frozen=True, slots=True)
class RoutesFile:
    """The whole file."""

    generation: int
    routes: tuple[RouteEntry, ...]


def parse(text: str) -> RouteTable:
    """Read a routes file.

    Raises:
        BadConfig: If it cannot be one; names the key.
    """
    try:
        read = read_table(RoutesFile, tomllib.loads(text))
    except (tomllib.TOMLDecodeError, TableError) as error:
        raise BadConfig(f"routes file: {error}") from error
    if read.generation < 1:
        raise BadConfig("routes file: generation is at least 1")
    if not read.routes:
        raise BadConfig("routes file: there is no [[routes]]")
    routes: dict[RouteKey, Route] = {}
    for number, entry in enumerate(read.routes):
        where = f"routes file: routes[{number}]"
        try:
            key = route_key(entry.modality, entry.source, entry.target, model=entry.model)
            route = _route(entry)
        except (BadConfig, ValueError) as error:
            raise BadConfig(f"{where}: {error}") from error
        if key in routes:
            raise BadConfig(f"{where}: {key} is routed twice")
        routes[key] = route
    return RouteTable(read.generation, routes)


def dump(table: RouteTable) -> str:
    """Write what ``parse`` reads."""
    entries = tuple(_entry(key, route) for key, route in sorted(table.routes.items(), key=_key))
    head = "# Read by every gateway that watches this folder; see docs/swap.md.\n"
    return head + tomli_w.dumps(write_table(RoutesFile(table.number, entries)))


def _key(item: tuple[RouteKey, Route]) -> RouteKey:
    return item[0]


def _route(entry: RouteEntry) -> Route:
    encoder, decoder = ModuleRef.parse(entry.encoder), ModuleRef.parse(entry.decoder)
    canary, shadow = None, None
    if entry.canary is not None:
        plan = entry.canary
        canary = CanaryPlan(
            encoder=ModuleRef.parse(plan.encoder) if plan.encoder else encoder,
            decoder=ModuleRef.parse(plan.decoder) if plan.decoder else decoder,
            steps=plan.steps,
            hold_seconds=plan.hold_seconds,
            min_segments=plan.min_segments,
            bands=plan.bands,
        )
        if (canary.encoder, canary.decoder) == (encoder, decoder):
            raise ValueError("canary names no other module than the route")
    if entry.shadow is not None:
        beside = entry.shadow
        shadow = ShadowPlan(
            encoder=ModuleRef.parse(beside.encoder) if beside.encoder else encoder,
            decoder=ModuleRef.parse(beside.decoder) if beside.decoder else decoder,
            percent=beside.percent,
        )
    return Route(encoder, decoder, canary, shadow)


def _entry(key: RouteKey, route: Route) -> RouteEntry:
    shadow = route.shadow
    return RouteEntry(
        modality=Modality(key.modality),
        source=key.source,
        target=key.target,
        model=key.model,
        encoder=str(route.encoder),
        decoder=str(route.decoder),
        canary=_canary_entry(route.canary) if route.canary else None,
        shadow=ShadowEntry(str(shadow.encoder), str(shadow.decoder), shadow.percent)
        if shadow
        else None,
    )


def _canary_entry(plan: CanaryPlan) -> CanaryEntry:
    return CanaryEntry(
        encoder=str(plan.encoder),
        decoder=str(plan.decoder),
        steps=plan.steps,
        hold_seconds=plan.hold_seconds,
        min_segments=plan.min_segments,
        bands=plan.bands,
    )
