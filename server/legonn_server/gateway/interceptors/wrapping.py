"""One interceptor over all four call shapes of grpc.aio."""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable
from typing import Any

import grpc

Invoke = Callable[[], Awaitable[object]]
"""Runs what is inside: the next interceptor, and at last the handler."""

Context = grpc.aio.ServicerContext[Any, Any]


class CallInterceptor(ABC, grpc.aio.ServerInterceptor):
    """Calls ``around`` with something to invoke, whatever the shape of the call.

    Answers of streaming handlers are written inside ``invoke``, so an error raised half-way passes
    through ``around`` like any other.
    """

    @abstractmethod
    async def around(self, method: str, context: Context, invoke: Invoke) -> object:
        """Do something before, after or about a call."""

    async def intercept_service(
        self,
        continuation: Callable[
            [grpc.HandlerCallDetails], Awaitable[grpc.RpcMethodHandler[Any, Any] | None]
        ],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> grpc.RpcMethodHandler[Any, Any] | None:
        """Wrap the method's handler; an unknown method has none."""
        handler = await continuation(handler_call_details)
        if handler is None:
            return None
        return self._wrapped(handler, handler_call_details.method)

    def _wrapped(
        self, handler: grpc.RpcMethodHandler[Any, Any], method: str
    ) -> grpc.RpcMethodHandler[Any, Any]:
        codecs = {
            "request_deserializer": handler.request_deserializer,
            "response_serializer": handler.response_serializer,
        }
        if handler.response_streaming:
            inner = handler.stream_stream if handler.request_streaming else handler.unary_stream
            build = (
                grpc.stream_stream_rpc_method_handler
                if handler.request_streaming
                else grpc.unary_stream_rpc_method_handler
            )
            return build(self._streaming(inner, method), **codecs)
        inner = handler.stream_unary if handler.request_streaming else handler.unary_unary
        build = (
            grpc.stream_unary_rpc_method_handler
            if handler.request_streaming
            else grpc.unary_unary_rpc_method_handler
        )
        return build(self._unary(inner, method), **codecs)

    def _unary(self, inner: Any, method: str) -> Any:
        async def handle(request: object, context: Context) -> object:
            async def invoke() -> object:
                answer = inner(request, context)
                return await answer if inspect.isawaitable(answer) else answer

            return await self.around(method, context, invoke)

        return handle

    def _streaming(self, inner: Any, method: str) -> Any:
        async def handle(request: object, context: Context) -> None:
            async def invoke() -> None:
                answers = inner(request, context)
                if inspect.isawaitable(answers):
                    await answers
                else:
                    async for answer in _asynchronous(answers):
                        await context.write(answer)

            await self.around(method, context, invoke)

        return handle


def _asynchronous(answers: Any) -> AsyncIterable[object]:
    """Answers of a plain generator (the reflection service is one) as asynchronous ones."""
    if isinstance(answers, AsyncIterable):
        return answers

    async def walk() -> AsyncIterator[object]:
        for answer in answers:
            yield answer

    return walk()
