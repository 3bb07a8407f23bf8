"""Log lines: one event, its fields, for people or for collectors."""

from __future__ import annotations

import json
import logging

import pytest

from legonn_server.telemetry.logs import LOGGER, current_request_id, log, set_up, shift_level


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
    assert "ValueError" in line["exception"]
    assert "why" not in line["exception"]  # a foreign message may repeat what a caller said


def test_every_line_of_a_call_bears_its_request_id(capsys: pytest.CaptureFixture[str]):
    set_up(as_json=True)
    token = current_request_id.set("r-7")
    log(logging.INFO, "call", method="Translate")
    current_request_id.reset(token)
    log(logging.INFO, "draining")
    first, second = map(json.loads, capsys.readouterr().err.splitlines())
    assert first["request_id"] == "r-7"
    assert "request_id" not in second


def test_the_level_moves_while_it_runs(capsys: pytest.CaptureFixture[str]):
    set_up(as_json=False, level="INFO")
    shift_level(1)
    log(logging.DEBUG, "seen")
    shift_level(1)
    for _ in range(5):
        shift_level(-1)
    log(logging.WARNING, "unseen")
    text = capsys.readouterr().err
    assert "debug   seen" in text
    assert "unseen" not in text
    assert LOGGER.level == logging.ERROR
