"""ModuleService in plain values: requests from them, and answers back into them."""

from __future__ import annotations

import uuid

from legonn import _convert, routes
from legonn.errors import BadConfig
from legonn.v1 import module_card_pb2 as card
from legonn.v1 import module_service_pb2 as pb


def load_request(name: str, version: str, wait_s: float) -> pb.LoadModuleRequest:
    """A load, named so that it may be asked for again."""
    return pb.LoadModuleRequest(
        name=name,
        version=version,
        request_id=uuid.uuid4().hex,
        wait_duration=_convert.duration(wait_s),
    )


def unload_request(name: str, version: str, *, drain: bool) -> pb.UnloadModuleRequest:
    """An unload, named likewise."""
    return pb.UnloadModuleRequest(
        name=name, version=version, request_id=uuid.uuid4().hex, drain=drain
    )


def set_route_request(route: routes.Route, expected_generation: int) -> pb.SetRouteRequest:
    """A change of the routes, named likewise.

    Raises:
        BadConfig: If the task or modality is none.
    """
    try:
        message = card.Route(
            task=f"TASK_{route.task or 'UNSPECIFIED'}", modality=f"MODALITY_{route.modality}"
        )
    except ValueError:
        raise BadConfig(
            f"a route does TRANSCRIBE or TRANSLATE, for SPEECH or TEXT; not {route.task!r}, "
            f"{route.modality!r}"
        ) from None
    names = card.Route(
        source_language_code=route.source_language,
        target_language_code=route.target_language,
        model=route.model,
        encoder=route.encoder,
        decoder=route.decoder,
    )
    message.MergeFrom(names)
    if route.canary is not None:
        trial = route.canary
        message.canary.CopyFrom(
            card.Canary(
                encoder=trial.encoder,
                decoder=trial.decoder,
                steps=trial.steps,
                min_segments=trial.min_segments,
                hold_duration=_convert.duration(trial.hold_s) if trial.hold_s else None,
            )
        )
    if route.shadow is not None:
        beside = route.shadow
        message.shadow.CopyFrom(
            card.Shadow(encoder=beside.encoder, decoder=beside.decoder, percent=beside.percent)
        )
    return pb.SetRouteRequest(
        route=message, request_id=uuid.uuid4().hex, expected_generation=expected_generation
    )


def table(message: card.RouteTable) -> routes.RouteTable:
    """All routes."""
    return routes.RouteTable(
        generation=message.generation,
        routes=tuple(map(_route, message.routes)),
        content_hash=message.content_hash,
        error=message.error,
    )


def _route(message: card.Route) -> routes.Route:
    trial, beside = message.canary, message.shadow
    return routes.Route(
        task=_convert.enum_word(card.Task, message.task, "TASK_"),
        modality=_convert.enum_word(card.Modality, message.modality, "MODALITY_"),
        source_language=message.source_language_code,
        target_language=message.target_language_code,
        encoder=message.encoder,
        decoder=message.decoder,
        model=message.model,
        canary=routes.Canary(
            encoder=trial.encoder,
            decoder=trial.decoder,
            steps=tuple(trial.steps),
            hold_s=_convert.seconds(trial.hold_duration),
            min_segments=trial.min_segments,
            weight_percent=trial.weight_percent,
            status=trial.status,
        )
        if message.HasField("canary")
        else None,
        shadow=routes.Shadow(beside.encoder, beside.decoder, beside.percent)
        if message.HasField("shadow")
        else None,
    )


def news(message: pb.WatchModulesResponse) -> routes.ModuleNews:
    """One message of a watch."""
    return routes.ModuleNews(
        generation=message.generation,
        is_snapshot=message.is_snapshot,
        modules=tuple(info for module in message.modules for info in _convert.modules(module)),
        routes=table(message.routes) if message.HasField("routes") else None,
        events=tuple(
            routes.ModuleEvent(
                module=event.module,
                state=_state(event.state),
                text=event.text,
                elapsed_s=_convert.seconds(event.elapsed_duration),
            )
            for event in message.events
        ),
    )


def _state(state: card.ModuleState) -> str:
    """The state of a version; empty where the routes are meant."""
    return _convert.enum_word(card.ModuleState, state, "MODULE_STATE_") if state else ""
