"""How module versions come into service and leave it: a pure machine.

    ABSENT → LOADING → CHECKING → WARM → SERVING ↔ SHADOW → DRAINING → RETIRED, or FAILED

An event goes in, a list of commands comes out; clocks and backends are elsewhere. New routes wait
until every version that they name is in memory, and are then published whole; if one of them fails,
the old routes stay and the reason is told. A version is unloaded only when no route names it and
nobody uses it, or when its drain has lasted too long: then its segments are heard again elsewhere.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import Enum

from legonn_core.errors import BrokenInvariant, LegonnError, ModulePinned, UnknownModule
from legonn_core.runtime.messages import ModuleDescription, ModuleRef
from legonn_server.routing.routes import RouteTable, check_route


class VersionState(Enum):
    """Where a version is on its way into and out of service."""

    ABSENT = "absent"
    LOADING = "loading"
    CHECKING = "checking"
    WARM = "warm"
    SERVING = "serving"
    SHADOW = "shadow"
    DRAINING = "draining"
    RETIRED = "retired"
    FAILED = "failed"


_S = VersionState
NEXT: Mapping[VersionState, frozenset[VersionState]] = {
    _S.ABSENT: frozenset({_S.LOADING, _S.WARM}),
    _S.LOADING: frozenset({_S.CHECKING, _S.WARM, _S.FAILED}),
    _S.CHECKING: frozenset({_S.WARM, _S.FAILED}),
    _S.WARM: frozenset({_S.SERVING, _S.SHADOW, _S.DRAINING}),
    _S.SERVING: frozenset({_S.SHADOW, _S.DRAINING, _S.FAILED}),
    _S.SHADOW: frozenset({_S.SERVING, _S.DRAINING, _S.FAILED}),
    _S.DRAINING: frozenset({_S.SERVING, _S.SHADOW, _S.RETIRED}),
    _S.RETIRED: frozenset({_S.LOADING}),
    _S.FAILED: frozenset({_S.LOADING, _S.SERVING, _S.SHADOW}),
}
"""Every step there is. FAILED goes on to SERVING only where a failed trial is routed again."""


@dataclass(frozen=True, slots=True)
class DrainRule:
    """When a version that no route names leaves.

    Attributes:
        retire_after_seconds: It stays so long, to be routed again at once.
        drain_seconds: Longest wait for its open segments after that; they are then heard again on
            the versions in service. Longer than the longest segment, so this is not the rule.
    """

    retire_after_seconds: float = 300.0
    drain_seconds: float = 90.0

    def __post_init__(self) -> None:
        if self.retire_after_seconds < 0 or self.drain_seconds < 0:
            raise ValueError("retire_after_seconds and drain_seconds must not be negative")


@dataclass(frozen=True, slots=True)
class Version:
    """What is known of one version.

    Attributes:
        since: When it came to its state, in seconds of the caller's clock.
        module: What the backend says of it; None before it was ever loaded.
        is_in_memory: Whether it can be used.
        is_leaving: Whether its unload is under way.
        error: Why it FAILED.
        has_to_go: Whether somebody asked for its unload: it waits for its segments alone.
    """

    ref: ModuleRef
    state: VersionState = VersionState.ABSENT
    since: float = 0.0
    module: ModuleDescription | None = None
    is_in_memory: bool = False
    is_leaving: bool = False
    error: LegonnError | None = None
    has_to_go: bool = False


@dataclass(frozen=True, slots=True)
class StartLoad:
    """Bring a version into memory, checked and warm."""

    ref: ModuleRef


@dataclass(frozen=True, slots=True)
class StartUnload:
    """Take a version out of memory; open segments that use it are lost there."""

    ref: ModuleRef


@dataclass(frozen=True, slots=True)
class Publish:
    """These are the routes from now on."""

    table: RouteTable


@dataclass(frozen=True, slots=True)
class Reject:
    """These routes cannot be; the old ones stay."""

    table: RouteTable
    error: LegonnError


@dataclass(frozen=True, slots=True)
class Announce:
    """A version came to another state.

    Attributes:
        elapsed: Seconds that it spent in the state before.
    """

    version: Version
    before: VersionState
    elapsed: float


Command = StartLoad | StartUnload | Publish | Reject | Announce


class SwapMachine:
    """See the module's docstring; every method is one event and gives what is to be done.

    Args:
        rule: When versions leave.

    Attributes:
        versions: Everything known, by reference.
        table: The routes in force.
        wanted: Routes that wait for their versions; None when nothing waits.
    """

    def __init__(self, rule: DrainRule) -> None:
        self._rule = rule
        self.versions: dict[ModuleRef, Version] = {}
        self.table = RouteTable(0, {})
        self.wanted: RouteTable | None = None
        self._commands: list[Command] = []

    # --- events

    def found(self, modules: tuple[ModuleDescription, ...], now: float) -> list[Command]:
        """The backend started with these in memory."""
        for module in modules:
            self.versions[module.ref] = Version(module.ref, since=now)
            self._move(module.ref, _S.WARM, now, module=module, is_in_memory=True)
        return self._done()

    def load_asked(self, ref: ModuleRef, now: float) -> list[Command]:
        """Somebody wants a version in memory; one that is there stays."""
        self._want(ref, now)
        return self._done()

    def load_moved(self, ref: ModuleRef, state: VersionState, now: float) -> list[Command]:
        """A load got to its next part."""
        if self._is(ref, _S.LOADING) and state is _S.CHECKING:
            self._move(ref, state, now)
        return self._done()

    def load_done(self, module: ModuleDescription, now: float) -> list[Command]:
        """A version is in memory, checked and warm."""
        if self._is(module.ref, _S.LOADING, _S.CHECKING):
            self._move(module.ref, _S.WARM, now, module=module, is_in_memory=True)
            self._reconsider(now)
        return self._done()

    def load_failed(self, ref: ModuleRef, error: LegonnError, now: float) -> list[Command]:
        """A version could not be loaded, or did not pass a check."""
        if self._is(ref, _S.LOADING, _S.CHECKING):
            self._move(ref, _S.FAILED, now, error=error)
            wanted = self.wanted
            if wanted is not None and ref in wanted.refs:
                self.wanted = None
                self._commands.append(Reject(wanted, error))
            if isinstance(error, UnknownModule):
                del self.versions[ref]
        return self._done()

    def routes_asked(self, table: RouteTable, now: float) -> list[Command]:
        """Somebody wants these routes; of several that wait, the newest counts."""
        self.wanted = table
        for ref in sorted(table.refs):
            self._want(ref, now)
        self._reconsider(now)
        return self._done()

    def trial_failed(
        self, table: RouteTable, refs: frozenset[ModuleRef], error: LegonnError, now: float
    ) -> list[Command]:
        """A trial went out of its bands: routes without it, and its versions FAILED.

        Args:
            table: The routes without the trial.
            refs: Versions on trial.
            error: What was found.
            now: The time.
        """
        self._publish(table, now)
        for ref in sorted(refs - table.refs):
            if self._is(ref, _S.DRAINING):
                self.versions[ref] = replace(self.versions[ref], state=_S.SERVING)
                self._move(ref, _S.FAILED, now, error=error)
        return self._done()

    def unload_asked(
        self, ref: ModuleRef, now: float, *, drain: bool, pins: Mapping[ModuleRef, int]
    ) -> list[Command]:
        """Somebody wants a version out of memory.

        Raises:
            UnknownModule: If it is not in memory.
            ModulePinned: If a route names it, or segments use it and ``drain`` is not set.
        """
        version = self.versions.get(ref)
        if version is None or not version.is_in_memory:
            raise UnknownModule(f"module {ref} is not loaded")
        if self.table.names(ref) or (self.wanted is not None and self.wanted.names(ref)):
            raise ModulePinned(f"a route names {ref}; set the route to another version first")
        if pins.get(ref, 0) and not drain:
            raise ModulePinned(f"{pins[ref]} segments use {ref}; ask for a drain to wait for them")
        if version.state is _S.WARM:
            self._move(ref, _S.DRAINING, now)
        self.versions[ref] = replace(self.versions[ref], has_to_go=True, since=now)
        self._retire(now, pins)
        return self._done()

    def unloaded(self, ref: ModuleRef, now: float) -> list[Command]:
        """A version is out of memory."""
        version = self.versions.get(ref)
        if version is not None and version.is_leaving:
            gone = replace(version, is_in_memory=False, is_leaving=False, has_to_go=False)
            self.versions[ref] = gone
            if gone.state is not _S.FAILED:
                self._move(ref, _S.RETIRED, now)
            if self.wanted is not None and ref in self.wanted.refs:
                self._want(ref, now)
        return self._done()

    def ticked(self, now: float, pins: Mapping[ModuleRef, int]) -> list[Command]:
        """Time has passed, or pins have changed."""
        self._retire(now, pins)
        return self._done()

    # --- deciding

    def _done(self) -> list[Command]:
        commands, self._commands = self._commands, []
        return commands

    def _is(self, ref: ModuleRef, *states: VersionState) -> bool:
        return ref in self.versions and self.versions[ref].state in states

    def _move(
        self,
        ref: ModuleRef,
        state: VersionState,
        now: float,
        *,
        module: ModuleDescription | None = None,
        is_in_memory: bool | None = None,
        error: LegonnError | None = None,
    ) -> None:
        before = self.versions[ref]
        if state not in NEXT[before.state]:
            raise BrokenInvariant(f"{ref} cannot go from {before.state.name} to {state.name}")
        after = replace(
            before,
            state=state,
            since=now,
            module=module or before.module,
            is_in_memory=before.is_in_memory if is_in_memory is None else is_in_memory,
            error=error,
            has_to_go=before.has_to_go and state is _S.DRAINING,
        )
        self.versions[ref] = after
        self._commands.append(Announce(after, before.state, now - before.since))

    def _want(self, ref: ModuleRef, now: float) -> None:
        """Start a load, unless the version is in memory, on its way, or about to leave first."""
        version = self.versions.setdefault(ref, Version(ref, since=now))
        is_coming = version.state in (_S.LOADING, _S.CHECKING)
        if version.is_in_memory or version.is_leaving or is_coming:
            return
        self._move(ref, _S.LOADING, now)
        self._commands.append(StartLoad(ref))

    def _reconsider(self, now: float) -> None:
        """Publish the routes that wait if all they name is in memory."""
        wanted = self.wanted
        if wanted is None:
            return
        known = self._usable()
        if not wanted.refs <= known.keys():
            return
        self.wanted = None
        try:
            for key, route in wanted.routes.items():
                check_route(key, route, known)
        except LegonnError as error:
            self._commands.append(Reject(wanted, error))
        else:
            self._publish(wanted, now)

    def _usable(self) -> dict[ModuleRef, ModuleDescription]:
        return {
            ref: version.module
            for ref, version in self.versions.items()
            if version.module is not None and version.is_in_memory and not version.is_leaving
        }

    def _publish(self, table: RouteTable, now: float) -> None:
        self.table = table
        self._commands.append(Publish(table))
        for ref, version in sorted(self.versions.items()):
            if not version.is_in_memory or version.is_leaving:
                continue
            if ref in table.served:
                target = _S.SERVING
            elif ref in table.refs:
                target = _S.SHADOW
            elif version.state in (_S.SERVING, _S.SHADOW):
                target = _S.DRAINING
            else:
                continue
            if target is not version.state:
                self._move(ref, target, now)

    def _retire(self, now: float, pins: Mapping[ModuleRef, int]) -> None:
        for ref, version in sorted(self.versions.items()):
            is_out = version.state is _S.DRAINING or version.state is _S.FAILED
            if not is_out or not version.is_in_memory or version.is_leaving:
                continue
            if self.wanted is not None and ref in self.wanted.refs:
                continue
            stays = 0.0 if version.has_to_go else self._rule.retire_after_seconds
            if version.state is _S.FAILED:
                stays = 0.0
            waited = now - version.since - stays
            if waited >= 0 and (not pins.get(ref, 0) or waited >= self._rule.drain_seconds):
                self.versions[ref] = replace(version, is_leaving=True)
                self._commands.append(StartUnload(ref))
