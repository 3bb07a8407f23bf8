"""Log lines: one event, its fields, for people or for collectors."""

from __future__ import annotations

import json
import logging

import pytest

from legonn_server.telemetry.logs import LOGGER, log, set_up


@pytest.fixture(autouse=True)
def restored():
    handlers, level, propagate = LOGGER.handlers, LOGGER.level, LOGGER.propagate
    yield
    LOGGER.handlers, LOGGER.propagate = handlers, propagate
    LOGGER.setLevel(level)


def test_plain_lines(capsys: pytest.CaptureFixture[str]):
    set_up(as_json=False)
    log(logging.INFO, "call", method="Translate", seconds=0.5)
    log(logging.DEBUG, "unseen")
    assert capsys.readouterr().err == "info    call method=Translate seconds=0.5\n"


def test_json_lines_hold_the_fault(capsys: pytest.CaptureFixture[str]):
    set_up(as_json=True)
    LOGGER.error("fault", exc_info=ValueError("why"), extra={"fields": {"fault": "abc"}})
    line = json.loads(capsys.readouterr().err)
    assert (line["level"], line["event"], line["fault"]) == ("error", "fault", "abc")
    assert "ValueError: why" in line["exception"]
