"""Traces that nobody wants cost nothing, and settings that make no sense are refused."""

from __future__ import annotations

import sys

import pytest

from legonn_core.errors import BadConfig
from legonn_server.telemetry.traces import (
    TraceOptions,
    Tracing,
    build_tracing,
    current_trace,
    trace_parent_of,
)


def test_without_an_endpoint_nothing_is_traced():
    with build_tracing(TraceOptions(), "1").call("Translate", "id"):
        assert current_trace.get() is None
    Tracing().stop()


@pytest.mark.parametrize("wrong", [{"endpoint": "collector:4317"}, {"sample_ratio": 1.5}])
def test_nonsense_is_refused(wrong: dict[str, object]):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        TraceOptions(**wrong)


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch):
    name = "opentelemetry.exporter.otlp.proto.grpc.trace_exporter"
    monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(BadConfig, match=r"legonn\[tracing\]"):
        build_tracing(TraceOptions("http://127.0.0.1:4317"), "1")


def test_the_parent_is_read_from_headers():
    assert trace_parent_of([("a", "b"), ("traceparent", "00-1")]) == "00-1"
    assert trace_parent_of([]) == ""
