"""The capacity model: laws of the queue, and the knee that was measured."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from legonn_loadtest.load import command, model
from legonn_loadtest.load.model import Line, Load, Model

ROOT = Path(__file__).parents[4]
MEASURED = ROOT / "docs/results/all-in-one-capacity.json"


def test_the_measured_knee_is_predicted_from_light_loads_within_a_fifth():
    content = json.loads(MEASURED.read_text())
    loads = model.loads_of(content)
    lightest = sorted(loads, key=lambda one: one.streams)[:2]
    assert lightest[1].streams < content["capacity"]
    found = model.fitted(lightest, chunk_s=0.64).knee(cores=1, bound_s=0.64)
    assert found == pytest.approx(content["capacity"], rel=0.2)


def test_the_lag_grows_with_streams_and_ends_at_the_cores():
    one = Model(Line(0.05, 0.07), Line(0.02, 0.006), 0.64)
    lags = [one.lag_p95_s(number, cores=1) for number in range(1, 13)]
    assert lags == sorted(lags)
    assert math.isinf(one.lag_p95_s(13, cores=1))
    assert one.lag_p95_s(13, cores=2) < 0.64


def test_the_knee_fills_the_bound_and_grows_with_cores():
    one = Model(Line(0.05, 0.07), Line(0.02, 0.006), 0.64)
    knee = one.knee(cores=1, bound_s=0.64)
    assert one.lag_p95_s(knee, cores=1) == pytest.approx(0.64, rel=1e-6)
    assert one.knee(cores=2, bound_s=0.64) > 2 * knee


def test_slots_of_a_thousand_half_silent_sessions():
    assert model.speaking(1_000, 0.5) == 559
    assert model.speaking(10, 1.0) == 10


def test_servers_are_counted_with_one_to_spare():
    one = Model(Line(0.0, 0.07), Line(0.0, 0.006), 0.64)
    knee = one.knee(cores=1, bound_s=0.64)
    need = model.needs(one, 1_000, cores=1, bound_s=0.64)
    assert need.replicas == math.ceil(559 / (0.8 * knee)) + 1
    assert need.gateway_cores == pytest.approx(0.006 * 559)
    with pytest.raises(model.NotEnough):
        model.needs(one, 10, cores=0.05, bound_s=0.64)


def test_a_line_never_falls_and_never_begins_below_nothing():
    fallen = model.fitted([Load(4, 0.5, 0.1), Load(8, 0.4, 0.1)], chunk_s=0.64)
    assert fallen.engine == Line(0.4, 0.0)
    steep = model.fitted([Load(4, 0.1, 0.0), Load(8, 0.8, 0.0)], chunk_s=0.64)
    assert steep.engine == Line(0.0, 0.1)
    with pytest.raises(model.NotEnough):
        model.fitted([Load(4, 0.1, 0.0)] * 2, chunk_s=0.64)


def test_the_command_says_what_is_needed(capsys: pytest.CaptureFixture[str]):
    assert command.main(["plan", str(MEASURED), "--sessions", "1000", "100000"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "12 measured" in lines[0] and "559 encoder slots" in lines[1] and len(lines) == 3
    assert command.main(["plan", str(ROOT / "nowhere.json")]) == 1
    assert "nowhere.json" in capsys.readouterr().err
