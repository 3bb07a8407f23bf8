"""Messages that cannot be read (damaged, or text that is not UTF-8) become ``BadText``.

The library would answer INTERNAL, as if it were the server's mistake.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Any

import grpc
from google.protobuf.message import DecodeError

from legonn_core.errors import BadText
from legonn_server.gateway.interceptors.wrapping import CallInterceptor, Context, Invoke


class _Unreadable:
    """Stands in for a message until an interceptor can refuse it."""


def _refuse(request: object) -> None:
    if isinstance(request, _Unreadable):
        raise BadText("a message cannot be read: it is damaged, or holds text that is not UTF-8")


class ReadingInterceptor(CallInterceptor):
    """The innermost one: right around the handler and its deserializer."""

    async def around(self, method: str, context: Context, invoke: Invoke) -> object:
        """Nothing more than the call."""
        return await invoke()

    def _wrapped(
        self, handler: grpc.RpcMethodHandler[Any, Any], method: str
    ) -> grpc.RpcMethodHandler[Any, Any]:
        read = handler.request_deserializer
        if read is None:
            return handler
        wrapped = super()._wrapped(handler, method)
        # A named tuple, which the types of gRPC do not say.
        return wrapped._replace(request_deserializer=_lenient(read))  # type: ignore[attr-defined,no-any-return]

    def _unary(self, inner: Any, method: str) -> Any:
        return super()._unary(_checked(inner), method)

    def _streaming(self, inner: Any, method: str) -> Any:
        return super()._streaming(_checked(inner), method)


def _lenient(read: Callable[[bytes], Any]) -> Callable[[bytes], Any]:
    def deserialize(content: bytes) -> Any:
        try:
            return read(content)
        except (DecodeError, UnicodeDecodeError):
            return _Unreadable()

    return deserialize


def _checked(inner: Any) -> Any:
    def handle(request: Any, context: Context) -> Any:
        if hasattr(request, "__aiter__"):
            return inner(_readable(request), context)
        _refuse(request)
        return inner(request, context)

    return handle


async def _readable(requests: AsyncIterator[Any]) -> AsyncIterator[Any]:
    async for request in requests:
        _refuse(request)
        yield request
