"""Traces in OpenTelemetry's form: a span a call, under it one a segment, under that one a stage.

Off unless ``[traces] endpoint`` names a collector. What a call did is kept as plain tuples until
its segment is done; only then is it known whether anybody wants it: a share of the calls chosen by
trace id (or by the caller's own ``traceparent``), and every call that failed or was replayed.
Attributes are numbers, module names and reasons: no audio, no text, nobody's name.
"""

from __future__ import annotations

import re
import sys
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from time import perf_counter, time_ns
from typing import TYPE_CHECKING

from legonn_core.errors import BadConfig, LegonnError

if TYPE_CHECKING:
    from opentelemetry.context import Context
    from opentelemetry.sdk.trace.export import SpanExporter
    from opentelemetry.trace import Span, Tracer

TRACE_PARENT = "traceparent"
_W3C = re.compile(r"00-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})")
_MOST_STAGES = 512
"""Of one segment; a longest segment of 25 s has some 160 of encode, decode and write each."""

Attribute = str | int | float

caller_context: ContextVar[str] = ContextVar("caller_context", default="")
"""The caller's ``traceparent``, as it came; the doors set it."""


@dataclass(frozen=True, slots=True)
class TraceOptions:
    """Where traces go.

    Attributes:
        endpoint: OTLP over gRPC, such as ``http://collector:4317``; empty for no traces.
        sample_ratio: Share of the calls whose spans are sent; failed and replayed ones always are.
    """

    endpoint: str = ""
    sample_ratio: float = 0.01

    def __post_init__(self) -> None:
        if not 0.0 <= self.sample_ratio <= 1.0:
            raise ValueError(f"sample_ratio is {self.sample_ratio}; it lies in [0, 1]")
        if self.endpoint and not self.endpoint.startswith(("http://", "https://")):
            raise ValueError("endpoint begins with http:// or https://")


@dataclass(frozen=True, slots=True)
class _Stage:
    name: str
    start_ns: int
    end_ns: int
    attributes: dict[str, Attribute]


class CallTrace:
    """What one call did, stage by stage.

    Args:
        tracer: Makes spans.
        root: The call's own span; it is sent when it ends, and only then.
        is_sampled: Whether its spans are wanted whatever comes.
    """

    def __init__(self, tracer: Tracer, root: Span, *, is_sampled: bool) -> None:
        self._tracer = tracer
        self._root = root
        self._is_kept = is_sampled
        self._stages: deque[_Stage] = deque(maxlen=_MOST_STAGES)
        self._offset_ns = time_ns() - round(perf_counter() * 1e9)

    def stage(self, name: str, started: float, **attributes: Attribute) -> None:
        """One stage is done; ``started`` is its beginning by ``perf_counter``."""
        start = self._offset_ns + round(started * 1e9)
        end = self._offset_ns + round(perf_counter() * 1e9)
        self._stages.append(_Stage(name, start, end, attributes))

    def keep(self) -> None:
        """Something happened that is worth a look: send this call's spans, chosen or not."""
        self._is_kept = True

    def segment(self, index: int, **attributes: Attribute) -> None:
        """A segment is done: send its stages if they are wanted, and forget them."""
        if self._is_kept and self._stages:
            self._send("segment", {"legonn.segment": index, **attributes})
        self._stages.clear()

    def end(self, code: str) -> None:
        """The call is over; ``code`` is OK, CANCELLED or the reason of its error."""
        if code not in ("OK", "CANCELLED"):
            self.keep()
        if not self._is_kept:
            return
        if self._stages:
            self._send("rest", {})
        self._root.set_attribute("legonn.code", code)
        self._root.end()

    def _send(self, name: str, attributes: dict[str, Attribute]) -> None:
        from opentelemetry.trace import set_span_in_context

        first = min(stage.start_ns for stage in self._stages)
        last = max(stage.end_ns for stage in self._stages)
        parent = self._tracer.start_span(
            name, set_span_in_context(self._root), start_time=first, attributes=attributes
        )
        inside = set_span_in_context(parent)
        for stage in self._stages:
            span = self._tracer.start_span(
                stage.name, inside, start_time=stage.start_ns, attributes=stage.attributes
            )
            span.end(stage.end_ns)
        parent.end(last)


current_trace: ContextVar[CallTrace | None] = ContextVar("current_trace", default=None)
"""Of the call that this task works for; None if nothing is traced."""


class Tracing:
    """Begins the traces of calls; without an exporter it does nothing.

    Args:
        exporter: Takes the spans, in a thread of its own; what it cannot take in time is dropped.
        sample_ratio: See ``TraceOptions``.
        release: Told with every span.
    """

    def __init__(
        self, exporter: SpanExporter | None = None, *, sample_ratio: float = 0.0, release: str = ""
    ) -> None:
        self._sample_below = round(sample_ratio * (1 << 64))
        self._tracer: Tracer | None = None
        if exporter is None:
            return
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
        from opentelemetry.sdk.trace.sampling import ALWAYS_ON

        names = {"service.name": "legonn-gateway", "service.version": release}
        # Always on: whether a span is sent is decided at its end, by ending it or not.
        self._provider = TracerProvider(
            sampler=ALWAYS_ON, resource=Resource(names), shutdown_on_exit=False
        )
        self._provider.add_span_processor(BatchSpanProcessor(exporter))
        self._tracer = self._provider.get_tracer("legonn")

    @contextmanager
    def call(self, name: str, request_id: str) -> Iterator[None]:
        """Trace what is done inside as one call."""
        if self._tracer is None:
            yield
            return
        trace = self._begin(self._tracer, name, request_id)
        token = current_trace.set(trace)
        is_whole = False
        try:
            yield
            is_whole = True
        finally:
            current_trace.reset(token)
            trace.end("OK" if is_whole else _reason(sys.exception()))

    def _begin(self, tracer: Tracer, name: str, request_id: str) -> CallTrace:
        from opentelemetry.trace import SpanKind

        parent = _W3C.fullmatch(caller_context.get())
        root = tracer.start_span(
            name,
            _remote(parent) if parent else None,
            kind=SpanKind.SERVER,
            attributes={"legonn.request_id": request_id},
        )
        if parent:
            is_sampled = bool(int(parent[3], 16) & 1)
        else:
            is_sampled = root.get_span_context().trace_id % (1 << 64) < self._sample_below
        return CallTrace(tracer, root, is_sampled=is_sampled)

    def stop(self) -> None:
        """Send what waits; blocks for at most some seconds."""
        if self._tracer is not None:
            self._provider.shutdown()


def build_tracing(options: TraceOptions, release: str) -> Tracing:
    """Tracing as the settings wish it.

    Raises:
        BadConfig: If it needs packages that are not installed.
    """
    if not options.endpoint:
        return Tracing()
    try:
        from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
    except ModuleNotFoundError as error:
        raise BadConfig(
            f"[traces] endpoint needs {error.name}: pip install 'legonn[tracing]'"
        ) from error
    exporter = OTLPSpanExporter(options.endpoint, timeout=5)
    return Tracing(exporter, sample_ratio=options.sample_ratio, release=release)


def trace_parent_of(headers: Iterable[tuple[str, object]]) -> str:
    """The caller's ``traceparent``; empty if there is none."""
    return next((str(value) for key, value in headers if key == TRACE_PARENT), "")


def _remote(parent: re.Match[str]) -> Context:
    from opentelemetry.trace import (
        NonRecordingSpan,
        SpanContext,
        TraceFlags,
        set_span_in_context,
    )

    flags = TraceFlags(int(parent[3], 16))
    context = SpanContext(int(parent[1], 16), int(parent[2], 16), True, flags)
    return set_span_in_context(NonRecordingSpan(context))


def _reason(error: BaseException | None) -> str:
    """What ended a call; a caller who leaves cancels its task, or closes its generator."""
    if not isinstance(error, Exception):
        return "CANCELLED"
    while isinstance(error, BaseExceptionGroup):
        ours = error.subgroup(LegonnError)
        error = (ours or error).exceptions[0]
    return error.reason if isinstance(error, LegonnError) else "INTERNAL"
