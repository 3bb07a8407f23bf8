"""Names, units and bounds of the metrics; the page that is made of them."""

from __future__ import annotations

import re

import pytest
from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest

from legonn_server.telemetry import reference
from legonn_server.telemetry.flicker import TailWords
from legonn_server.telemetry.metrics import Metrics

CLOSED_LABELS = {
    "cause", "code", "guard", "kind", "method", "module", "outcome", "phase", "priority",
    "promise", "reason", "release", "stage", "state", "version",
}  # fmt: skip


@pytest.fixture
def metrics() -> Metrics:
    return Metrics(CollectorRegistry())


def families(metrics: Metrics):
    return [family for room in metrics.families.values() for family in room]


def test_names_and_labels_follow_the_rules(metrics: Metrics):
    for family in families(metrics):
        name = reference.exposed_name(family)
        assert re.fullmatch(r"legonn_[a-z0-9_]+", name)
        assert isinstance(family, Counter) == name.endswith("_total"), name
        if isinstance(family, Histogram):
            units = ("_answers", "_bytes", "_kl", "_ratio", "_rows", "_seconds")
            assert name.endswith(units), name
        assert set(family._labelnames) <= CLOSED_LABELS, name
        assert family._documentation.endswith("."), name


def test_every_metric_is_declared_through_the_class(metrics: Metrics):
    declared = {reference.exposed_name(family) for family in families(metrics)}
    page = generate_latest(metrics.registry).decode()
    exposed = set(re.findall(r"^# TYPE (\S+)", page, re.MULTILINE))
    assert {name for name in exposed if not name.endswith("_created")} == declared


def test_the_page_is_what_the_code_says():
    assert reference.PAGE.read_text(encoding="utf-8") == reference.page()


def test_a_version_that_left_memory_leaves_no_series(metrics: Metrics):
    for version in ("1", "2"):
        metrics.encoder_step.labels("speech-en", version).observe(0.1)
        metrics.module_info.labels("speech-en", version, "SPEECH_ENCODER").set(1)
        metrics.decoder_duration.labels("speech-en", version, "final").observe(0.1)
    metrics.forget_module("speech-en", "1")
    page = generate_latest(metrics.registry).decode()
    assert 'version="1"' not in page
    assert 'version="2"' in page


def test_words_taken_back_are_counted(metrics: Metrics):
    words = TailWords(metrics)
    words.partial("", "a b c")
    words.partial("a ", "b d")
    words.final("a b d e")
    words.partial("", "x y")
    words.final("x")
    value = metrics.registry.get_sample_value
    assert value("legonn_partial_words_total") == 3 + 2 + 2
    assert value("legonn_partial_words_revised_total") == 1 + 0 + 1
