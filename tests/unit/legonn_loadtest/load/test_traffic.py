"""Scenarios and the traffic that they plan: pure, the same every time, and never waiting."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from legonn_core.scoring.sets import BadSet
from legonn_loadtest.load.scenario import Limits, Phase, Scenario, SpeechLoad, parse, read_scenario
from legonn_loadtest.load.traffic import is_measured, plan

ROOT = Path(__file__).resolve().parents[4]
SCENARIOS = sorted((ROOT / "loadtest/scenarios").glob("*.toml"))


def scenario(*phases: Phase, **more: object) -> Scenario:
    return Scenario("test", phases=phases, **more)


def open_at(one: Scenario, moment: float) -> int:
    streams = [s for p in range(one.processes) for s in plan(one, process=p).streams]
    return sum(s.start_s <= moment < s.start_s + s.seconds for s in streams)


@pytest.mark.parametrize("path", SCENARIOS, ids=lambda path: path.stem)
def test_shipped_scenarios_are_right(path: Path):
    found = read_scenario(path)
    assert found.name == path.stem
    assert found.about
    assert plan(found).streams


def test_there_is_a_scenario_of_each_kind():
    assert {path.stem for path in SCENARIOS} >= {
        "steady", "ramp", "spike", "churn", "slow-readers", "mixed",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("content", "named"),
    [
        ({"phases": [{"seconds": 1}], "chunks_ms": 3}, "chunks_ms"),
        ({"phases": [{"seconds": 1, "stream": 3}]}, "stream"),
        ({"phases": [{"seconds": 0}]}, "seconds"),
        ({"phases": []}, "phases"),
        ({"phases": [{"seconds": 1}], "speech": {"slow_share": 2}}, "slow_share"),
    ],
)
def test_a_mistyped_scenario_is_refused_by_name(content: dict[str, object], named: str):
    with pytest.raises(ValueError, match=named):
        parse(content)


def test_a_broken_file_names_itself(tmp_path: Path):
    path = tmp_path / "x.toml"
    path.write_text("phases = 3")
    with pytest.raises(BadSet, match=r"x\.toml"):
        read_scenario(path)


def test_a_ramp_rises_and_falls_in_a_line():
    ramp = scenario(Phase(100, streams=100), Phase(100, streams=100), Phase(100, streams=0))
    assert [open_at(ramp, at) for at in (150, 199)] == [100, 100]
    for moment, wanted in ((52, 50), (250, 50), (275, 25)):
        assert abs(open_at(ramp, moment) - wanted) <= 3, moment


def test_a_spike_is_there_at_once_and_gone_at_once():
    spike = scenario(
        Phase(20, streams=5),
        Phase(10, streams=50, at_once=True),
        Phase(20, streams=5, at_once=True),
    )
    assert open_at(spike, 19.9) == 5
    assert open_at(spike, 23) == 50
    assert open_at(spike, 30.1) == 5


def test_every_place_is_taken_again_without_a_pause():
    churn = scenario(Phase(60, streams=4, at_once=True), speech=SpeechLoad(stream_seconds=2))
    assert {open_at(churn, at / 7) for at in range(30, 400)} == {4}
    assert len(plan(churn).streams) > 4 * 20


def test_processes_share_the_traffic_and_lose_none():
    one = scenario(Phase(30, streams=7, text_per_second=5), speech=SpeechLoad(stream_seconds=4))
    whole = plan(one)
    three = replace(one, processes=3)
    parts = [plan(three, process=number) for number in range(3)]
    assert sorted(s.number for p in parts for s in p.streams) == [
        s.number for s in sorted(whole.streams, key=lambda s: s.number)
    ]
    assert sum(len(p.texts) for p in parts) == len(whole.texts)
    assert 100 < len(whole.texts) < 200


def test_only_measured_phases_count():
    one = scenario(Phase(5, measured=False), Phase(5), limits=Limits())
    assert [is_measured(one, at) for at in (0, 4.9, 5, 9.9, 10)] == [
        False, False, True, True, False,
    ]  # fmt: skip
