"""The composition root: builds everything from the settings, starts it, and takes it down again."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import signal
from collections.abc import Callable, Iterator

import grpc
from prometheus_client import CollectorRegistry, GCCollector, ProcessCollector

from legonn import __version__
from legonn_core.errors import BadConfig
from legonn_server.access.tenants import Tenants
from legonn_server.backends.embedded import EmbeddedBackend
from legonn_server.backends.protocol import Backend
from legonn_server.building import build_backend, build_reconciler, build_rehearsal
from legonn_server.config.doors import LOOPBACK, refuse_open_doors
from legonn_server.config.settings import (
    DEFAULT_HTTP,
    DEFAULT_METRICS,
    Settings,
    split_address,
)
from legonn_server.gateway.doorkeeper import Doorkeeper
from legonn_server.gateway.entrance import SPEECH, TEXT
from legonn_server.gateway.health import Health
from legonn_server.gateway.metrics_page import check_of, metrics_page
from legonn_server.gateway.sampler import Sampler, begin_at_zero
from legonn_server.gateway.server import build_server
from legonn_server.gateway.services import Services
from legonn_server.gateway.stream import Workers
from legonn_server.gateway.tls import Certificates
from legonn_server.gateway.web.server import WebServer
from legonn_server.gateway.web.site import build_site
from legonn_server.pools.decoder_pool import DecoderPool
from legonn_server.pools.encoder_pool import EncoderPool
from legonn_server.pools.module_manager import ModuleManager
from legonn_server.pools.shadowing import Shadowing
from legonn_server.pools.trials import Trials
from legonn_server.routing.admission import Admission
from legonn_server.telemetry.logs import log, shift_level
from legonn_server.telemetry.metrics import Metrics
from legonn_server.telemetry.traces import build_tracing

_FINALS_S = 5.0


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
        refuse_open_doors(settings)
        self.doorkeeper = Doorkeeper(settings.access, self.metrics)
        tls = settings.tls
        self.certificates = Certificates(tls, self.metrics) if tls.is_wanted else None
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
            tenants=Tenants(self.doorkeeper.quota),
            reconciler=self._reconciler,
            tracing=build_tracing(settings.traces, __version__),
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
        self._server = build_server(
            self.services,
            self._health,
            self.doorkeeper,
            self._settings.transport,
            max_streams=self._settings.admission.max_streams,
            has_reflection=host in LOOPBACK,
        )
        listen = self._settings.server.listen
        try:
            if self.certificates is None:
                port = self._server.add_insecure_port(listen)
            else:
                port = self._server.add_secure_port(listen, self.certificates.for_grpc())
        except RuntimeError as error:
            raise BadConfig(f"cannot listen on {listen}") from error
        self.address = f"{host}:{port}"
        await self._server.start()
        try:
            await self._open_web()
        except BadConfig:
            await self._server.stop(0)
            raise
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
            build_site(
                self.services,
                self._settings.web,
                self.doorkeeper,
                is_serving=lambda: self._health.is_serving,
                host=host,
            ),
            self._settings.web,
            self.metrics,
            max_message_bytes=limits.max_message_bytes,
            tls=self.certificates.for_http() if self.certificates else None,
        )
        try:
            port = await web.start(host, port)
        except BadConfig as error:
            if listen != DEFAULT_HTTP:
                raise
            log(logging.WARNING, f"no captions page: {error.message}")
            return
        self._web = web
        scheme = "https" if self.certificates else "http"
        self.page = f"{scheme}://{f'[{host}]' if ':' in host else host}:{port}/"

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
        await asyncio.to_thread(self.services.tracing.stop)


@contextlib.contextmanager
def _metrics(settings: Settings, gateway: Gateway) -> Iterator[str]:
    """Serve /metrics; gives its URL, empty if there is none.

    Raises:
        BadConfig: If the port was asked for and cannot be had.
    """
    address = settings.server.metrics
    if not address:
        yield ""
        return
    host, port = split_address(address)
    is_guarded = not gateway.doorkeeper.is_open and not settings.access.open_metrics
    certificates = gateway.certificates if host not in LOOPBACK else None
    tls = certificates.for_http() if certificates else None
    with contextlib.ExitStack() as stack:
        page = metrics_page(
            host,
            port,
            gateway.metrics.registry,
            check=check_of(gateway.doorkeeper) if is_guarded else None,
            tls=tls,
        )
        try:
            port = stack.enter_context(page)
        except BadConfig:
            if address != DEFAULT_METRICS:
                raise
            log(logging.WARNING, "no metrics page: the port is taken", address=address)
            yield ""
        else:
            yield f"{'https' if tls else 'http'}://{host}:{port}/metrics"


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
    with _metrics(settings, gateway) as metrics_url:
        starting = asyncio.create_task(gateway.start())
        stopping = asyncio.create_task(signals.get())
        await asyncio.wait({starting, stopping}, return_when=asyncio.FIRST_COMPLETED)
        try:
            if starting.done():
                starting.result()
                _settle_memory()
                announce(_ready_line(gateway, metrics_url))
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


def _ready_line(gateway: Gateway, metrics_url: str) -> str:
    modules = ", ".join(str(module.ref) for module in gateway.services.modules.modules)
    page = f"; metrics at {metrics_url}" if metrics_url else ""
    captions = f"; captions at {gateway.page}" if gateway.page else ""
    return f"legonn is ready at {gateway.address} with {modules or 'no modules'}{captions}{page}"
