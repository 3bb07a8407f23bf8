"""What is in memory and what is routed: the one owner of the current route table."""

from __future__ import annotations

from dataclasses import dataclass

from legonn_core.errors import ContractMismatch, ProtocolViolation, UnknownModule
from legonn_core.runtime.messages import BackendHealth, ModuleDescription, ModuleRef
from legonn_server.backends.protocol import Backend
from legonn_server.routing.routes import Route, RouteKey, RouteTable, build_table, check_route
from legonn_server.telemetry.metrics import Metrics


@dataclass(frozen=True, slots=True)
class Pair:
    """The two modules that serve a call or a segment."""

    encoder: ModuleDescription
    decoder: ModuleDescription


class ModuleManager:
    """Loads, unloads, routes. A new segment reads the table once and keeps what it found.

    Attributes:
        table: The routes of this moment; replaced whole.
    """

    def __init__(self, backend: Backend, metrics: Metrics) -> None:
        self._backend = backend
        self._metrics = metrics
        self._modules: dict[ModuleRef, ModuleDescription] = {}
        self.table = RouteTable(1, {})

    async def start(self) -> None:
        """Take stock of the backend's modules and build the first table."""
        for module in await self._backend.describe():
            self._add(module)
        self._assign(build_table(self._modules.values()))

    @property
    def modules(self) -> tuple[ModuleDescription, ...]:
        """What is loaded, by name and version."""
        return tuple(self._modules[ref] for ref in sorted(self._modules))

    def find(self, key: RouteKey) -> Pair:
        """The modules that serve a key now.

        Raises:
            UnknownRoute: If nothing does.
        """
        route = self.table.find(key)
        return Pair(self._modules[route.encoder], self._modules[route.decoder])

    def names(self, ref: ModuleRef) -> bool:
        """Whether a route names the version."""
        return self.table.names(ref)

    async def load(self, ref: ModuleRef) -> ModuleDescription:
        """Bring a version into memory; routes stay as they are.

        Raises:
            UnknownModule: If the store does not have it.
            ContractMismatch: If it fits nothing here, or is damaged.
        """
        if ref in self._modules:
            return self._modules[ref]
        module = await self._backend.load(ref)
        others = [one for one in self._modules.values() if one.kind == "DECODER"]
        if others and module.fingerprint not in {one.fingerprint for one in others}:
            await self._backend.unload(ref)
            raise ContractMismatch(
                f"{ref} speaks vocabulary {module.fingerprint}, which no decoder in service shares"
            )
        self._add(module)
        return module

    async def unload(self, ref: ModuleRef) -> None:
        """Take a version out of memory. Segments that use it are replayed, which fails them.

        Raises:
            UnknownModule: If it is not in memory.
            ProtocolViolation: If a route names it.
        """
        if ref not in self._modules:
            raise UnknownModule(f"module {ref} is not loaded")
        if self.table.names(ref):
            raise ProtocolViolation(f"a route names {ref}; set the route to another version first")
        del self._modules[ref]
        await self._backend.unload(ref)
        self._metrics.forget_module(ref.name, ref.version)

    def set_route(self, key: RouteKey, route: Route, *, expected: int) -> RouteTable:
        """Replace or add one route; open segments keep their modules.

        Args:
            key: What it serves.
            route: What serves it.
            expected: Number that the table must have; 0 takes any.

        Raises:
            ProtocolViolation: If the table has another number.
            UnknownModule: If a module is not loaded.
            ContractMismatch: If the modules do not fit.
        """
        if expected and expected != self.table.number:
            raise ProtocolViolation(f"the routes are at generation {self.table.number} already")
        check_route(key, route, self._modules)
        self._assign(self.table.set(key, route))
        return self.table

    async def health(self) -> BackendHealth:
        """How the backend is."""
        return await self._backend.health()

    def _add(self, module: ModuleDescription) -> None:
        self._modules[module.ref] = module
        labels = (module.ref.name, module.ref.version, module.kind)
        self._metrics.module_info.labels(*labels).set(1)

    def _assign(self, table: RouteTable) -> None:
        self.table = table
        self._metrics.routes_generation.set(table.number)
