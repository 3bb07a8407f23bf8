"""``/metrics`` on a port and a thread of its own: it answers also while the event loop does not."""

from __future__ import annotations

import contextlib
import ssl
import threading
from collections.abc import Callable, Iterable, Iterator
from wsgiref.simple_server import WSGIRequestHandler, make_server
from wsgiref.types import StartResponse, WSGIEnvironment

from prometheus_client import CollectorRegistry, make_wsgi_app
from prometheus_client.exposition import ThreadingWSGIServer

from legonn_core.errors import BadConfig, LegonnError
from legonn_server.access.identity import Presented, bearer_of
from legonn_server.access.roles import METRICS_PATH, needed_by_path
from legonn_server.gateway.doorkeeper import Doorkeeper
from legonn_server.gateway.interceptors.web import http_status

Check = Callable[[Presented], None]
"""Raises ``LegonnError`` for those who may not look."""

_REASONS = {401: "401 Unauthorized", 403: "403 Forbidden"}


class _Quiet(WSGIRequestHandler):
    timeout = 10  # seconds for a caller to say what it wants

    def log_message(self, format: str, *args: object) -> None:
        """Scrapes are no events."""


def check_of(doorkeeper: Doorkeeper) -> Check:
    """Those with the metrics role."""

    def check(presented: Presented) -> None:
        doorkeeper.admit(presented, needed_by_path(METRICS_PATH))

    return check


@contextlib.contextmanager
def metrics_page(
    host: str,
    port: int,
    registry: CollectorRegistry,
    *,
    check: Check | None = None,
    tls: ssl.SSLContext | None = None,
) -> Iterator[int]:
    """Serve the registry for the length of a ``with`` block; gives the port.

    Raises:
        BadConfig: If the port cannot be had.
    """
    answer = make_wsgi_app(registry)

    def guarded(environ: WSGIEnvironment, start: StartResponse) -> Iterable[bytes]:
        if check is not None:
            try:
                check(Presented(bearer_of(environ.get("HTTP_AUTHORIZATION", ""))))
            except LegonnError as error:
                start(_REASONS[http_status(error)], [("content-type", "text/plain")])
                return [f"{error.message}\n".encode()]
        found: Iterable[bytes] = answer(environ, start)
        return found

    try:
        server = make_server(host, port, guarded, ThreadingWSGIServer, handler_class=_Quiet)
    except OSError as error:
        raise BadConfig(f"cannot serve metrics on {host}:{port}: {error.strerror}") from error
    if tls is not None:
        # The handshake is the first read, on the thread of its connection: it holds up nobody.
        server.socket = tls.wrap_socket(
            server.socket, server_side=True, do_handshake_on_connect=False
        )
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
