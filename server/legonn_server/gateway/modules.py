"""ModuleService: what is loaded and routed, and changes of both."""

from __future__ import annotations

import asyncio

from legonn.v1 import module_card_pb2 as card_pb
from legonn.v1 import module_service_pb2 as pb
from legonn.v1 import module_service_pb2_grpc as pb_grpc
from legonn_core.errors import (
    BadConfig,
    DeadlineMissed,
    NotImplementedYet,
    UnknownModule,
)
from legonn_core.runtime.messages import ModuleDescription, ModuleRef
from legonn_server.gateway.convert import duration
from legonn_server.gateway.interceptors.telemetry import current_request_id
from legonn_server.gateway.interceptors.wrapping import Context
from legonn_server.gateway.services import Services
from legonn_server.routing.routes import (
    Modality,
    Route,
    RouteKey,
    RouteTable,
    primary_language,
    route_key,
    version_order,
)

_MODALITIES = {
    card_pb.MODALITY_SPEECH: Modality.SPEECH,
    card_pb.MODALITY_TEXT: Modality.TEXT,
}
_KINDS = {
    "SPEECH_ENCODER": (card_pb.MODULE_KIND_ENCODER, card_pb.MODALITY_SPEECH),
    "TEXT_ENCODER": (card_pb.MODULE_KIND_ENCODER, card_pb.MODALITY_TEXT),
    "DECODER": (card_pb.MODULE_KIND_DECODER, card_pb.MODALITY_UNSPECIFIED),
}
_PAGE_SIZE, _MAX_PAGE_SIZE = 100, 1_000
_MAX_WAIT_SECONDS = 600


class ModuleService(pb_grpc.ModuleServiceServicer):
    """Handlers; decisions are the module manager's."""

    def __init__(self, services: Services) -> None:
        self._modules = services.modules

    async def ListModules(
        self, request: pb.ListModulesRequest, context: Context
    ) -> pb.ListModulesResponse:
        """A page of modules by name."""
        del context
        return self.list(request)

    def list(self, request: pb.ListModulesRequest) -> pb.ListModulesResponse:
        """The same for any transport."""
        size = request.page_size or _PAGE_SIZE
        if not 1 <= size <= _MAX_PAGE_SIZE:
            raise BadConfig(f"page_size lies in [1, {_MAX_PAGE_SIZE}]")
        names = sorted({module.ref.name for module in self._modules.modules})
        names = [
            name for name in names if name.startswith(request.filter) and name > request.page_token
        ]
        page = names[:size]
        return pb.ListModulesResponse(
            request_id=current_request_id.get(),
            modules=[self._module(name) for name in page],
            next_page_token=page[-1] if len(names) > size else "",
        )

    async def GetModule(
        self, request: pb.GetModuleRequest, context: Context
    ) -> pb.GetModuleResponse:
        """One module with its versions."""
        del context
        if not request.name:
            raise BadConfig("name is missing")
        return pb.GetModuleResponse(
            request_id=current_request_id.get(), module=self._module(request.name)
        )

    async def LoadModule(
        self, request: pb.LoadModuleRequest, context: Context
    ) -> pb.LoadModuleResponse:
        """Bring a version into memory; this version always waits for the end of it."""
        del context
        ref = _ref(request.name, request.version)
        seconds = request.wait_duration.ToMilliseconds() / 1000
        if not 0 <= seconds <= _MAX_WAIT_SECONDS:
            raise BadConfig(f"wait_duration lies in [0 s, {_MAX_WAIT_SECONDS} s]")
        try:
            async with asyncio.timeout(seconds or _MAX_WAIT_SECONDS):
                await self._modules.load(ref)
        except TimeoutError:
            raise DeadlineMissed(f"{ref} was not loaded within {seconds:g} s") from None
        return pb.LoadModuleResponse(
            request_id=current_request_id.get(), module=self._module(ref.name)
        )

    async def UnloadModule(
        self, request: pb.UnloadModuleRequest, context: Context
    ) -> pb.UnloadModuleResponse:
        """Take a version out of memory that no route names."""
        del context
        if request.drain:
            raise NotImplementedYet("drain is not served by this version")
        ref = _ref(request.name, request.version)
        await self._modules.unload(ref)
        left = any(module.ref.name == ref.name for module in self._modules.modules)
        return pb.UnloadModuleResponse(
            request_id=current_request_id.get(),
            module=self._module(ref.name) if left else card_pb.Module(name=ref.name),
        )

    async def SetRoute(self, request: pb.SetRouteRequest, context: Context) -> pb.SetRouteResponse:
        """Add or replace a route."""
        del context
        key = _key(request.route)
        try:
            route = Route(
                ModuleRef.parse(request.route.encoder), ModuleRef.parse(request.route.decoder)
            )
        except ValueError as error:
            raise BadConfig("encoder and decoder are written name/version") from error
        table = self._modules.set_route(key, route, expected=request.expected_generation)
        return pb.SetRouteResponse(request_id=current_request_id.get(), table=_table(table))

    async def GetRoutes(
        self, request: pb.GetRoutesRequest, context: Context
    ) -> pb.GetRoutesResponse:
        """The routes of this moment."""
        del request, context
        return self.routes()

    def routes(self) -> pb.GetRoutesResponse:
        """The same for any transport."""
        return pb.GetRoutesResponse(
            request_id=current_request_id.get(), table=_table(self._modules.table)
        )

    async def WatchModules(  # type: ignore[override]
        self, request: pb.WatchModulesRequest, context: Context
    ) -> None:
        """Settled in the protos; served by a later version."""
        raise NotImplementedYet("WatchModules is not served by this version; use ListModules")

    def _module(self, name: str) -> card_pb.Module:
        found = [module for module in self._modules.modules if module.ref.name == name]
        if not found:
            raise UnknownModule("no module of this name is loaded")
        found.sort(key=lambda module: version_order(module.ref.version), reverse=True)
        kind, modality = _KINDS[found[0].kind]
        return card_pb.Module(
            name=name,
            kind=kind,
            modality=modality,
            source_language_code=found[0].source_language,
            target_language_code=found[0].target_language,
            versions=[self._version(module) for module in found],
        )

    def _version(self, module: ModuleDescription) -> card_pb.ModuleVersion:
        is_routed = self._modules.names(module.ref)
        found = card_pb.ModuleVersion(
            version=module.ref.version,
            state=card_pb.MODULE_STATE_SERVING if is_routed else card_pb.MODULE_STATE_WARM,
            digest=module.weights_digest,
            contract=card_pb.Contract(
                vocabulary=module.vocabulary,
                fingerprint=module.fingerprint,
                rows_per_second=1000 / module.row_ms if module.row_ms else 0.0,
            ),
            num_parameters=module.num_parameters,
            device="cpu",
            sample_rate_hertz=module.sample_rate_hertz,
            scores=module.scores,
        )
        if module.chunk_samples and module.sample_rate_hertz:
            found.chunk_duration.CopyFrom(duration(module.chunk_samples, module.sample_rate_hertz))
        return found


def _ref(name: str, version: str) -> ModuleRef:
    """A module of the store; anything that could be a path is refused."""
    for part in (name, version):
        if not part or not all(one.isalnum() or one in "-_" for one in part) or not part.isascii():
            raise BadConfig("name and version are letters, digits, - and _")
    return ModuleRef(name, version)


def _key(route: card_pb.Route) -> RouteKey:
    if route.modality not in _MODALITIES:
        raise BadConfig("route.modality is missing")
    if not route.source_language_code or not route.target_language_code:
        raise BadConfig("route.source_language_code and route.target_language_code are required")
    same = primary_language(route.source_language_code) == primary_language(
        route.target_language_code
    )
    task = card_pb.TASK_TRANSCRIBE if same else card_pb.TASK_TRANSLATE
    if route.task not in (card_pb.TASK_UNSPECIFIED, task):
        raise BadConfig("route.task does not go with its languages")
    return route_key(
        _MODALITIES[route.modality],
        route.source_language_code,
        route.target_language_code,
        model=route.model,
    )


def _table(table: RouteTable) -> card_pb.RouteTable:
    names = {Modality.SPEECH.value: card_pb.MODALITY_SPEECH}
    routes = [
        card_pb.Route(
            task=card_pb.TASK_TRANSCRIBE if key.source == key.target else card_pb.TASK_TRANSLATE,
            modality=names.get(key.modality, card_pb.MODALITY_TEXT),
            source_language_code=key.source,
            target_language_code=key.target,
            model=key.model,
            encoder=str(route.encoder),
            decoder=str(route.decoder),
        )
        for key, route in table.routes.items()
    ]
    routes.sort(
        key=lambda one: (
            one.task,
            one.modality,
            one.source_language_code,
            one.target_language_code,
            one.model,
        )
    )
    return card_pb.RouteTable(generation=table.number, routes=routes)
