"""Counts calls and gives each its request id."""

from __future__ import annotations

import logging
import re
import uuid
from collections.abc import Iterable
from time import perf_counter

from legonn_server.gateway.interceptors.wrapping import CallInterceptor, Context, Invoke
from legonn_server.telemetry.logs import current_request_id as current_request_id
from legonn_server.telemetry.logs import log
from legonn_server.telemetry.metrics import Metrics
from legonn_server.telemetry.traces import caller_context, trace_parent_of

REQUEST_ID = "x-request-id"
_ALLOWED = re.compile(r"[A-Za-z0-9._:-]{1,128}")


class TelemetryInterceptor(CallInterceptor):
    """The outermost one: sees every call and the status that it ended with."""

    def __init__(self, metrics: Metrics) -> None:
        super().__init__()
        self._metrics = metrics

    async def around(self, method: str, context: Context, invoke: Invoke) -> object:
        """Count and time the call, and return its request id in headers and trailers."""
        request_id = request_id_of(context.invocation_metadata() or ())
        current_request_id.set(request_id)
        caller_context.set(trace_parent_of(context.invocation_metadata() or ()))
        context.set_trailing_metadata(((REQUEST_ID, request_id),))
        await context.send_initial_metadata(((REQUEST_ID, request_id),))
        name = method.rpartition("/")[2]
        self._metrics.rpc_started.labels(name).inc()
        started = perf_counter()
        is_whole = False
        try:
            answer = await invoke()
            is_whole = True
            return answer
        finally:
            duration = perf_counter() - started
            code = _code(context, is_whole=is_whole)
            self._metrics.rpc_completed.labels(name, code).inc()
            self._metrics.rpc_duration.labels(name).observe(duration)
            level = logging.DEBUG if name in ("Check", "Watch") else logging.INFO
            log(level, "call", method=name, code=code, seconds=round(duration, 3))


def request_id_of(metadata: Iterable[tuple[str, object]]) -> str:
    """The caller's own id for the call if it is fit to be logged, else a new one."""
    for key, value in metadata:
        if key == REQUEST_ID and isinstance(value, str) and _ALLOWED.fullmatch(value):
            return value
    return uuid.uuid4().hex


def _code(context: Context, *, is_whole: bool) -> str:
    if is_whole:
        return "OK"
    # Nothing was set when the caller left before the end.
    return getattr(context.code(), "name", "CANCELLED")
