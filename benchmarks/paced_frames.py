"""A generator of paced streams far cheaper than a gRPC library: HTTP/2 frames, made beforehand.

A client library spends more on a message than the gateway that is to be measured, so on two cores
it would measure itself. Here every message is bytes before the clock starts, sending one is a copy
into a socket, and what comes back is kept with its time and read after the run. One connection
carries many streams, as behind a balancer. RFC 9113; the server's flow control is obeyed.
"""

from __future__ import annotations

import heapq
import math
import selectors
import socket
import struct
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_DATA, _HEADERS, _RESET, _SETTINGS, _PING, _GOAWAY, _WINDOW = 0, 1, 3, 4, 6, 7, 8
_END_STREAM, _END_HEADERS, _ACK = 1, 4, 1
_INITIAL_WINDOW_SIZE = 4
_MOST = (1 << 31) - 1
_DEFAULT_WINDOW = 65_535
_PREFIX = struct.Struct(">BI")


class Broken(Exception):
    """The server closed the connection, or speaks something else."""


def message_bytes(serialized: bytes) -> bytes:
    """One gRPC message: not compressed, its length, itself."""
    return _PREFIX.pack(0, len(serialized)) + serialized


@dataclass(slots=True)
class Call:
    """One stream of a connection.

    Attributes:
        messages: What is sent: the first at ``start``, each next one a period later.
        start: Monotonic second at which the first message is sent.
        period_s: Between messages.
        answers: Serialized answers, each with the monotonic second at which it was read.
        lateness: Of each message: seconds between when it was due and when it was written.
        is_done: Whether the server ended the stream.
        is_reset: Whether it did so without an ordinary end.
    """

    messages: Sequence[bytes]
    start: float
    period_s: float
    answers: list[tuple[float, bytes]] = field(default_factory=list)
    lateness: list[float] = field(default_factory=list)
    is_done: bool = False
    is_reset: bool = False
    next_message: int = 0
    window: int = _DEFAULT_WINDOW
    rest: bytearray = field(default_factory=bytearray)

    @property
    def due(self) -> float:
        """When the next message is to be sent."""
        return self.start + self.next_message * self.period_s


class Connection:
    """One TCP connection and its calls.

    Args:
        address: HOST:PORT.
        path: Of the method, as in ``/package.Service/Method``.
    """

    def __init__(self, address: str, path: str) -> None:
        host, _, port = address.rpartition(":")
        self.socket = socket.create_connection((host, int(port)))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket.setblocking(False)
        self._headers = _request_headers(path, address)
        self._calls: dict[int, Call] = {}
        self._window = _DEFAULT_WINDOW
        self._stream_window = _DEFAULT_WINDOW
        self._due: list[tuple[float, int]] = []
        self._blocked: list[tuple[float, int]] = []
        self._unread = bytearray()
        self._unsent: deque[bytes] = deque()
        self._send(_PREFACE)
        self._send(_frame(_SETTINGS, 0, 0, struct.pack(">HI", _INITIAL_WINDOW_SIZE, _MOST)))
        self._send(_frame(_WINDOW, 0, 0, struct.pack(">I", _MOST - _DEFAULT_WINDOW)))

    def open(self, call: Call) -> None:
        """Begin a call; its messages go when they are due."""
        number = 2 * len(self._calls) + 1
        call.window = self._stream_window
        self._calls[number] = call
        heapq.heappush(self._due, (call.due, number))
        self._send(_frame(_HEADERS, _END_HEADERS, number, self._headers))

    def send_due(self, now: float) -> None:
        """Write every message that is due and fits into the server's windows."""
        while self._due and self._due[0][0] <= now:
            due, number = heapq.heappop(self._due)
            call = self._calls[number]
            message = call.messages[call.next_message]
            if call.is_done:
                continue
            if len(message) > min(self._window, call.window):
                self._blocked.append((due, number))
                continue
            call.next_message += 1
            is_last = call.next_message == len(call.messages)
            self._send(_frame(_DATA, _END_STREAM * is_last, number, message))
            self._window -= len(message)
            call.window -= len(message)
            call.lateness.append(now - due)
            if not is_last:
                heapq.heappush(self._due, (call.due, number))

    @property
    def next_due(self) -> float:
        """When something is to be sent; infinity if nothing is."""
        return self._due[0][0] if self._due else math.inf

    def read(self) -> None:
        """Take what has come.

        Raises:
            Broken: If the connection is closed.
        """
        try:
            while content := self.socket.recv(1 << 18):
                self._unread += content
                if len(content) < 1 << 18:
                    break
            else:
                raise Broken("the server closed the connection")
        except BlockingIOError:
            pass
        now = time.monotonic()
        at = 0
        while len(self._unread) - at >= 9:
            length = int.from_bytes(self._unread[at : at + 3], "big")
            if len(self._unread) - at < 9 + length:
                break
            kind, flags = self._unread[at + 3], self._unread[at + 4]
            number = int.from_bytes(self._unread[at + 5 : at + 9], "big")
            self._take(kind, flags, number, bytes(self._unread[at + 9 : at + 9 + length]), now)
            at += 9 + length
        del self._unread[:at]

    def _take(self, kind: int, flags: int, number: int, payload: bytes, now: float) -> None:
        call = self._calls.get(number)
        if kind == _DATA and call is not None:
            _receive(call, payload, now)
        elif kind == _WINDOW:
            size = int.from_bytes(payload, "big")
            if call is not None:
                call.window += size
            else:
                self._window += size
            self._unblock()
        elif kind == _SETTINGS and not flags & _ACK:
            self._settle(payload)
            self._send(_frame(_SETTINGS, _ACK, 0, b""))
        elif kind == _PING and not flags & _ACK:
            self._send(_frame(_PING, _ACK, 0, payload))
        elif kind == _RESET and call is not None:
            call.is_reset = not call.is_done
            call.is_done = True
        if call is not None and kind in (_DATA, _HEADERS) and flags & _END_STREAM:
            call.is_done = True

    def _settle(self, payload: bytes) -> None:
        for at in range(0, len(payload), 6):
            name, value = struct.unpack_from(">HI", payload, at)
            if name == _INITIAL_WINDOW_SIZE:
                for call in self._calls.values():
                    call.window += value - self._stream_window
                self._stream_window = value
                self._unblock()

    def _unblock(self) -> None:
        for waiting in self._blocked:
            heapq.heappush(self._due, waiting)
        self._blocked.clear()

    def _send(self, content: bytes) -> None:
        self._unsent.append(content)
        self.flush()

    def flush(self) -> None:
        """Write what the socket did not take yet."""
        while self._unsent:
            try:
                sent = self.socket.send(self._unsent[0])
            except BlockingIOError:
                return
            if sent < len(self._unsent[0]):
                self._unsent[0] = self._unsent[0][sent:]
            else:
                self._unsent.popleft()


def play(connections: Sequence[Connection], calls: Sequence[Call], *, until: float) -> None:
    """Send and read until all calls are done, or the time is over.

    Args:
        connections: Between which the calls are divided.
        calls: All of them.
        until: Monotonic second at which what is not done is left.
    """
    for number, call in enumerate(calls):
        connections[number % len(connections)].open(call)
    with selectors.DefaultSelector() as selector:
        for connection in connections:
            selector.register(connection.socket, selectors.EVENT_READ, connection.read)
        now = time.monotonic()
        while now < until and not all(call.is_done for call in calls):
            for connection in connections:
                connection.send_due(now)
                connection.flush()
            pause = min(one.next_due for one in connections) - time.monotonic()
            for key, _ in selector.select(min(max(pause, 0.0), 0.05)):
                read: Callable[[], None] = key.data
                read()
            now = time.monotonic()


def _receive(call: Call, payload: bytes, now: float) -> None:
    call.rest += payload
    while len(call.rest) >= _PREFIX.size:
        _, length = _PREFIX.unpack_from(call.rest)
        if len(call.rest) < _PREFIX.size + length:
            return
        call.answers.append((now, bytes(call.rest[_PREFIX.size : _PREFIX.size + length])))
        del call.rest[: _PREFIX.size + length]


def _frame(kind: int, flags: int, number: int, payload: bytes) -> bytes:
    head = len(payload).to_bytes(3, "big") + bytes((kind, flags)) + number.to_bytes(4, "big")
    return head + payload


def _request_headers(path: str, authority: str) -> bytes:
    """The request's header block: literals without indexing, so that nothing is remembered."""
    pairs = (
        (":method", "POST"),
        (":scheme", "http"),
        (":path", path),
        (":authority", authority),
        ("te", "trailers"),
        ("content-type", "application/grpc"),
    )
    return b"".join(
        bytes((0, len(name))) + name.encode() + bytes((len(value),)) + value.encode()
        for name, value in pairs
    )
