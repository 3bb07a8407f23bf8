"""uvicorn in the gateway's own event loop: it leaves signals, logs and the drain to ``app.py``."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from collections.abc import Collection, Iterator

import uvicorn
from starlette.types import ASGIApp

from legonn_core.errors import BadConfig
from legonn_server.gateway.web.connection import Connections, protocols
from legonn_server.gateway.web.policy import WebLimits
from legonn_server.telemetry.metrics import Metrics

_LOOK_SECONDS = 0.05
_KEEPALIVE = (
    ((socket.SOL_SOCKET, socket.SO_KEEPALIVE), 1),
    ((socket.IPPROTO_TCP, socket.TCP_KEEPIDLE), 30),
    ((socket.IPPROTO_TCP, socket.TCP_KEEPINTVL), 5),
    ((socket.IPPROTO_TCP, socket.TCP_KEEPCNT), 2),
)
"""A peer that is gone without a word is found after 40 s, as over gRPC."""


class _Quiet(uvicorn.Server):
    """Signals belong to the whole process."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


class WebServer:
    """One open port with an application behind it.

    Args:
        app: What answers.
        limits: What the web door allows.
        metrics: Where connections are counted that are closed before they ask for anything.
        max_message_bytes: Largest message of a WebSocket.
        tls: Certificates; None for plain text.
    """

    def __init__(
        self,
        app: ASGIApp,
        limits: WebLimits,
        metrics: Metrics,
        *,
        max_message_bytes: int,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        # The socket's stops reading while the bridge does, so that TCP pushes back, and waits in
        # `send` while the caller does not read.
        http, socket_protocol = protocols(Connections(limits, metrics))
        self._server = _Quiet(
            uvicorn.Config(
                app,
                http=http,
                ws=socket_protocol,
                ssl_context_factory=(lambda *_: tls) if tls is not None else None,
                ws_max_size=max_message_bytes,
                ws_per_message_deflate=False,
                ws_ping_interval=limits.ping_seconds,
                # A peer's pong stands behind its audio, which is not read while the encoder is
                # behind: silence says nothing of the peer. TCP finds those that are gone.
                ws_ping_timeout=None,
                limit_concurrency=limits.max_connections,
                timeout_graceful_shutdown=None,
                lifespan="off",
                access_log=False,
                log_config=None,
                server_header=False,
                proxy_headers=False,
            )
        )
        self._serving: asyncio.Task[None] | None = None

    async def start(self, host: str, port: int) -> int:
        """Open the port; returns its number.

        Raises:
            BadConfig: If the port cannot be had.
        """
        try:
            listener = socket.create_server(
                (host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET
            )
        except OSError as error:
            raise BadConfig(f"cannot serve HTTP on {host}:{port}: {error.strerror}") from error
        listener.setblocking(False)
        for option, value in _KEEPALIVE:
            listener.setsockopt(*option, value)  # connections inherit it
        bound: int = listener.getsockname()[1]
        self._serving = asyncio.create_task(self._server.serve([listener]))
        return bound

    async def stop(self, open_calls: Collection[object], *, grace_seconds: float) -> None:
        """Take no new connections, let open calls end for so long, then cut them.

        Args:
            open_calls: The sessions of the gateway, which its drain brings to their end; the
                library would cut their sockets before the last finals are out.
            grace_seconds: Longest wait.
        """
        if self._serving is None:
            return
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(grace_seconds):
                # The sessions are a plain set; this looks only while the server stops.
                while open_calls:  # noqa: ASYNC110 - a set has no event to wait for
                    await asyncio.sleep(_LOOK_SECONDS)
        self._server.force_exit = grace_seconds <= 0
        self._server.config.timeout_graceful_shutdown = max(1, round(grace_seconds))
        self._server.should_exit = True
        await self._serving
