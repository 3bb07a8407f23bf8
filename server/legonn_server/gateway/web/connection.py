"""One connection of the web door, before it is a request: what uvicorn leaves to its users.

Headers that do not come in time end it, too many connections of one address are closed, and the
names of a client's certificate are kept for ``access.py``.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any, ClassVar

from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

from legonn_server.gateway.web.access import PEER_NAMES
from legonn_server.gateway.web.policy import WebLimits
from legonn_server.telemetry.metrics import Metrics

_ADDRESS = "peer_address"


class Connections:
    """How many connections each address has open.

    Args:
        limits: What the web door allows.
        metrics: Where those are counted that were closed.
    """

    def __init__(self, limits: WebLimits, metrics: Metrics) -> None:
        self.limits = limits
        self._metrics = metrics
        self._by_address: Counter[str] = Counter()

    def enter(self, address: str) -> bool:
        """Count one; False if the address has as many as it may."""
        if self._by_address[address] >= self.limits.max_connections_per_address:
            self._metrics.connections_closed.labels("address_limit").inc()
            return False
        self._by_address[address] += 1
        return True

    def leave(self, address: str) -> None:
        """One that was counted has ended."""
        self._by_address[address] -= 1
        if self._by_address[address] <= 0:
            del self._by_address[address]

    def too_slow(self) -> None:
        """Headers did not come in time."""
        self._metrics.connections_closed.labels("slow_headers").inc()


def protocols(
    connections: Connections,
) -> tuple[type[asyncio.Protocol], type[asyncio.Protocol]]:
    """What uvicorn makes of each connection, and of each that becomes a WebSocket."""
    http = type("Http", (_Http,), {"ledger": connections})
    socket = type("Socket", (_Socket,), {"ledger": connections})
    return http, socket


class _Http(H11Protocol):
    ledger: ClassVar[Connections]

    def __init__(self, *args: Any, **named: Any) -> None:
        super().__init__(*args, **named)
        self._is_counted = False
        self._is_upgraded = False
        self._waiting: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as in uvicorn
        super().connection_made(transport)
        address = self.client[0] if self.client else ""
        self._is_counted = self.ledger.enter(address)
        if not self._is_counted:
            transport.abort()
            return
        self.app_state = {**self.app_state, PEER_NAMES: _names(transport), _ADDRESS: address}
        self._wait_for_headers()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self._is_upgraded or (self.cycle is not None and not self.cycle.response_complete):
            self._stop_waiting()
        else:
            self._wait_for_headers()

    def handle_websocket_upgrade(self, event: Any) -> None:
        self._is_upgraded = True
        super().handle_websocket_upgrade(event)

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._stop_waiting()
        if self._is_counted and not self._is_upgraded:
            self.ledger.leave(self.app_state[_ADDRESS])

    def _wait_for_headers(self) -> None:
        if self._waiting is None:
            seconds = self.ledger.limits.header_seconds
            self._waiting = self.loop.call_later(seconds, self._end_slow)

    def _stop_waiting(self) -> None:
        if self._waiting is not None:
            self._waiting.cancel()
            self._waiting = None

    def _end_slow(self) -> None:
        self.ledger.too_slow()
        self.transport.abort()


class _Socket(WebSocketsSansIOProtocol):
    ledger: ClassVar[Connections]

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self.ledger.leave(self.app_state[_ADDRESS])


def _names(transport: asyncio.BaseTransport) -> tuple[str, ...]:
    """Common name and alternative names of a verified client certificate; none without one."""
    found = transport.get_extra_info("peercert") or {}
    common = [
        value
        for relative in found.get("subject", ())
        for key, value in relative
        if key == "commonName"
    ]
    return (*common, *(value for _, value in found.get("subjectAltName", ())))
