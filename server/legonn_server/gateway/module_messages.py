"""Modules and routes as messages of the wire, and back."""

from __future__ import annotations

from collections.abc import Sequence

from google.protobuf.duration_pb2 import Duration

from legonn.v1 import module_card_pb2 as card_pb
from legonn.v1 import module_service_pb2 as pb
from legonn_core.errors import BadConfig
from legonn_core.runtime.messages import ModuleDescription, ModuleRef
from legonn_server.gateway.convert import duration
from legonn_server.pools.watching import Happening
from legonn_server.routing.routes import (
    Modality,
    Route,
    RouteKey,
    RouteTable,
    primary_language,
    route_key,
    version_order,
)
from legonn_server.routing.swap import Version, VersionState
from legonn_server.routing.trials import CanaryBands, CanaryPlan, ShadowPlan

_MODALITIES = {card_pb.MODALITY_SPEECH: Modality.SPEECH, card_pb.MODALITY_TEXT: Modality.TEXT}
_KINDS = {
    "SPEECH_ENCODER": (card_pb.MODULE_KIND_ENCODER, card_pb.MODALITY_SPEECH),
    "TEXT_ENCODER": (card_pb.MODULE_KIND_ENCODER, card_pb.MODALITY_TEXT),
    "DECODER": (card_pb.MODULE_KIND_DECODER, card_pb.MODALITY_UNSPECIFIED),
}
STATES = {state: f"MODULE_STATE_{state.name}" for state in VersionState}


def module_ref(name: str, version: str) -> ModuleRef:
    """A module of the store; anything that could be a path is refused.

    Raises:
        BadConfig: If a part is no name.
    """
    for part in (name, version):
        if not part or not all(one.isalnum() or one in "-_" for one in part) or not part.isascii():
            raise BadConfig("name and version are letters, digits, - and _")
    return ModuleRef(name, version)


def _parsed(text: str, field: str) -> ModuleRef:
    name, _, version = text.rpartition("/")
    try:
        return module_ref(name, version)
    except BadConfig as error:
        raise BadConfig(f"{field} is written name/version, such as speech-en/1") from error


def module_message(versions: Sequence[Version], pins: dict[ModuleRef, int]) -> card_pb.Module:
    """One module with what is known of its versions, newest first.

    Args:
        versions: All of one name, at least one.
        pins: Users by version.
    """
    ordered = sorted(versions, key=lambda one: version_order(one.ref.version), reverse=True)
    message = card_pb.Module(name=ordered[0].ref.name)
    described = next((one.module for one in ordered if one.module is not None), None)
    if described is not None:
        message.kind, message.modality = _KINDS[described.kind]
        message.source_language_code = described.source_language
        message.target_language_code = described.target_language
    message.versions.extend(_version(one, pins.get(one.ref, 0)) for one in ordered)
    return message


def _version(version: Version, num_pins: int) -> card_pb.ModuleVersion:
    found = card_pb.ModuleVersion(
        version=version.ref.version,
        state=STATES[version.state],
        num_pins=num_pins,
        error=version.error.message if version.error else "",
    )
    if version.module is not None:
        _describe(found, version.module)
    found.device = "cpu" if version.is_in_memory else ""
    return found


def _describe(found: card_pb.ModuleVersion, module: ModuleDescription) -> None:
    found.digest = module.weights_digest
    found.contract.CopyFrom(
        card_pb.Contract(
            vocabulary=module.vocabulary,
            fingerprint=module.fingerprint,
            rows_per_second=1000 / module.row_ms if module.row_ms else 0.0,
        )
    )
    found.num_parameters = module.num_parameters
    found.memory_bytes = module.memory_bytes
    found.sample_rate_hertz = module.sample_rate_hertz
    found.scores.update(module.scores)
    if module.load_seconds:
        found.load_duration.CopyFrom(seconds(module.load_seconds))
        found.warm_duration.CopyFrom(seconds(module.warm_seconds))
        found.checks["golden_difference"] = module.golden_difference
    if module.chunk_samples and module.sample_rate_hertz:
        found.chunk_duration.CopyFrom(duration(module.chunk_samples, module.sample_rate_hertz))


def seconds(value: float) -> Duration:
    """A time as a message."""
    return duration(round(value * 1e6), 1_000_000)


def event_message(happening: Happening) -> pb.ModuleEvent:
    """One thing that happened."""
    return pb.ModuleEvent(
        module=str(happening.ref) if happening.ref else "",
        state=STATES[happening.state] if happening.state else None,
        text=happening.text,
        elapsed_duration=seconds(happening.elapsed_s),
    )


# --- routes


def read_key(route: card_pb.Route) -> RouteKey:
    """What a route serves.

    Raises:
        BadConfig: If a field is missing or the task does not go with the languages.
    """
    if route.modality not in _MODALITIES:
        raise BadConfig("route.modality is missing")
    if not route.source_language_code or not route.target_language_code:
        raise BadConfig("route.source_language_code and route.target_language_code are required")
    source, target = route.source_language_code, route.target_language_code
    same = primary_language(source) == primary_language(target)
    task = card_pb.TASK_TRANSCRIBE if same else card_pb.TASK_TRANSLATE
    if route.task not in (card_pb.TASK_UNSPECIFIED, task):
        raise BadConfig("route.task does not go with its languages")
    return route_key(_MODALITIES[route.modality], source, target, model=route.model)


def read_route(message: card_pb.Route) -> Route:
    """What serves it.

    Raises:
        BadConfig: If a module is not written name/version, or a plan makes no sense.
    """
    encoder = _parsed(message.encoder, "route.encoder")
    decoder = _parsed(message.decoder, "route.decoder")
    canary = _read_canary(message.canary, encoder, decoder) if message.HasField("canary") else None
    shadow = None
    if message.HasField("shadow"):
        beside = message.shadow
        try:
            shadow = ShadowPlan(
                _parsed(beside.encoder, "shadow.encoder") if beside.encoder else encoder,
                _parsed(beside.decoder, "shadow.decoder") if beside.decoder else decoder,
                beside.percent or 100,
            )
        except ValueError as error:
            raise BadConfig(f"shadow: {error}") from error
    return Route(encoder, decoder, canary, shadow)


def _read_canary(plan: card_pb.Canary, encoder: ModuleRef, decoder: ModuleRef) -> CanaryPlan:
    bands = CanaryBands()
    try:
        return CanaryPlan(
            encoder=_parsed(plan.encoder, "canary.encoder") if plan.encoder else encoder,
            decoder=_parsed(plan.decoder, "canary.decoder") if plan.decoder else decoder,
            steps=tuple(plan.steps) or (1, 10, 50, 100),
            hold_seconds=plan.hold_duration.ToMilliseconds() / 1000
            if plan.HasField("hold_duration")
            else 60.0,
            min_segments=plan.min_segments or 30,
            bands=CanaryBands(
                plan.bands.max_error_percent or bands.max_error_percent,
                plan.bands.max_latency_ratio or bands.max_latency_ratio,
                plan.bands.max_blank_difference or bands.max_blank_difference,
            ),
        )
    except ValueError as error:
        raise BadConfig(f"canary: {error}") from error


def table_message(table: RouteTable, error: str = "") -> card_pb.RouteTable:
    """All routes, in the order of the contract."""
    routes = [_route(key, route) for key, route in table.routes.items()]
    routes.sort(
        key=lambda one: (
            one.task,
            one.modality,
            one.source_language_code,
            one.target_language_code,
            one.model,
        )
    )
    return card_pb.RouteTable(
        generation=table.number, routes=routes, content_hash=table.content_hash, error=error
    )


def _route(key: RouteKey, route: Route) -> card_pb.Route:
    is_speech = key.modality == Modality.SPEECH.value
    message = card_pb.Route(
        task=card_pb.TASK_TRANSCRIBE if key.source == key.target else card_pb.TASK_TRANSLATE,
        modality=card_pb.MODALITY_SPEECH if is_speech else card_pb.MODALITY_TEXT,
        source_language_code=key.source,
        target_language_code=key.target,
        model=key.model,
        encoder=str(route.encoder),
        decoder=str(route.decoder),
    )
    if route.canary is not None:
        plan = route.canary
        message.canary.encoder, message.canary.decoder = str(plan.encoder), str(plan.decoder)
        message.canary.steps.extend(plan.steps)
        message.canary.hold_duration.CopyFrom(seconds(plan.hold_seconds))
        message.canary.min_segments = plan.min_segments
        message.canary.bands.max_error_percent = plan.bands.max_error_percent
        message.canary.bands.max_latency_ratio = plan.bands.max_latency_ratio
        message.canary.bands.max_blank_difference = plan.bands.max_blank_difference
    if route.shadow is not None:
        message.shadow.encoder = str(route.shadow.encoder)
        message.shadow.decoder = str(route.shadow.decoder)
        message.shadow.percent = route.shadow.percent
    return message
