"""The composition root: builds everything from the settings, starts it, and takes it down again."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import grpc
from prometheus_client import (
    CollectorRegistry,
    GCCollector,
    ProcessCollector,
    start_http_server,
)

from legonn import __version__
from legonn_core.errors import (
    BadConfig,
)
from legonn_core.runtime.messages import ModuleRef
from legonn_server.backends.embedded import EmbeddedBackend, EmbeddedOptions
from legonn_server.backends.fake import FakeBackend, FakeScript
from legonn_server.backends.protocol import Backend
from legonn_server.backends.rehearsal import ProcessRehearsal, Rehearsal, RehearsalOptions
from legonn_server.config.settings import (
    DEFAULT_HTTP,
    DEFAULT_METRICS,
    Settings,
    engine_environment,
    modules_folder,
    split_address,
)
from legonn_server.gateway.entrance import SPEECH, TEXT
from legonn_server.gateway.health import Health
from legonn_server.gateway.sampler import Sampler, begin_at_zero
from legonn_server.gateway.server import build_server
from legonn_server.gateway.services import Services
from legonn_server.gateway.stream import Workers
from legonn_server.gateway.web.server import WebServer
from legonn_server.gateway.web.site import build_site
from legonn_server.pools.decoder_pool import DecoderPool
from legonn_server.pools.encoder_pool import EncoderPool
from legonn_server.pools.module_manager import ModuleManager
from legonn_server.pools.reconciler import Reconciler
from legonn_server.pools.routes_folder import RoutesFolder
from legonn_server.pools.shadowing import Shadowing
from legonn_server.pools.trials import Trials
from legonn_server.routing import routes_file
from legonn_server.routing.admission import Admission
from legonn_server.telemetry.logs import log, shift_level
from legonn_server.telemetry.metrics import Metrics

_FINALS_S = 5.0
_LOOPBACK = {"localhost", "127.0.0.1", "::1"}


class Gateway:
    """One server: ``start`` opens the port and loads the modules, ``stop`` drains.

    Args:
        settings: The whole tree.
        backend: What runs the modules.
        registry: Where metrics go.

    Attributes:
        services: What the handlers share.
        address: ``HOST:PORT`` once the port is open, with the real port.
        page: URL of the captions page once its port is open; empty if there is none.
    """

    def __init__(
        self, settings: Settings, backend: Backend, registry: CollectorRegistry | None = None
    ) -> None:
        self._settings = settings
        self._backend = backend
        self.metrics = Metrics(registry or CollectorRegistry())
        self.metrics.build_info.labels(__version__).set(1)
        begin_at_zero(self.metrics)
        self._health = Health()
        modules = ModuleManager(
            backend, self.metrics, rule=settings.swap, rehearsal=build_rehearsal(settings)
        )
        self._reconciler = build_reconciler(settings, modules)
        self._shadowing = Shadowing(backend, modules.pins, self.metrics)
        trials = Trials(
            modules, self._reconciler.replace, shadowing=self._shadowing, metrics=self.metrics
        )
        modules.shares, self._reconciler.on_tick = trials, trials.tick
        self.services = Services(
            modules=modules,
            workers=Workers(
                EncoderPool(backend, self.metrics),
                DecoderPool(backend, self.metrics, settings.decoder_pool),
                self.metrics,
                pins=modules.pins,
                outcomes=trials,
            ),
            speech_admission=Admission(settings.admission),
            text_admission=Admission(settings.admission),
            limits=settings.limits,
            endpoint_rule=settings.endpoint,
            decoding=settings.decoding,
            text=settings.text,
            cache=settings.cache,
            reconciler=self._reconciler,
        )
        self._server: grpc.aio.Server | None = None
        self._was_up = False
        self._sampling: asyncio.Task[None] | None = None
        self._reconciling: asyncio.Task[None] | None = None
        self._shading: asyncio.Task[None] | None = None
        self._web: WebServer | None = None
        self.address = ""
        self.page = ""

    async def start(self) -> None:
        """Open the port, then load the modules; health says when they serve.

        Raises:
            BadConfig: If the port cannot be had.
            LegonnError: If the modules cannot be loaded.
        """
        await self._health.live()
        await self._health.set_backend(is_up=False)
        host, _ = split_address(self._settings.server.listen)
        is_local = host in _LOOPBACK
        if not is_local:
            log(logging.WARNING, "listening beyond loopback without TLS", host=host)
        self._server = build_server(self.services, self._health, has_reflection=is_local)
        try:
            port = self._server.add_insecure_port(self._settings.server.listen)
        except RuntimeError as error:
            raise BadConfig(f"cannot listen on {self._settings.server.listen}") from error
        self.address = f"{host}:{port}"
        await self._server.start()
        await self._open_web()
        await self._backend.start()
        await self.services.modules.start(self._reconciler.first())
        self._reconciling = asyncio.create_task(self._reconciler.run())
        self._shading = asyncio.create_task(self._shadowing.run())
        for kind in (SPEECH, TEXT):
            self.metrics.sessions_limit.labels(kind).set(self._settings.admission.max_streams)
        self._sampling = asyncio.create_task(Sampler(self.services).run())
        self.services.speech_admission.open()
        self.services.text_admission.open()
        await self.set_backend_state(is_up=True)

    async def _open_web(self) -> None:
        """Open the port of page, bridge and HTTP calls, if one is wanted.

        Raises:
            BadConfig: If the port was asked for and cannot be had.
        """
        listen = self._settings.server.http
        if not listen:
            return
        host, port = split_address(listen)
        limits = self._settings.limits
        web = WebServer(
            build_site(self.services, self._settings.web, host=host),
            self._settings.web,
            max_message_bytes=limits.max_message_bytes,
        )
        try:
            port = await web.start(host, port)
        except BadConfig as error:
            if listen != DEFAULT_HTTP:
                raise
            log(logging.WARNING, f"no captions page: {error.message}")
            return
        if host not in _LOOPBACK:
            log(logging.WARNING, "serving HTTP beyond loopback without TLS", host=host)
        self._web = web
        self.page = f"http://{f'[{host}]' if ':' in host else host}:{port}/"

    async def set_backend_state(self, *, is_up: bool) -> None:
        """The engine came up or went down: tell health and metrics."""
        if self._was_up and not is_up:
            self.metrics.backend_restarts.inc()
        self._was_up = is_up
        self.metrics.backend_up.set(is_up)
        await self._health.set_backend(is_up=is_up)

    async def stop(self, *, grace_seconds: float | None = None) -> None:
        """Drain: refuse new calls, finish open segments, then take everything down."""
        grace = self._settings.server.grace_seconds if grace_seconds is None else grace_seconds
        self.metrics.draining.set(1)
        await self._health.drain()
        self.services.drain(grace_s=grace)
        # What is left of the grace is for the finals of those who spoke on.
        cut_after = max(grace - _FINALS_S, grace / 2)
        cutting = asyncio.get_running_loop().call_later(cut_after, self.services.cut)
        async with asyncio.TaskGroup() as both:
            if self._web is not None:
                both.create_task(self._web.stop(self.services.runners, grace_seconds=grace))
            if self._server is not None:
                both.create_task(self._server.stop(grace))
        cutting.cancel()
        for task in (self._sampling, self._reconciling, self._shading):
            if task is not None:
                task.cancel()
        await self.services.modules.stop()
        await self._backend.stop()
        await self.services.decoders.stop()


def build_backend(settings: Settings, on_state: Callable[[bool], None]) -> Backend:
    """The backend that the settings name."""
    if settings.server.backend == "fake":
        return FakeBackend(FakeScript(max_slots=settings.admission.max_streams))
    if settings.server.backend == "triton":
        return _triton_backend(settings, on_state)
    folder = modules_folder(settings)
    return EmbeddedBackend(
        EmbeddedOptions(
            command=_engine_command(settings, folder),
            environment=engine_environment(settings),
            modules=_routed(settings),
        ),
        on_progress=lambda text: log(logging.INFO, text),
        on_state=on_state,
    )


def _triton_backend(settings: Settings, on_state: Callable[[bool], None]) -> Backend:
    """Triton servers; their client library is an extra, so it is imported only here."""
    try:
        from legonn_server.backends.triton import TritonBackend
    except ModuleNotFoundError as error:
        raise BadConfig(
            f"--backend triton needs {error.name}: pip install 'legonn[triton]'"
        ) from error
    return TritonBackend(
        settings.triton, on_progress=lambda text: log(logging.INFO, text), on_state=on_state
    )


def _engine_command(settings: Settings, folder: Path) -> tuple[str, ...]:
    """The engine's entry point, named as a string: this process never imports it."""
    return (
        sys.executable,
        "-m",
        "legonn_core.runtime.process",
        f"--modules={folder}",
        f"--threads={settings.server.threads}",
        f"--slots={settings.admission.max_streams}",
    )


def build_rehearsal(settings: Settings) -> Rehearsal | None:
    """Who tries a version before the engine loads it; the fake has no files to try."""
    if settings.server.backend == "fake":
        return None
    folder = modules_folder(settings)
    command = (sys.executable, "-m", "legonn_core.modules.check", "--nice=5", f"--store={folder}")
    return ProcessRehearsal(
        RehearsalOptions(command, folder, environment=engine_environment(settings))
    )


def build_reconciler(settings: Settings, modules: ModuleManager) -> Reconciler:
    """Who follows the routes file, if there is one, and the clock."""
    server = settings.server
    folder = (
        RoutesFolder(Path(server.routes), is_read_only=server.routes_read_only)
        if server.routes
        else None
    )
    return Reconciler(modules, folder)


def _routed(settings: Settings) -> tuple[ModuleRef, ...]:
    """What the routes file names: the first child loads that and nothing else."""
    if not settings.server.routes:
        return ()
    text = RoutesFolder(Path(settings.server.routes)).read()
    return () if text is None else tuple(sorted(routes_file.parse(text).refs))


@contextlib.contextmanager
def metrics_page(settings: Settings, registry: CollectorRegistry) -> Iterator[str]:
    """Serve /metrics; gives the address, empty if there is none.

    Raises:
        BadConfig: If the port was asked for and cannot be had.
    """
    address = settings.server.metrics
    if not address:
        yield ""
        return
    host, port = split_address(address)
    try:
        server, thread = start_http_server(port, addr=host, registry=registry)
    except OSError as error:
        if address != DEFAULT_METRICS:
            raise BadConfig(f"cannot serve metrics on {address}: {error.strerror}") from error
        log(logging.WARNING, "no metrics page: the port is taken", address=address)
        yield ""
        return
    try:
        yield f"{host}:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


async def serve(settings: Settings, announce: Callable[[str], None]) -> None:
    """Serve until SIGTERM or SIGINT, then drain; a second signal cuts the drain short.

    Args:
        settings: The whole tree.
        announce: Told one line when the modules serve.

    Raises:
        LegonnError: If the server cannot start.
    """
    signals: asyncio.Queue[int] = asyncio.Queue()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, signals.put_nowait, number)
    loop.add_signal_handler(signal.SIGUSR1, shift_level, 1)
    loop.add_signal_handler(signal.SIGUSR2, shift_level, -1)
    states: asyncio.Queue[bool] = asyncio.Queue()
    backend = build_backend(settings, states.put_nowait)
    gateway = Gateway(settings, backend)
    _watch_processes(gateway.metrics.registry, backend)
    with metrics_page(settings, gateway.metrics.registry) as metrics_address:
        starting = asyncio.create_task(gateway.start())
        stopping = asyncio.create_task(signals.get())
        await asyncio.wait({starting, stopping}, return_when=asyncio.FIRST_COMPLETED)
        try:
            if starting.done():
                starting.result()
                _settle_memory()
                announce(_ready_line(gateway, metrics_address))
                await _follow(gateway, states, stopping)
            starting.cancel()
            log(logging.INFO, "draining", grace_seconds=settings.server.grace_seconds)
        finally:
            stopping.cancel()
            await _stop(gateway, signals)


def _settle_memory() -> None:
    """Look less often for garbage in cycles, and never again among what lives as long as we do.

    By default every 700 new objects start a look, and each tenth of those a longer one: that is
    4 % of the time of a loaded gateway, in pauses. Streams leave few cycles behind.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 20)


def _watch_processes(registry: CollectorRegistry, backend: Backend) -> None:
    """Memory, CPU and open files of this process, and of the engine's if it has one here."""
    ProcessCollector(registry=registry)
    GCCollector(registry)
    if isinstance(backend, EmbeddedBackend):
        ProcessCollector(namespace="engine", pid=lambda: backend.engine_pid, registry=registry)


async def _follow(
    gateway: Gateway, states: asyncio.Queue[bool], stopping: asyncio.Task[int]
) -> None:
    """Pass on how the backend is, until a signal comes."""
    while not stopping.done():
        state = asyncio.create_task(states.get())
        await asyncio.wait({state, stopping}, return_when=asyncio.FIRST_COMPLETED)
        if state.done():
            await gateway.set_backend_state(is_up=state.result())
        state.cancel()


async def _stop(gateway: Gateway, signals: asyncio.Queue[int]) -> None:
    """Drain; a second signal ends the calls that are still open."""
    draining = asyncio.create_task(gateway.stop())
    again = asyncio.create_task(signals.get())
    await asyncio.wait({draining, again}, return_when=asyncio.FIRST_COMPLETED)
    if not draining.done():
        await gateway.stop(grace_seconds=0)
    again.cancel()
    await draining


def _ready_line(gateway: Gateway, metrics_address: str) -> str:
    modules = ", ".join(str(module.ref) for module in gateway.services.modules.modules)
    page = f"; metrics at http://{metrics_address}/metrics" if metrics_address else ""
    captions = f"; captions at {gateway.page}" if gateway.page else ""
    return f"legonn is ready at {gateway.address} with {modules or 'no modules'}{captions}{page}"
