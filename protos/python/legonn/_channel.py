"""Where the server is, and how a channel to it is set up; shared by both clients."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from types import TracebackType
from typing import Any, cast

import grpc
from grpc_health.v1 import health_pb2

from legonn import errors
from legonn.access import Access

DEFAULT_ADDRESS = "127.0.0.1:50051"
ADDRESS_VARIABLE = "LEGONN_ADDRESS"

# Texts of one unary call: a batch answers within its deadline also on a laptop, and the server
# takes at most 256 texts and 4 MiB.
BATCH_TEXTS = 64
BATCH_CHARACTERS = 200_000

HEALTH_METHOD = "/grpc.health.v1.Health/Check"

_LOOPBACK = ("127.", "localhost", "[::1]", "ipv4:127.", "ipv6:[::1]", "unix:")


def resolve(address: str | None) -> str:
    """The given address, else $LEGONN_ADDRESS, else the default."""
    return address or os.environ.get(ADDRESS_VARIABLE) or DEFAULT_ADDRESS


def target(address: str) -> str:
    """What gRPC dials: several numeric addresses, divided by commas, are tried in their order."""
    several = "," in address and ":///" not in address and not address.startswith("ipv")
    return f"ipv4:{address}" if several else address


def options(address: str) -> list[tuple[str, int]]:
    """How to dial: soon again after a loss, and on this machine never through a proxy.

    Pings find a server that is gone without a word; servers allow one every 10 s.
    """
    found = [
        ("grpc.initial_reconnect_backoff_ms", 100),
        ("grpc.min_reconnect_backoff_ms", 100),
        ("grpc.max_reconnect_backoff_ms", 2_000),
        ("grpc.keepalive_time_ms", 20_000),
        ("grpc.keepalive_timeout_ms", 10_000),
    ]
    return [("grpc.enable_http_proxy", 0), *found] if address.startswith(_LOOPBACK) else found


def dial(address: str, access: Access) -> grpc.Channel:
    """A channel for blocking calls.

    Raises:
        BadConfig: If a file of ``access`` cannot be read.
    """
    if access.has_tls:
        credentials = grpc.ssl_channel_credentials(*access.read())
        channel = grpc.secure_channel(target(address), credentials, options(address))
    else:
        channel = grpc.insecure_channel(target(address), options(address))
    return cast(grpc.Channel, _Keyed(channel, access.key)) if access.key else channel


def dial_async(address: str, access: Access) -> grpc.aio.Channel:
    """The same for asyncio."""
    if access.has_tls:
        credentials = grpc.ssl_channel_credentials(*access.read())
        channel = grpc.aio.secure_channel(target(address), credentials, options(address))
    else:
        channel = grpc.aio.insecure_channel(target(address), options(address))
    return cast(grpc.aio.Channel, _Keyed(channel, access.key)) if access.key else channel


class _Keyed:
    """A channel whose every call brings the key.

    The library's call credentials are for TLS only, and its interceptors cost each message of a
    stream; the metadata of a call cost nothing after its beginning.
    """

    def __init__(self, channel: grpc.Channel | grpc.aio.Channel, key: str) -> None:
        self._channel = channel
        self._metadata = (("authorization", f"Bearer {key}"),)

    def __getattr__(self, name: str) -> Callable[..., Any]:
        found: Callable[..., Any] = getattr(self._channel, name)
        if name not in ("unary_unary", "unary_stream", "stream_unary", "stream_stream"):
            return found

        def with_key(*args: Any, **named: Any) -> Callable[..., Any]:
            return partial(found(*args, **named), metadata=self._metadata)

        return with_key


def hides_refusal(status: grpc.StatusCode, details: str | None) -> bool:
    """Whether gRPC reports its own error because the stream ended under a message in flight."""
    return status is grpc.StatusCode.INTERNAL and "from Core" in (details or "")


def serving_status(answer: health_pb2.HealthCheckResponse) -> str:
    """SERVING, NOT_SERVING or UNKNOWN."""
    return health_pb2.HealthCheckResponse.ServingStatus.Name(answer.status)


@contextmanager
def rpc_errors() -> Iterator[None]:
    """Turn what gRPC raises, blocking or not, into our tree."""
    try:
        yield
    except grpc.RpcError as error:
        # What gRPC raises from a call is the call itself, which its types do not say.
        raise errors.from_rpc(cast("errors.RpcFailure", error)) from error


class Kept:
    """``with kept: …`` keeps the error of the block instead of raising it.

    gRPC takes a stream's chunks outside the caller's thread or task, where their error would only
    be logged; it is kept and raised where the caller is.
    """

    error: Exception | None = None

    def __enter__(self) -> None:
        pass

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> bool:
        if isinstance(error, Exception):  # the end of the stream itself is none, and goes on
            self.error = error
        return isinstance(error, Exception)

    def check(self) -> None:
        """Raise the error that was kept, if any."""
        if self.error:
            raise self.error from None


def batches(texts: list[str]) -> list[list[str]]:
    """Cut texts into batches that one unary call takes; a longer text is a batch of its own."""
    result: list[list[str]] = []
    room = 0
    for text in texts:
        if not result or len(result[-1]) == BATCH_TEXTS or len(text) > room:
            result.append([])
            room = BATCH_CHARACTERS
        result[-1].append(text)
        room -= len(text)
    return result
