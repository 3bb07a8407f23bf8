"""The operator's side of the client: modules come and go, routes change, and somebody watches.

    with legonn.Admin() as admin:
        for event in admin.swap("speech-en/2"):
            print(event.text)

Every call raises ``legonn.LegonnError`` or one of its children, and nothing else, when it fails.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import grpc

from legonn import _channel, _convert, errors
from legonn._closing import Closing
from legonn.streams import ModuleInfo
from legonn.v1 import module_card_pb2, module_service_pb2, module_service_pb2_grpc

_ENDED = ("WARM", "SERVING", "SHADOW")


@dataclass(frozen=True, slots=True)
class ModuleEvent:
    """One thing that happened to a module version or to the routes.

    Attributes:
        module: ``name/version``; empty for the routes.
        state: As in ``ModuleInfo``; empty for the routes.
        text: For people.
        elapsed_s: Time in the state before.
    """

    module: str
    state: str
    text: str
    elapsed_s: float


class Admin(Closing):
    """One connection to a server, for those who run it.

    Args:
        address: host:port; default $LEGONN_ADDRESS, else 127.0.0.1:50051.
        timeout_s: Deadline of each call, in seconds; watching has none.
    """

    def __init__(self, address: str | None = None, *, timeout_s: float = 60.0) -> None:
        self.address = _channel.resolve(address)
        self._timeout_s = timeout_s
        self._channel = grpc.insecure_channel(self.address, _channel.options(self.address))
        self._stub = module_service_pb2_grpc.ModuleServiceStub(self._channel)

    def close(self) -> None:
        """End all calls and the connection."""
        self._channel.close()

    def load(self, module: str, *, wait_s: float = 0.0) -> ModuleInfo:
        """Bring ``name/version`` into memory; without a wait it is LOADING on return."""
        name, version = _parts(module)
        request = module_service_pb2.LoadModuleRequest(
            name=name, version=version, request_id=str(uuid.uuid4())
        )
        request.wait_duration.FromMilliseconds(round(wait_s * 1000))
        with _rpc_errors():
            answer = self._stub.LoadModule(request, timeout=self._timeout_s + wait_s)
        return _version(answer.module, version)

    def unload(self, module: str, *, drain: bool = False) -> ModuleInfo:
        """Take ``name/version`` out of memory; with ``drain`` when nobody uses it any more."""
        name, version = _parts(module)
        request = module_service_pb2.UnloadModuleRequest(
            name=name, version=version, request_id=str(uuid.uuid4()), drain=drain
        )
        with _rpc_errors():
            answer = self._stub.UnloadModule(request, timeout=self._timeout_s)
        return _version(answer.module, version)

    def routes(self) -> module_card_pb2.RouteTable:
        """The routes of this moment."""
        with _rpc_errors():
            request = module_service_pb2.GetRoutesRequest()
            return self._stub.GetRoutes(request, timeout=self._timeout_s).table

    def set_route(
        self, route: module_card_pb2.Route, *, expected_generation: int = 0
    ) -> module_card_pb2.RouteTable:
        """Add a route, or replace the one with the same task, languages and model.

        Args:
            route: The route; its modules must be in memory.
            expected_generation: Change nothing if the routes have another one; 0 takes any.
        """
        request = module_service_pb2.SetRouteRequest(
            route=route, expected_generation=expected_generation, request_id=str(uuid.uuid4())
        )
        with _rpc_errors():
            return self._stub.SetRoute(request, timeout=self._timeout_s).table

    @contextmanager
    def watching(
        self, *, timeout_s: float | None = None
    ) -> Iterator[Iterator[module_service_pb2.WatchModulesResponse]]:
        """Everything once, then each change, for the length of a ``with`` block."""
        request = module_service_pb2.WatchModulesRequest()
        call = self._stub.WatchModules(request, timeout=timeout_s)

        def messages() -> Iterator[module_service_pb2.WatchModulesResponse]:
            with _rpc_errors():
                yield from call

        try:
            yield messages()
        finally:
            call.cancel()

    def events(self, *, timeout_s: float | None = None) -> Iterator[ModuleEvent]:
        """What happens from now on."""
        with self.watching(timeout_s=timeout_s) as messages:
            for message in messages:
                yield from map(_event, message.events)

    def swap(
        self,
        module: str,
        *,
        canary: module_card_pb2.Canary | None = None,
        timeout_s: float = 600.0,
        is_awaited: bool = True,
    ) -> Iterator[ModuleEvent]:
        """Put ``name/version`` in place of the other versions of its name, in every route.

        Loads and checks it, sets the routes, and waits until the old versions left memory. What
        happens is yielded as it happens; nothing else happens while it is not asked for.

        Args:
            module: The new version.
            canary: Try it with a part of the sessions in place of setting it for all.
            timeout_s: Longest time for all of it.
            is_awaited: Wait for the old versions to leave; else end with the routes.

        Raises:
            LegonnError: Why it cannot be; the old versions serve on then.
        """
        name, version = _parts(module)
        with self.watching(timeout_s=timeout_s) as messages:
            next(messages)
            info = self.load(module)
            for message in messages if info.state not in _ENDED else ():
                for event in map(_event, message.events):
                    yield event
                    if event.module != module:
                        continue
                    if event.state == "FAILED":
                        raise errors.ContractMismatch(event.text, from_server=True)
                    info = _version(_named(message.modules, name), version)
                if info.state in _ENDED:
                    break
            leaving = self._shift(name, module, canary)
            if canary is not None or not is_awaited:
                return
            for message in messages if leaving else ():
                for event in map(_event, message.events):
                    yield event
                    if event.state == "RETIRED":
                        leaving.discard(event.module)
                if not leaving:
                    return

    def _shift(self, name: str, module: str, canary: module_card_pb2.Canary | None) -> set[str]:
        """Set every route of a module to a version; gives the versions that were there."""
        table = self.routes()
        before: set[str] = set()
        for route in table.routes:
            for side in ("encoder", "decoder"):
                old = getattr(route, side)
                if old.rpartition("/")[0] != name or old == module:
                    continue
                if canary is None:
                    before.add(old)
                    setattr(route, side, module)
                else:
                    route.canary.CopyFrom(canary)
                    setattr(route.canary, side, module)
                table.generation = self.set_route(
                    route, expected_generation=table.generation
                ).generation
        return before


def _parts(module: str) -> tuple[str, str]:
    name, slash, version = module.rpartition("/")
    if not slash or not name or not version:
        raise errors.BadConfig(f"a module is written name/version, such as speech-en/2: {module}")
    return name, version


def _named(modules: Iterable[module_card_pb2.Module], name: str) -> module_card_pb2.Module:
    return next((one for one in modules if one.name == name), module_card_pb2.Module(name=name))


def _version(module: module_card_pb2.Module, version: str) -> ModuleInfo:
    for info in _convert.modules(module):
        if info.version == version:
            return info
    return ModuleInfo(module.name, version, "", "", "", "", "ABSENT", "", "", 0, {})


def _event(message: module_service_pb2.ModuleEvent) -> ModuleEvent:
    state = module_card_pb2.ModuleState.Name(message.state).removeprefix("MODULE_STATE_")
    return ModuleEvent(
        module=message.module,
        state="" if state == "UNSPECIFIED" else state,
        text=message.text,
        elapsed_s=message.elapsed_duration.ToMicroseconds() / 1e6,
    )


@contextmanager
def _rpc_errors() -> Iterator[None]:
    try:
        yield
    except grpc.RpcError as failure:
        raise errors.from_rpc(failure) from None
