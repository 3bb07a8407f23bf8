"""What can wait in the gateway stands in one list with its bound; docs/behaviour.md shows it."""

from __future__ import annotations

import re
from dataclasses import fields

from prometheus_client import CollectorRegistry

from legonn_server.config.queues import QUEUES
from legonn_server.config.reference import attributes, page
from legonn_server.config.settings import Settings
from legonn_server.telemetry.metrics import Metrics
from legonn_server.telemetry.reference import exposed_name
from tests.house.source import ROOT

SERVER = ROOT / "server/legonn_server"
MADE = re.compile(r"(\w+)(?:: [^=\n]+)? = (?:asyncio\.Queue|deque|OrderedDict)\b.*?\(")
NOT_OF_CALLERS = {"app.py:signals", "app.py:states", "demo.py:last_lines"}
"""Signals, states of the backend, lines of a child: nothing that a caller can fill."""


def made() -> set[str]:
    """Every queue that the code makes, as file and name."""
    found = set()
    for path in SERVER.rglob("*.py"):
        for match in MADE.finditer(path.read_text(encoding="utf-8")):
            found.add(f"{path.relative_to(SERVER)}:{match[1]}")
    return found - NOT_OF_CALLERS


def test_every_queue_is_listed_and_every_listed_one_is_there():
    homes = {one.home for one in QUEUES}
    assert made() <= homes
    assert len(made()) >= 8, "the expression has gone blind"
    for home in homes:
        file, name = home.split(":")
        assert name in (SERVER / file).read_text(encoding="utf-8"), home


def test_bounds_name_settings_and_metrics_that_exist():
    known = {
        f"{section}.{field.name}"
        for section, about in Settings.model_fields.items()
        for field in fields(about.default)
    }
    exposed = {
        exposed_name(family)
        for families in Metrics(CollectorRegistry()).families.values()
        for family in families
    }
    for one in QUEUES:
        named = re.findall(r"`([a-z_]+\.[a-z_]+)`", one.bound)
        assert named or re.search(r"\d|fixed", one.bound), one.name
        assert set(named) <= known, one.name
        assert f"legonn_{one.metric}" in exposed, one.name


def test_every_setting_says_what_it_means():
    for section, about in Settings.model_fields.items():
        meanings = attributes(type(about.default))
        for field in fields(about.default):
            assert meanings.get(field.name), f"{section}.{field.name}"


def test_the_page_shows_every_setting():
    text = page()
    for section, about in Settings.model_fields.items():
        assert f"[{section}]" in text
        for field in fields(about.default):
            assert f"| `{field.name}` |" in text
