"""ModuleService: what is loaded and routed, changes of both, and who watches them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from legonn.v1 import module_card_pb2 as card_pb
from legonn.v1 import module_service_pb2 as pb
from legonn.v1 import module_service_pb2_grpc as pb_grpc
from legonn_core.errors import BadConfig, DeadlineMissed, UnknownModule
from legonn_server.gateway.interceptors.telemetry import current_request_id
from legonn_server.gateway.interceptors.wrapping import Context
from legonn_server.gateway.module_messages import (
    event_message,
    module_message,
    module_ref,
    read_key,
    read_route,
    table_message,
)
from legonn_server.gateway.repeats import Repeats
from legonn_server.gateway.services import Services
from legonn_server.pools.watching import Change

_PAGE_SIZE, _MAX_PAGE_SIZE = 100, 1_000
_MAX_WAIT_SECONDS = 600


class ModuleService(pb_grpc.ModuleServiceServicer):
    """Handlers; decisions are the swap machine's."""

    def __init__(self, services: Services) -> None:
        self._modules = services.modules
        self._reconciler = services.reconciler
        self._repeats = Repeats()

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
        names = [
            name
            for name in self._names()
            if name.startswith(request.filter) and name > request.page_token
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
        """Bring a version into memory; without a wait the answer comes while it is LOADING."""
        del context
        ref = module_ref(request.name, request.version)
        seconds = request.wait_duration.ToMilliseconds() / 1000
        if not 0 <= seconds <= _MAX_WAIT_SECONDS:
            raise BadConfig(f"wait_duration lies in [0 s, {_MAX_WAIT_SECONDS} s]")
        known = self._repeats.find(request.request_id, pb.LoadModuleResponse)
        if known is not None:
            return known
        if seconds:
            try:
                async with asyncio.timeout(seconds):
                    await self._modules.load(ref)
            except TimeoutError:
                raise DeadlineMissed(f"{ref} was not loaded within {seconds:g} s") from None
        else:
            self._modules.begin_load(ref)
        answer = pb.LoadModuleResponse(
            request_id=current_request_id.get(), module=self._module(ref.name)
        )
        return self._repeats.keep(request.request_id, answer)

    async def UnloadModule(
        self, request: pb.UnloadModuleRequest, context: Context
    ) -> pb.UnloadModuleResponse:
        """Take a version out of memory that no route names; with drain, when it is free."""
        del context
        ref = module_ref(request.name, request.version)
        known = self._repeats.find(request.request_id, pb.UnloadModuleResponse)
        if known is not None:
            return known
        await self._modules.unload(ref, drain=request.drain)
        answer = pb.UnloadModuleResponse(
            request_id=current_request_id.get(), module=self._module(ref.name)
        )
        return self._repeats.keep(request.request_id, answer)

    async def SetRoute(self, request: pb.SetRouteRequest, context: Context) -> pb.SetRouteResponse:
        """Add or replace a route, in the routes file too if there is one."""
        del context
        known = self._repeats.find(request.request_id, pb.SetRouteResponse)
        if known is not None:
            return known
        table = self._reconciler.set_route(
            read_key(request.route),
            read_route(request.route),
            expected=request.expected_generation,
        )
        answer = pb.SetRouteResponse(
            request_id=current_request_id.get(), table=table_message(table)
        )
        return self._repeats.keep(request.request_id, answer)

    async def GetRoutes(
        self, request: pb.GetRoutesRequest, context: Context
    ) -> pb.GetRoutesResponse:
        """The routes of this moment."""
        del request, context
        return self.routes()

    def routes(self) -> pb.GetRoutesResponse:
        """The same for any transport."""
        return pb.GetRoutesResponse(request_id=current_request_id.get(), table=self._table())

    async def WatchModules(  # type: ignore[override]  # grpc.aio also takes a coroutine that writes
        self, request: pb.WatchModulesRequest, context: Context
    ) -> None:
        """Everything once, then each change as it happens."""
        del request
        async for message in self.watch():
            await context.write(message)

    async def watch(self) -> AsyncIterator[pb.WatchModulesResponse]:
        """The same for any transport; never ends by itself."""
        watchers = self._modules.watchers
        with watchers.watching() as changes:
            yield self._snapshot(watchers.number)
            while True:
                change = await changes.get()
                yield self._change(change)

    def _snapshot(self, number: int) -> pb.WatchModulesResponse:
        return pb.WatchModulesResponse(
            generation=number,
            is_snapshot=True,
            modules=[self._module(name) for name in self._names()],
            routes=self._table(),
        )

    def _change(self, change: Change) -> pb.WatchModulesResponse:
        happening = change.happening
        if change.is_lost:
            message = self._snapshot(change.number)
        else:
            message = pb.WatchModulesResponse(generation=change.number)
            if happening.ref is not None and happening.ref.name in self._names():
                message.modules.append(self._module(happening.ref.name))
            if change.has_routes:
                message.routes.CopyFrom(self._table())
        message.events.append(event_message(happening))
        return message

    def _names(self) -> tuple[str, ...]:
        return tuple(sorted({version.ref.name for version in self._modules.versions}))

    def _module(self, name: str) -> card_pb.Module:
        found = [version for version in self._modules.versions if version.ref.name == name]
        if not found:
            raise UnknownModule("no module of this name is known")
        return module_message(found, dict(self._modules.pins.counts))

    def _table(self) -> card_pb.RouteTable:
        error = self._modules.routes_error
        message = table_message(self._modules.table, error.message if error else "")
        shares = self._modules.shares
        for route in message.routes:
            if route.HasField("canary") and shares is not None:
                key = read_key(route)
                route.canary.weight_percent = round(shares.percent(key))
                route.canary.status = shares.status(key)
        return message
