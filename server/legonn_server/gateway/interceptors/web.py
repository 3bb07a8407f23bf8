"""What every call over HTTP and WebSocket passes through: request id, counting, errors as statuses.

The same as the gRPC interceptors, for the other door. The only place that knows HTTP status codes
and close codes.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from math import ceil
from time import perf_counter

from google.protobuf.json_format import MessageToDict
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.types import Message, Receive, Scope, Send
from starlette.websockets import WebSocketDisconnect

from legonn_core import errors
from legonn_server.gateway.interceptors.errors import (
    as_ours,
    first_cause,
    retry_delay_ms,
    rich_status,
    status_code,
)
from legonn_server.gateway.interceptors.telemetry import (
    REQUEST_ID,
    current_request_id,
    request_id_of,
)
from legonn_server.telemetry.logs import log
from legonn_server.telemetry.metrics import Metrics
from legonn_server.telemetry.traces import caller_context, trace_parent_of

HTTP_STATUS: dict[type[errors.LegonnError], int] = {
    errors.LimitExceeded: 413,
    errors.InputError: 400,
    errors.ProtocolViolation: 400,
    errors.NotFound: 404,
    errors.ContractMismatch: 409,
    errors.Unauthenticated: 401,
    errors.PermissionDenied: 403,
    errors.Overloaded: 429,
    errors.Unavailable: 503,
    errors.SessionSuperseded: 409,
    errors.DeadlineMissed: 504,
    errors.NotImplementedYet: 501,
    errors.InternalFault: 500,
}
"""By the branch of the tree that a class belongs to."""

CLOSE_CODES: dict[type[errors.LegonnError], int] = {
    errors.Overloaded: 1013,
    errors.Unavailable: 1012,
    errors.DeadlineMissed: 1012,
    errors.InternalFault: 1011,
    errors.LegonnError: 1008,
}
"""RFC 6455 and the IANA registry: try again later, service restart, internal error, policy."""


def _by_branch(table: Mapping[type[errors.LegonnError], int], error: errors.LegonnError) -> int:
    return next(table[cls] for cls in type(error).__mro__ if cls in table)


def http_status(error: errors.LegonnError) -> int:
    """The HTTP status of an error."""
    return _by_branch(HTTP_STATUS, error) if type(error) is not errors.LegonnError else 500


def close_code(error: errors.LegonnError) -> int:
    """The WebSocket close code of an error."""
    return _by_branch(CLOSE_CODES, error)


def status_json(error: errors.LegonnError) -> dict[str, object]:
    """The error as ``google.rpc.Status`` in JSON, as gRPC callers get it, with the code's name."""
    found: dict[str, object] = MessageToDict(rich_status(error))
    return {"status": status_code(error).name, **found}


def error_body(error: errors.LegonnError) -> dict[str, object]:
    """The error in the shape that OpenAI's clients read; ``code`` is the stable reason."""
    kind = "invalid_request_error" if http_status(error) < 500 else "server_error"
    field = error.field or None
    return {"error": {"message": error.message, "type": kind, "param": field, "code": error.reason}}


def error_response(error: errors.LegonnError) -> JSONResponse:
    """The error as a response.

    ``x-should-retry`` is what OpenAI's clients obey; without it they would try a 409 or 501 again.
    """
    headers = {
        "x-should-retry": "false" if error.retry is errors.Retry.NEVER else "true",
        "cache-control": "no-store",
    }
    delay_ms = retry_delay_ms(error)
    if delay_ms is not None:
        # Whole seconds, rounded up; but "another server, at once" is 0.
        headers["retry-after"] = str(ceil(delay_ms / 1_000) if delay_ms >= 500 else 0)
    if isinstance(error, errors.Unauthenticated):
        headers["www-authenticate"] = 'Bearer realm="legonn"'
    return JSONResponse(error_body(error), http_status(error), headers)


@contextmanager
def counted(name: str, metrics: Metrics, request_id: str) -> Iterator[None]:
    """Count and time one call, and tell those below its request id.

    Raises:
        LegonnError: What ended the call, as its caller is to be told; a fault is logged.
        ClientDisconnect: If the caller left; ``WebSocketDisconnect`` likewise.
    """
    current_request_id.set(request_id)
    metrics.rpc_started.labels(name).inc()
    started = perf_counter()
    code = "CANCELLED"
    try:
        yield
        code = "OK"
    except Exception as raised:
        cause = first_cause(raised)
        if isinstance(cause, (ClientDisconnect, WebSocketDisconnect)):
            raise cause from None
        error = as_ours(name, cause)
        code = status_code(error).name
        metrics.errors.labels(error.reason).inc()
        raise error from raised
    finally:
        duration = perf_counter() - started
        metrics.rpc_completed.labels(name, code).inc()
        metrics.rpc_duration.labels(name).observe(duration)
        log(logging.INFO, "call", method=name, code=code, seconds=round(duration, 3), id=request_id)


class Endpoint:
    """One HTTP call as an ASGI application: what it raises becomes a response.

    Args:
        name: Its name in metrics and logs.
        metrics: Where it is counted.
        handler: Does the work. A response that streams is sent inside the counting, too.
    """

    def __init__(
        self, name: str, metrics: Metrics, handler: Callable[[Request], Awaitable[Response]]
    ) -> None:
        self._name = name
        self._metrics = metrics
        self._handler = handler

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        request = Request(scope, receive)
        request_id = request_id_of(request.headers.items())
        caller_context.set(trace_parent_of(request.headers.items()))
        is_begun = False

        async def sending(message: Message) -> None:
            nonlocal is_begun
            is_begun = True
            await send(message)

        try:
            with counted(self._name, self._metrics, request_id):
                response = await self._handler(request)
                response.headers[REQUEST_ID] = request_id
                await response(scope, receive, sending)
        except ClientDisconnect:
            return
        except errors.LegonnError as error:
            if is_begun:
                return  # the response itself has told
            refusal = error_response(error)
            refusal.headers[REQUEST_ID] = request_id
            await refusal(scope, receive, send)
