"""HTTP and WebSocket calls on their way past the doorkeeper; the other door's interceptor."""

from __future__ import annotations

from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from legonn_core.errors import LegonnError
from legonn_server.access import tickets
from legonn_server.access.identity import Identity, Presented, bearer_of
from legonn_server.access.roles import needed_by_path
from legonn_server.gateway.doorkeeper import Doorkeeper, current_identity
from legonn_server.gateway.interceptors.web import error_response
from legonn_server.telemetry.metrics import Metrics

PEER_NAMES = "peer_names"
"""Where ``connection.py`` leaves the names of a verified client certificate in a scope's state."""


class Access:
    """Refuses those who may not; tells those below who calls.

    A refused WebSocket is answered before its handshake, like any request.

    Args:
        app: What is behind.
    """

    def __init__(self, app: ASGIApp, doorkeeper: Doorkeeper, metrics: Metrics) -> None:
        self._app = app
        self._doorkeeper = doorkeeper
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve the call if its caller may make it."""
        if scope["type"] in ("http", "websocket"):
            try:
                current_identity.set(self._admitted(scope))
            except LegonnError as error:
                self._metrics.errors.labels(error.reason).inc()
                await error_response(error)(scope, receive, send)
                return
        await self._app(scope, receive, send)

    def _admitted(self, scope: Scope) -> Identity:
        needed = needed_by_path(scope["path"])
        ticket = tickets.in_protocols(scope.get("subprotocols", ()))
        if ticket:
            return self._doorkeeper.admit_ticket(ticket, needed)
        presented = Presented(
            bearer=bearer_of(Headers(scope=scope).get("authorization", "")),
            names=tuple(scope.get("state", {}).get(PEER_NAMES, ())),
        )
        return self._doorkeeper.admit(presented, needed)


class Tickets:
    """``POST /v1/tickets``: a ticket for the caller, good for one WebSocket soon."""

    def __init__(self, doorkeeper: Doorkeeper) -> None:
        self._doorkeeper = doorkeeper

    async def issue(self, request: Request) -> Response:
        """Answer with the ticket and how long it holds."""
        del request
        ticket = self._doorkeeper.ticket(current_identity.get())
        content = {"ticket": ticket, "expiresInSeconds": tickets.SECONDS}
        return JSONResponse(content, headers={"cache-control": "no-store"})
