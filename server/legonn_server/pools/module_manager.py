"""What is in memory and what is routed: carries out what ``routing.swap`` decides."""

from __future__ import annotations

import asyncio
import contextlib
from collections import defaultdict
from collections.abc import Coroutine
from dataclasses import dataclass
from typing import Protocol

from legonn_core.errors import BackendDown, InternalFault, LegonnError, StaleRoutes, UnknownModule
from legonn_core.runtime.messages import BackendHealth, ModuleDescription, ModuleRef
from legonn_server.backends.protocol import Backend
from legonn_server.backends.rehearsal import Rehearsal
from legonn_server.pools.pins import Pins
from legonn_server.pools.watching import Happening, Watchers
from legonn_server.routing import swap
from legonn_server.routing.routes import Route, RouteKey, RouteTable, build_table, check_route
from legonn_server.routing.swap import DrainRule, SwapMachine, Version, VersionState
from legonn_server.routing.trials import is_within
from legonn_server.telemetry.metrics import Metrics

_LOADED = frozenset(VersionState) - {VersionState.LOADING, VersionState.CHECKING}
RETRY_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Pair:
    """The two modules that serve a call or a segment.

    Attributes:
        key: The route that named them; None for a pair that somebody kept.
        is_trial: Whether they are the route's canary.
    """

    encoder: ModuleDescription
    decoder: ModuleDescription
    key: RouteKey | None = None
    is_trial: bool = False


class Shares(Protocol):
    """Says how much of a route's sessions meet its trial now."""

    def percent(self, key: RouteKey) -> float:
        """0 to 100."""

    def status(self, key: RouteKey) -> str:
        """How the trial goes, for people."""


class ModuleManager:
    """Loads, unloads, routes. A new segment reads the table once and keeps what it found.

    Args:
        backend: What runs the modules.
        metrics: What is counted.
        rule: When versions leave memory.
        rehearsal: Tries a version in a process of its own before the engine loads it.

    Attributes:
        pins: Who uses which version; shared with those who do.
        watchers: Who is told of changes.
        shares: How far the trials are; set by whoever judges them.
        routes_error: Why the newest routes that somebody wanted are not in force; else None.
    """

    def __init__(
        self,
        backend: Backend,
        metrics: Metrics,
        *,
        rule: DrainRule | None = None,
        rehearsal: Rehearsal | None = None,
    ) -> None:
        self._backend = backend
        self._metrics = metrics
        self._rehearsal = rehearsal
        self._machine = SwapMachine(rule or DrainRule())
        self._tasks: set[asyncio.Task[None]] = set()
        self._waiting: defaultdict[ModuleRef, set[asyncio.Future[None]]] = defaultdict(set)
        self.pins = Pins()
        self.watchers = Watchers()
        self.shares: Shares | None = None
        self.routes_error: LegonnError | None = None
        self._retry: tuple[float, RouteTable] | None = None
        self._rejected: LegonnError | None = None

    async def start(self, table: RouteTable | None = None) -> None:
        """Take stock of the backend's modules and publish the first table.

        Args:
            table: The first routes; None makes some from the modules.

        Raises:
            LegonnError: If the routes name what cannot be.
        """
        modules = await self._backend.describe()
        now = self._now()
        self._carry_out(self._machine.found(modules, now))
        self._carry_out(self._machine.routes_asked(table or build_table(modules), now))
        while self._machine.wanted is not None:
            await asyncio.wait(tuple(self._tasks), return_when=asyncio.FIRST_COMPLETED)
        if self._rejected is not None:
            raise self._rejected

    async def stop(self) -> None:
        """Leave loads and unloads as they are."""
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    # --- looking

    @property
    def table(self) -> RouteTable:
        """The routes of this moment."""
        return self._machine.table

    @property
    def modules(self) -> tuple[ModuleDescription, ...]:
        """What is in memory, by name and version."""
        return tuple(one.module for one in self.versions if one.is_in_memory and one.module)

    @property
    def versions(self) -> tuple[Version, ...]:
        """Everything known, by name and version."""
        return tuple(self._machine.versions[ref] for ref in sorted(self._machine.versions))

    def find(self, key: RouteKey, *, session_id: str = "") -> Pair:
        """The modules that serve a key now.

        Args:
            key: What is asked for.
            session_id: Who asks: a part of the sessions may meet a trial.

        Raises:
            UnknownRoute: If nothing does.
        """
        route = self.table.find(key)
        encoder, decoder, is_trial = route.encoder, route.decoder, False
        if route.canary is not None and session_id:
            percent = self.shares.percent(key) if self.shares else float(route.canary.steps[0])
            if is_within(session_id, percent, salt=str(key)):
                encoder, decoder, is_trial = route.canary.encoder, route.canary.decoder, True
        return Pair(self.module(encoder), self.module(decoder), key, is_trial)

    def module(self, ref: ModuleRef) -> ModuleDescription:
        """A version in memory.

        Raises:
            UnknownModule: If it is not.
        """
        found = self._machine.versions.get(ref)
        if found is None or not found.is_in_memory or found.module is None:
            raise UnknownModule(f"module {ref} is not loaded")
        return found.module

    async def health(self) -> BackendHealth:
        """How the backend is."""
        return await self._backend.health()

    # --- changing

    async def load(self, ref: ModuleRef) -> ModuleDescription:
        """Bring a version into memory and wait for it; routes stay as they are.

        Raises:
            LegonnError: Why it cannot be.
        """
        self.begin_load(ref)
        while (version := self._machine.versions.get(ref)) and version.state not in _LOADED:
            future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiting[ref].add(future)
            await future
        if version is not None and version.error is not None:
            raise version.error
        return self.module(ref)

    def begin_load(self, ref: ModuleRef) -> None:
        """Start to bring a version into memory; ``versions`` says how it goes.

        Raises:
            UnknownModule: If the store has no such version.
        """
        known = self._machine.versions.get(ref)
        if self._rehearsal is not None and not (known and known.is_in_memory):
            self._rehearsal.find(ref)
        self._carry_out(self._machine.load_asked(ref, self._now()))

    async def unload(self, ref: ModuleRef, *, drain: bool = False) -> None:
        """Take a version out of memory; with ``drain`` it may still be there on return.

        Raises:
            UnknownModule: If it is not in memory.
            ModulePinned: If a route names it, or segments use it and ``drain`` is not set.
        """
        commands = self._machine.unload_asked(ref, self._now(), drain=drain, pins=self.pins.counts)
        self._carry_out(commands)
        while not drain and self._machine.versions[ref].is_in_memory:
            future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiting[ref].add(future)
            await future

    def set_route(self, key: RouteKey, route: Route, *, expected: int) -> RouteTable:
        """Replace or add one route; open segments keep their modules.

        Args:
            key: What it serves.
            route: What serves it.
            expected: Number that the table must have; 0 takes any.

        Raises:
            StaleRoutes: If the table has another number.
            UnknownModule: If a module is not loaded.
            ContractMismatch: If the modules do not fit.
        """
        if expected and expected != self.table.number:
            raise StaleRoutes(f"the routes are at generation {self.table.number} already")
        check_route(key, route, {module.ref: module for module in self.modules})
        self.ask_routes(self.table.set(key, route))
        return self.table

    def ask_routes(self, table: RouteTable) -> None:
        """These routes are wanted: they are in force when all that they name is in memory."""
        self._retry = None
        self._carry_out(self._machine.routes_asked(table, self._now()))

    def refuse_routes(self, error: LegonnError) -> None:
        """Routes that nobody can read were wanted: those in force stay."""
        self.routes_error = error
        self._metrics.routes_errors.inc()
        self.watchers.tell(
            Happening(None, None, f"routes refused: {error.message}"), has_routes=True
        )

    def fail_trial(self, table: RouteTable, refs: frozenset[ModuleRef], error: LegonnError) -> None:
        """A trial is over, and these routes are without it."""
        self._carry_out(self._machine.trial_failed(table, refs, error, self._now()))

    def tick(self) -> None:
        """Time has passed: versions that nobody uses may leave."""
        now = self._now()
        self._carry_out(self._machine.ticked(now, self.pins.counts))
        for version in self._machine.versions.values():
            ref = version.ref
            if version.is_in_memory:
                pins = self._metrics.module_pins.labels(ref.name, ref.version)
                pins.set(self.pins.counts.get(ref, 0))
        if self._retry is not None and now >= self._retry[0]:
            self.ask_routes(self._retry[1])

    # --- carrying out

    def _now(self) -> float:
        return asyncio.get_running_loop().time()

    def _carry_out(self, commands: list[swap.Command]) -> None:
        for command in commands:
            match command:
                case swap.StartLoad(ref):
                    self.pins.retired.discard(ref)
                    self._start(self._load(ref))
                case swap.StartUnload(ref):
                    self.pins.retired.add(ref)
                    self._start(self._unload(ref))
                case swap.Announce():
                    self._announce(command)
                case swap.Publish(table):
                    self.routes_error = self._rejected = None
                    self._metrics.routes_generation.set(table.number)
                    text = f"routes of generation {table.number} are in force"
                    self.watchers.tell(Happening(None, None, text), has_routes=True)
                case swap.Reject(table, error):
                    self._rejected = error
                    if error.retry.value != "never":
                        self._retry = (self._now() + RETRY_SECONDS, table)
                    self.refuse_routes(error)

    def _start(self, work: Coroutine[object, object, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _load(self, ref: ModuleRef) -> None:
        machine = self._machine

        def moved(state: str) -> None:
            self._carry_out(machine.load_moved(ref, VersionState(state), self._now()))

        try:
            if self._rehearsal is not None:
                partners = [one.ref for one in self.modules if one.ref != ref]
                await self._rehearsal.run(ref, partners, moved)
            else:
                moved(VersionState.CHECKING.value)
            module = await self._backend.load(ref)
        except LegonnError as error:
            self._carry_out(machine.load_failed(ref, error, self._now()))
        except OSError as error:
            fault = InternalFault(f"{ref} could not be tried: {type(error).__name__}")
            self._carry_out(machine.load_failed(ref, fault, self._now()))
        else:
            self._carry_out(machine.load_done(module, self._now()))
        self._wake(ref)

    async def _unload(self, ref: ModuleRef) -> None:
        # An engine that is gone has no modules, and a new one is told which to load.
        with contextlib.suppress(BackendDown, UnknownModule):
            await self._backend.unload(ref)
        self._carry_out(self._machine.unloaded(ref, self._now()))
        self._metrics.forget_module(ref.name, ref.version)
        self._wake(ref)

    def _wake(self, ref: ModuleRef) -> None:
        for future in self._waiting.pop(ref, ()):
            if not future.done():
                future.set_result(None)

    def _announce(self, told: swap.Announce) -> None:
        version = told.version
        ref, state = version.ref, version.state
        if version.module is not None:
            info = self._metrics.module_info.labels(ref.name, ref.version, version.module.kind)
            info.set(version.is_in_memory)
        self._metrics.module_state.labels(ref.name, ref.version).set(
            list(VersionState).index(state)
        )
        if told.before is not VersionState.ABSENT:
            self._metrics.swap_phase.labels(told.before.value).observe(told.elapsed)
        text = f"{ref} is {state.value}"
        if version.error is not None:
            text += f": {version.error.message}"
        self.watchers.tell(Happening(ref, state, text, told.elapsed))
