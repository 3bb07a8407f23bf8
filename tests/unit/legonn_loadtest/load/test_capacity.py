"""The search for the largest number that holds, and sums over processes."""

from __future__ import annotations

import pytest

from legonn_loadtest.load import capacity
from legonn_loadtest.load.driver import Outcome
from legonn_loadtest.load.scenario import Limits, Phase, Scenario
from legonn_loadtest.load.server import increase
from legonn_loadtest.load.tally import Tally


def outcome(scenario: Scenario, lag_s: float, *, share: float = 0.1) -> Outcome:
    tally = Tally()
    for _ in range(100):
        tally.latency("partial", lag_s, at_s=0, is_measured=True)
    return Outcome(scenario, tally, (share,), {}, 1.0, "")


async def search(knee: int, **options: int) -> tuple[int, list[int]]:
    scenario = Scenario("x", phases=(Phase(1),), limits=Limits(lag_ms=100))

    async def play(one: Scenario) -> Outcome:
        return outcome(one, 0.05 if one.most_streams <= knee else 0.5)

    tried: list[int] = []
    steps = await capacity.find(
        scenario,
        capacity.Search(**options),
        play,
        tell=lambda step: tried.append(step.num_streams),
    )
    return capacity.largest(steps), tried


@pytest.mark.parametrize("knee", [1, 7, 8, 100, 1_000])
async def test_the_knee_is_found_within_the_precision(knee: int):
    found, tried = await search(knee, first=8)
    assert found <= knee
    assert knee - found <= max(1, 0.1 * found)
    assert len(tried) == len(set(tried)) <= 14


async def test_the_search_ends_at_the_most():
    assert await search(10_000, first=8, most=50) == (50, [8, 16, 32, 50])


async def test_nothing_holds():
    found, tried = await search(0, first=4)
    assert (found, tried) == (0, [4, 2, 1])


def test_busy_generators_and_broken_promises_are_told():
    scenario = Scenario("x", phases=(Phase(1),), limits=Limits(lag_ms=100))
    assert outcome(scenario, 0.01, share=0.9).generator_is_busy
    bad = outcome(scenario, 0.2)
    bad.tally.counts["broken_promises"] = 1
    assert [one.split()[0] for one in bad.breaches()] == ["partial:", "1"]


def test_tallies_of_processes_add_up():
    whole = Tally()
    for lag_s in (0.010, 0.030):
        part = Tally()
        part.latency("partial", lag_s, at_s=3.2, is_measured=True)
        part.latency("partial", 9.0, at_s=4.0, is_measured=False)
        part.counts["streams"] += 2
        part.heard.append(("a", "b"))
        whole.add(part.as_json())
    assert whole.latencies.count("partial") == 2
    assert whole.latencies.percentile_ms("partial", 100) == pytest.approx(30, rel=1e-2)
    assert whole.counts["streams"] == 4
    assert whole.timeline[3]["partial"] == [10.0, 30.0]
    assert len(whole.heard) == 2


def test_what_grew_is_summed_over_labels():
    before = {'x_total{a="1"}': 1.0, "y": 5.0}
    after = {'x_total{a="1"}': 4.0, 'x_total{a="2"}': 2.0, "x_total_more": 9.0, "y": 6.0}
    assert increase(before, after, "x_total") == 5.0
    assert increase(before, after, "y") == 1.0


def test_messages_that_left_late_are_no_measurement():
    scenario = Scenario("x", phases=(Phase(1),), limits=Limits(lag_ms=1_000))
    late = outcome(scenario, 0.01)
    assert not late.generator_is_late
    for _ in range(100):
        late.tally.latency("send_lateness", 0.03, at_s=0, is_measured=True)
    assert late.generator_is_late and late.as_json()["generator_is_late"]
