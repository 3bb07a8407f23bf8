"""Numbers of a sick server, and what the doctor says about them."""

from __future__ import annotations

import pytest
from prometheus_client import CollectorRegistry, generate_latest

from legonn.cli.symptoms import parsed, symptoms, why_not_serving
from legonn_server.telemetry.metrics import Metrics


def page(metrics: Metrics) -> dict[str, float]:
    return parsed(generate_latest(metrics.registry).decode())


@pytest.fixture
def metrics() -> Metrics:
    metrics = Metrics(CollectorRegistry())
    metrics.backend_up.set(1)
    for kind in ("speech", "text"):
        metrics.sessions_limit.labels(kind).set(4)
        metrics.sessions_open.labels(kind).set(1)
    for _ in range(100):
        metrics.stream_lag.observe(0.1)
        metrics.event_loop_lag.observe(0.0)
    return metrics


def test_a_well_server_has_no_symptoms(metrics: Metrics):
    assert list(symptoms(page(metrics))) == []
    assert why_not_serving(page(metrics)) == ""


def test_each_symptom_is_named_with_its_runbook_line(metrics: Metrics):
    for _ in range(20):
        metrics.stream_lag.observe(2.5)
        metrics.event_loop_lag.observe(0.4)
    metrics.sessions_open.labels("speech").set(4)
    metrics.invariant_violations.labels("audio_once").inc()
    metrics.decoder_waiting.set(40)
    metrics.backend_restarts.inc(2)
    found = list(symptoms(page(metrics)))
    runbook = (
        "LegonnPromiseBroken", "LegonnRefusals", "LegonnStreamsLag", "LegonnEventLoopBlocked",
        "LegonnFinalsLate", "LegonnEngineDown",
    )  # fmt: skip
    assert [one.rpartition("[")[2].rstrip("]") for one in found] == list(runbook)


def test_why_it_does_not_serve(metrics: Metrics):
    metrics.backend_up.set(0)
    assert "loading" in why_not_serving(page(metrics))
    metrics.backend_restarts.inc()
    assert "lost 1 times" in why_not_serving(page(metrics))
    metrics.draining.set(1)
    assert "draining" in why_not_serving(page(metrics))


def test_what_is_no_sample_is_left_out():
    assert parsed("# HELP x y\nx 1\n\nx_total{a=\"b c\"} 2.5\n<html> no\n") == {
        "x": 1.0, 'x_total{a="b c"}': 2.5,
    }  # fmt: skip
