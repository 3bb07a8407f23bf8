"""Who may call from a browser: the host that is asked for, the page that asks, what it loads.

A server on loopback is within reach of every page that its user opens. Two checks keep such pages
out: the Origin must be the server's own or be listed, and the Host must be an address or a listed
name, since a hostile name may be made to point at 127.0.0.1.
"""

from __future__ import annotations

import ipaddress
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from legonn_server.gateway.web.policy import WebLimits

_SECURITY = {
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self';"
        " connect-src 'self'; media-src 'self'; worker-src 'self'; base-uri 'none';"
        " form-action 'none'; frame-ancestors 'none'"
    ),
    "cross-origin-opener-policy": "same-origin",
    "permissions-policy": "microphone=(self), camera=(), geolocation=()",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
}
_UNSAFE = {"POST", "PUT", "PATCH", "DELETE"}


class Guard:
    """Refuses strange hosts and origins; puts the security headers on every answer.

    Args:
        app: What is behind.
        limits: Which origins are listed.
        host: The host that the server listens on; a name in it may be asked for.
    """

    def __init__(self, app: ASGIApp, limits: WebLimits, host: str) -> None:
        self._app = app
        self._origins = {origin.lower() for origin in limits.allowed}
        self._hosts = {"localhost", host.lower(), *(_hostname(one) for one in self._origins)}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request through, or answer 403."""
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        refusal = self._refusal(scope, Headers(scope=scope))
        if refusal is None:
            await self._app(scope, receive, _with_headers(send))
            return
        answer = JSONResponse(
            {
                "error": {
                    "message": refusal,
                    "type": "invalid_request_error",
                    "param": None,
                    "code": "ORIGIN",
                }
            },
            403,
        )
        # Before the handshake is accepted, a WebSocket is answered like any request.
        await answer(scope, receive, send)

    def _refusal(self, scope: Scope, headers: Headers) -> str | None:
        host = headers.get("host", "")
        if not self._is_known_host(host):
            return "this server does not go by that name; list it in the setting web.origins"
        origin = headers.get("origin")
        is_crossing = scope["type"] == "websocket" or scope["method"] in _UNSAFE
        if origin is None or not is_crossing:
            return None
        if urlsplit(origin).netloc.lower() == host.lower() or origin.lower() in self._origins:
            return None
        return "pages of that origin may not call; list it in the setting web.origins"

    def _is_known_host(self, host: str) -> bool:
        name = _hostname(f"//{host}")
        if name in self._hosts:
            return True
        try:
            ipaddress.ip_address(name)
        except ValueError:
            return False
        return True


def _hostname(url: str) -> str:
    try:
        return (urlsplit(url).hostname or "").lower()
    except ValueError:
        return ""


def _with_headers(send: Send) -> Send:
    async def sending(message: Message) -> None:
        if message["type"] in ("http.response.start", "websocket.http.response.start"):
            MutableHeaders(scope=message).update(_SECURITY)
        await send(message)

    return sending
