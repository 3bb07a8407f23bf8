"""The operator's side of both clients: modules come and go, routes change, and somebody watches."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Generator, Iterator
from contextlib import aclosing, closing
from typing import TYPE_CHECKING, TypeVar

from legonn import _channel, _convert, _routes
from legonn._swap import Swap
from legonn.errors import Unavailable
from legonn.routes import Canary, ModuleEvent, ModuleNews, Route, RouteTable
from legonn.streams import ModuleInfo
from legonn.v1 import module_service_pb2 as pb

if TYPE_CHECKING:
    from legonn.v1.module_service_pb2_grpc import ModuleServiceAsyncStub, ModuleServiceStub

Answer = TypeVar("Answer")
SWAP_SECONDS = 600.0
_WATCH_ENDED = "the server ended its news of modules"


class ModuleCalls(ABC):
    """ModuleService, blocking; a part of ``Client``, which has the connection."""

    _modules: ModuleServiceStub

    @abstractmethod
    def _call(
        self, method: Callable[..., Answer], request: object, *, more_s: float = 0.0
    ) -> Answer:
        """The answer to a call, with the client's retries and time limit, and so much more time."""

    def modules(self) -> list[ModuleInfo]:
        """All versions of all modules that the server knows, by name."""
        request = pb.ListModulesRequest()
        found: list[ModuleInfo] = []
        while True:
            page = self._call(self._modules.ListModules, request)
            found += [info for module in page.modules for info in _convert.modules(module)]
            if not page.next_page_token:
                return found
            request.page_token = page.next_page_token

    def module(self, name: str) -> list[ModuleInfo]:
        """The versions of one module.

        Raises:
            NotFound: If the server knows no such module.
        """
        request = pb.GetModuleRequest(name=name)
        return list(_convert.modules(self._call(self._modules.GetModule, request).module))

    def load_module(self, name: str, version: str, *, wait_s: float = 0.0) -> list[ModuleInfo]:
        """Bring a version into memory; with ``wait_s`` wait for the load to end.

        Returns:
            The versions of the module with their states.
        """
        request = _routes.load_request(name, version, wait_s)
        answer = self._call(self._modules.LoadModule, request, more_s=wait_s)
        return list(_convert.modules(answer.module))

    def unload_module(self, name: str, version: str, *, drain: bool = False) -> list[ModuleInfo]:
        """Take a version out of memory; with ``drain`` once its segments are done."""
        request = _routes.unload_request(name, version, drain=drain)
        return list(_convert.modules(self._call(self._modules.UnloadModule, request).module))

    def routes(self) -> RouteTable:
        """Which modules serve which languages."""
        return _routes.table(self._call(self._modules.GetRoutes, pb.GetRoutesRequest()).table)

    def set_route(self, route: Route, *, expected_generation: int = 0) -> RouteTable:
        """Add a route, or replace the one with the same task, modality, languages and model.

        Args:
            route: The route; its modules must be in memory.
            expected_generation: Change the table only if this is its generation; 0 always does.
        """
        request = _routes.set_route_request(route, expected_generation)
        return _routes.table(self._call(self._modules.SetRoute, request).table)

    def watch_modules(self, *, timeout_s: float | None = None) -> Generator[ModuleNews, None, None]:
        """All modules and routes, then each change, until the loop is left or the time is up."""
        with _channel.rpc_errors():
            call = self._modules.WatchModules(pb.WatchModulesRequest(), timeout=timeout_s)
            try:
                for message in call:
                    yield _routes.news(message)
            finally:
                call.cancel()

    def swap_module(
        self,
        name: str,
        version: str,
        *,
        canary: Canary | None = None,
        timeout_s: float = SWAP_SECONDS,
        is_awaited: bool = True,
    ) -> Iterator[ModuleEvent]:
        """Put a version in place of the other versions of its module, in every route.

        Loads and checks it, sets the routes, and waits until the old versions left memory. What
        happens is yielded as it happens; nothing else happens while it is not asked for.

        Args:
            name: Of the module.
            version: The new one.
            canary: Try it with a part of the sessions in place of setting it for all; its encoder
                and decoder are filled in.
            timeout_s: Longest time for all of it.
            is_awaited: Wait for the old versions to leave; else end with the routes.

        Raises:
            LegonnError: Why it cannot be; the old versions serve on then.
        """
        swap = Swap(name, version, canary)
        with closing(self.watch_modules(timeout_s=timeout_s)) as watch:
            next(watch)  # all that was before
            swap.note(self.load_module(name, version))
            while not swap.is_loaded:
                yield from swap.take(_there(next(watch, None)))
            table = self.routes()
            for route in swap.changes(table):
                table = self.set_route(route, expected_generation=table.generation)
            while is_awaited and swap.leaving:
                yield from swap.take(_there(next(watch, None)))


class AsyncModuleCalls(ABC):
    """ModuleService for asyncio; a part of ``AsyncClient``. Arguments as in ``ModuleCalls``."""

    _modules: ModuleServiceAsyncStub

    @abstractmethod
    async def _call(
        self, method: Callable[..., Awaitable[Answer]], request: object, *, more_s: float = 0.0
    ) -> Answer:
        """The answer to a call, with the client's retries and time limit, and so much more time."""

    async def modules(self) -> list[ModuleInfo]:
        """All versions of all modules that the server knows, by name."""
        request = pb.ListModulesRequest()
        found: list[ModuleInfo] = []
        while True:
            page = await self._call(self._modules.ListModules, request)
            found += [info for module in page.modules for info in _convert.modules(module)]
            if not page.next_page_token:
                return found
            request.page_token = page.next_page_token

    async def module(self, name: str) -> list[ModuleInfo]:
        """The versions of one module."""
        answer = await self._call(self._modules.GetModule, pb.GetModuleRequest(name=name))
        return list(_convert.modules(answer.module))

    async def load_module(
        self, name: str, version: str, *, wait_s: float = 0.0
    ) -> list[ModuleInfo]:
        """Bring a version into memory; with ``wait_s`` wait for the load to end."""
        request = _routes.load_request(name, version, wait_s)
        answer = await self._call(self._modules.LoadModule, request, more_s=wait_s)
        return list(_convert.modules(answer.module))

    async def unload_module(
        self, name: str, version: str, *, drain: bool = False
    ) -> list[ModuleInfo]:
        """Take a version out of memory; with ``drain`` once its segments are done."""
        request = _routes.unload_request(name, version, drain=drain)
        answer = await self._call(self._modules.UnloadModule, request)
        return list(_convert.modules(answer.module))

    async def routes(self) -> RouteTable:
        """Which modules serve which languages."""
        answer = await self._call(self._modules.GetRoutes, pb.GetRoutesRequest())
        return _routes.table(answer.table)

    async def set_route(self, route: Route, *, expected_generation: int = 0) -> RouteTable:
        """Add a route, or replace the one with the same task, modality, languages and model."""
        request = _routes.set_route_request(route, expected_generation)
        return _routes.table((await self._call(self._modules.SetRoute, request)).table)

    async def watch_modules(
        self, *, timeout_s: float | None = None
    ) -> AsyncGenerator[ModuleNews, None]:
        """All modules and routes, then each change, until the loop is left or the time is up."""
        with _channel.rpc_errors():
            call = self._modules.WatchModules(pb.WatchModulesRequest(), timeout=timeout_s)
            try:
                async for message in call:
                    yield _routes.news(message)
            finally:
                call.cancel()

    async def swap_module(
        self,
        name: str,
        version: str,
        *,
        canary: Canary | None = None,
        timeout_s: float = SWAP_SECONDS,
        is_awaited: bool = True,
    ) -> AsyncIterator[ModuleEvent]:
        """Put a version in place of the other versions of its module, in every route."""
        swap = Swap(name, version, canary)
        async with aclosing(self.watch_modules(timeout_s=timeout_s)) as watch:
            await anext(watch)  # all that was before
            swap.note(await self.load_module(name, version))
            while not swap.is_loaded:
                for event in swap.take(_there(await anext(watch, None))):
                    yield event
            table = await self.routes()
            for route in swap.changes(table):
                table = await self.set_route(route, expected_generation=table.generation)
            while is_awaited and swap.leaving:
                for event in swap.take(_there(await anext(watch, None))):
                    yield event


def _there(news: ModuleNews | None) -> ModuleNews:
    if news is None:
        raise Unavailable(_WATCH_ENDED)
    return news
