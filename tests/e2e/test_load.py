"""A load test of a second against a gateway with the fake: everything is counted, nothing lost."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import re
from pathlib import Path

import pytest

from legonn_loadtest.load import command
from tests.support.gateway import running

SCENARIO = """
about = "A test."
processes = 1
[speech]
stream_seconds = 3
slow_share = 0.3
slow_seconds = 0.1
gap_seconds = 0.8
[[phases]]
seconds = 3
streams = 6
text_per_second = 4
at_once = true
"""


async def test_a_scenario_is_played_measured_and_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    file = tmp_path / "test.toml"
    file.write_text(SCENARIO)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join((".", "server", "protos/python", "loadtest")))
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    async with running() as server:
        words = ["load", str(file), "--address", server.gateway.address]
        words += ["--json", str(tmp_path / "raw.json"), "--html", str(tmp_path / "page.html")]
        options = parser.parse_args(words)
        code = await asyncio.to_thread(command.run, options)
        assert server.backend.num_open_slots == 0
    assert code == 0, capsys.readouterr().out
    raw = json.loads((tmp_path / "raw.json").read_text())
    counts = raw["counts"]
    assert counts["streams"] >= 6
    assert counts["texts"] > 2
    assert counts["finals"] >= 6
    assert counts["broken_promises"] == 0
    assert "failed" not in counts
    assert raw["latencies_ms"]["send_lateness"]["count"] > 30
    assert raw["latencies_ms"]["translation"]["p50"] > 0
    assert raw["histograms"]["partial"]
    page = (tmp_path / "page.html").read_text()
    assert page.count("<svg") >= 3
    assert not re.search(r"<(script|link|img|iframe)\b", page)
    assert "Limits broken" not in page


def test_a_missing_scenario_is_one_sentence(capsys: pytest.CaptureFixture[str]):
    assert command.main(["load", "nowhere.toml"]) == 1
    assert "nowhere.toml" in capsys.readouterr().err
