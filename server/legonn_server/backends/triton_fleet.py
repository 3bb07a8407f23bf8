"""The Triton servers behind one backend: what they should serve, which can be trusted, which next.

The same modules are loaded on every server. One that is lost gets work again when each module on
it has answered a probe: a server that came back empty is first given its modules. Servers may be
shared with other gateways; see ``triton_departures``.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Coroutine, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from legonn_core.errors import (
    AdmissionRefused,
    BackendDown,
    BadModule,
    ContractMismatch,
    LegonnError,
    UnknownModule,
)
from legonn_core.interface.reference import check_partners
from legonn_core.runtime.messages import ModuleDescription, ModuleRef
from legonn_core.runtime.wire import Call, parse_model_name
from legonn_server.backends.triton_departures import Departures
from legonn_server.backends.triton_endpoint import READY, TritonEndpoint
from legonn_server.backends.triton_options import TritonOptions

_FIRST_DELAY_S, _LAST_DELAY_S = 0.2, 5.0

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Served:
    """A module in service: what it is, and its name on the servers."""

    about: ModuleDescription
    model: str


class TritonFleet:
    """See the module's docstring.

    Args:
        options: Which servers, and how they are used.
        modules: What to serve from the start; empty takes the newest good version of each.
        on_progress: Told how loading goes, and who was lost.
        on_state: Told True when a server serves all modules, False when none does any more.

    Attributes:
        modules: What is in service.
    """

    def __init__(
        self,
        options: TritonOptions,
        *,
        modules: tuple[ModuleRef, ...],
        on_progress: Callable[[str], None],
        on_state: Callable[[bool], None],
    ) -> None:
        self._options = options
        self._asked = modules
        self._on_progress = on_progress
        self._on_state = on_state
        self.endpoints = [
            TritonEndpoint(address, options, self._on_change) for address in options.addresses
        ]
        self.modules: dict[ModuleRef, Served] = {}
        self._models: dict[ModuleRef, str] = {}
        self._departures = Departures(options, self.spawn)
        self._any_up = asyncio.Event()
        self._stopping = asyncio.Event()
        self._tasks: set[asyncio.Task[Any]] = set()

    @property
    def _addresses(self) -> str:
        return ", ".join(self._options.addresses)

    # --- life

    async def start(self) -> None:
        """Load the modules everywhere; a server that is away comes later.

        Raises:
            LegonnError: Why no server serves.
        """
        for endpoint in self.endpoints:
            endpoint.connect()
        try:
            async with asyncio.timeout(self._options.start_timeout_seconds):
                await self._begin()
                tries = [self._revive(endpoint) for endpoint in self.endpoints]
                found = await asyncio.gather(*tries, return_exceptions=True)
        except TimeoutError:
            raise BackendDown(f"no Triton server at {self._addresses} got ready in time") from None
        failed = [one for one in found if isinstance(one, BaseException)]
        for error in failed:
            if not self._any_up.is_set() or not isinstance(error, LegonnError):
                raise error
            self._on_progress(error.message)
        for endpoint in self.endpoints:
            self.spawn(self._watch(endpoint))

    async def stop(self) -> None:
        """Give every connection back; calls in flight fail with ``BackendDown``."""
        self._stopping.set()
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for endpoint in self.endpoints:
            await endpoint.close()

    def spawn(self, work: Coroutine[Any, Any, _T]) -> asyncio.Task[_T]:
        """Do something beside; it ends with the fleet."""
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _begin(self) -> None:
        """Load the modules on the first server that answers: from then on they are known."""
        while True:
            refused: LegonnError | None = None
            for endpoint in self.endpoints:
                try:
                    known = await self._repository(endpoint)
                    for versions in self._candidates(endpoint, known):
                        await self._take_first_good(endpoint, versions, known)
                except BackendDown:
                    continue
                except (BadModule, ContractMismatch) as error:
                    refused = refused or error
                else:
                    return
            if refused is not None:
                raise refused
            self._on_progress(f"waiting for a Triton server at {self._addresses}")
            await asyncio.sleep(1.0)

    def _candidates(
        self, endpoint: TritonEndpoint, known: Mapping[ModuleRef, str]
    ) -> list[list[ModuleRef]]:
        """Versions to try of each module, best first.

        Raises:
            UnknownModule: If the repository has none, or not those that were asked for.
        """
        if not known:
            raise UnknownModule(
                f"the Triton server at {endpoint.address} has no modules; write its"
                " repository with: legonn modules export --triton DIR"
            )
        if self._asked:
            for ref in self._asked:
                _model_of(ref, known)
            return [[ref] for ref in self._asked]
        by_name: dict[str, list[ModuleRef]] = {}
        for ref in sorted(known, key=_age, reverse=True):
            by_name.setdefault(ref.name, []).append(ref)
        return list(by_name.values())

    async def _take_first_good(
        self, endpoint: TritonEndpoint, versions: list[ModuleRef], known: Mapping[ModuleRef, str]
    ) -> None:
        """Load the first version that passes its checks, and say which ones did not.

        Raises:
            LegonnError: What the first said, when none passes.
        """
        refused: LegonnError | None = None
        for ref in versions:
            try:
                served = await self._bring(endpoint, ref, known[ref])
            except (BadModule, ContractMismatch) as error:
                refused = refused or error
                self._on_progress(f"{ref} is refused: {error.message}")
                self._departures.leave_at_last(endpoint, known[ref])
            else:
                self._models[ref], self.modules[ref] = served.model, served
                return
        if refused is not None:
            raise refused

    async def _bring(self, endpoint: TritonEndpoint, ref: ModuleRef, model: str) -> Served:
        """Load a model on a server if it is not there, and see whether it fits the others.

        Raises:
            BadModule: If it cannot be loaded; its own process has checked it then.
            ContractMismatch: If it does not fit a module in service.
        """
        # Loading what is loaded may load it anew, and its streams would lose their state.
        if (await endpoint.index()).get(model) != READY:
            self._on_progress(f"loading {ref} on {endpoint.address}")
            await endpoint.load(model)
        if ref in self.modules:
            return self.modules[ref]
        about = await endpoint.describe(model)
        check_partners(about, [one.about for one in self.modules.values()])
        return Served(about, model)

    async def _repository(self, endpoint: TritonEndpoint) -> dict[ModuleRef, str]:
        """Names of our models on a server, loaded or not."""
        refs = ((parse_model_name(model), model) for model in await endpoint.index())
        return {ref: model for ref, model in refs if ref is not None}

    async def _watch(self, endpoint: TritonEndpoint) -> None:
        """Probe an endpoint while it is up, and bring it back when it is lost."""
        delay = _FIRST_DELAY_S
        while True:
            if endpoint.is_up:
                with contextlib.suppress(TimeoutError):
                    interval = self._options.probe_interval_seconds
                    await asyncio.wait_for(endpoint.lost.wait(), interval)
            else:
                await asyncio.sleep(delay)
            try:
                if endpoint.is_up:
                    await self._probe(endpoint, older_than=self._options.probe_interval_seconds)
                else:
                    await self._revive(endpoint)
                    delay = _FIRST_DELAY_S
            except LegonnError as error:
                self._lose(endpoint, error)
                delay = min(2 * delay, _LAST_DELAY_S)

    async def _revive(self, endpoint: TritonEndpoint) -> None:
        """Load what is missing, ask every module, then trust the endpoint."""
        states = await endpoint.index()
        for ref, model in tuple(self._models.items()):
            if model not in states:
                raise UnknownModule(f"the Triton server at {endpoint.address} does not have {ref}")
            await self._bring(endpoint, ref, model)
        await self._probe(endpoint, older_than=0.0)
        owed, endpoint.owed = endpoint.owed, []
        endpoint.trust()
        self._on_progress(f"{endpoint.address} serves {', '.join(map(str, self._models))}")
        for model, call in owed:
            self.give_back(endpoint, model, call)

    async def _probe(self, endpoint: TritonEndpoint, *, older_than: float) -> None:
        """Ask the modules that were not heard of for a while.

        Raises:
            BackendDown: If one of them does not answer as it should.
        """
        limit = asyncio.get_running_loop().time() - older_than
        silent = [m for m in self.modules.values() if endpoint.heard.get(m.model, 0.0) <= limit]
        lives = await asyncio.gather(*(_lives(endpoint, module) for module in silent))
        dead = [
            str(module.about.ref)
            for module, is_alive in zip(silent, lives, strict=True)
            if not is_alive and module.about.ref in self.modules  # else unloaded meanwhile
        ]
        if dead:
            raise BackendDown(f"{', '.join(dead)} on {endpoint.address} does not answer")

    def _lose(self, endpoint: TritonEndpoint, why: LegonnError) -> None:
        if endpoint.is_up:
            self._on_progress(f"lost {endpoint.address}: {why.message}")
            endpoint.lose()

    def _on_change(self) -> None:
        is_up = any(endpoint.is_up for endpoint in self.endpoints)
        if is_up != self._any_up.is_set():
            (self._any_up.set if is_up else self._any_up.clear)()
            self._on_state(is_up)

    # --- calls

    def find(self, ref: ModuleRef) -> Served:
        """A module in service.

        Raises:
            UnknownModule: If it is not.
        """
        if ref not in self.modules:
            raise UnknownModule(f"{ref} is not loaded")
        return self.modules[ref]

    async def choose(
        self, load: Callable[[TritonEndpoint], float], *, but: Iterable[str] = ()
    ) -> TritonEndpoint:
        """The endpoint with the least load; waits if none is up.

        Raises:
            BackendDown: If none comes up in time.
            AdmissionRefused: If only those of ``but`` are up.
        """
        if self._stopping.is_set():
            raise BackendDown("the backend is stopped")
        try:
            async with asyncio.timeout(self._options.wait_seconds):
                await self._any_up.wait()
        except TimeoutError:
            raise BackendDown(f"no Triton server at {self._addresses} answers") from None
        up = [one for one in self.endpoints if one.is_up and one.address not in but]
        if not up:
            raise AdmissionRefused("all encoder slots of all Triton servers are in use")
        return min(up, key=load)

    async def on(self, endpoint: TritonEndpoint, work: Coroutine[Any, Any, _T]) -> _T:
        """Do work on an endpoint; a failure of the transport loses it.

        Raises:
            BackendDown: Also if the server does not have a module that it should: somebody else
                unloaded it, or the server was started anew; it is given the module again.
        """
        try:
            return await work
        except UnknownModule as error:
            lost = BackendDown(f"a module is gone from {endpoint.address}")
            self._lose(endpoint, lost)
            raise lost from error
        except BackendDown as error:
            self._lose(endpoint, error)
            raise

    def give_back(self, endpoint: TritonEndpoint, model: str, call: Call) -> None:
        """Close a slot: now, or when the server is back; one not closed ends by its idle time."""
        if endpoint.is_up:
            self.spawn(_try_to_close(endpoint, model, call))
        else:
            endpoint.owed.append((model, call))

    # --- modules

    async def load(self, ref: ModuleRef) -> Served:
        """Load a version from the repository on every server that is up.

        Raises:
            UnknownModule: If the repository of one does not have it.
            BadModule: If one refuses it; it is then loaded nowhere.
            ContractMismatch: If it does not fit the modules in service; likewise.
        """
        await self.choose(lambda endpoint: endpoint.num_in_flight)
        served, tried = None, list[tuple[TritonEndpoint, str]]()
        try:
            for endpoint in [one for one in self.endpoints if one.is_up]:
                model = _model_of(ref, await self._repository(endpoint))
                self._departures.stay(model)
                tried.append((endpoint, model))
                served = await self._bring(endpoint, ref, model)
        except (BadModule, ContractMismatch):
            for endpoint, model in tried:
                self._departures.leave_at_last(endpoint, model)
            raise
        assert served is not None, "choose found an endpoint"
        self._models[ref], self.modules[ref] = served.model, served
        return served

    async def unload(self, ref: ModuleRef) -> None:
        """Forget a version; servers on which no other gateway uses it give its memory back."""
        model = self.find(ref).model
        del self.modules[ref], self._models[ref]
        up = [endpoint for endpoint in self.endpoints if endpoint.is_up]
        gone = await asyncio.gather(
            *(self.on(one, self._departures.leave(one, model)) for one in up)
        )
        for endpoint, is_gone in zip(up, gone, strict=True):
            if not is_gone:
                self._on_progress(f"{ref} stays on {endpoint.address}: other gateways use it")
                self._departures.leave_at_last(endpoint, model)


async def _lives(endpoint: TritonEndpoint, module: Served) -> bool:
    """Whether a module answers a probe in time."""
    try:
        await endpoint.probe(module.model, is_decoder=module.about.kind == "DECODER")
    except LegonnError:
        return False
    return True


async def _try_to_close(endpoint: TritonEndpoint, model: str, call: Call) -> None:
    with contextlib.suppress(LegonnError):
        await endpoint.ask(model, call)


def _model_of(ref: ModuleRef, known: Mapping[ModuleRef, str]) -> str:
    """The name of a version on a server.

    Raises:
        UnknownModule: If its repository does not have it.
    """
    if ref not in known:
        names = ", ".join(map(str, sorted(known))) or "none"
        raise UnknownModule(f"no {ref} in the Triton repository; it has: {names}")
    return known[ref]


def _age(ref: ModuleRef) -> tuple[str, int]:
    return ref.name, int(ref.version)
