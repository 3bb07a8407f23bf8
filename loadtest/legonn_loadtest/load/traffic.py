"""When everything begins, decided before the run: what comes does not wait for what came before.

That is what keeps the measurement free of coordinated omission: a slow server meets the same
arrivals as a fast one, and every latency counts from the planned moment. Pure: a scenario and its
seed always give the same traffic.
"""

from __future__ import annotations

import random
from dataclasses import dataclass

from legonn_loadtest.load.scenario import Phase, Scenario

SPREAD_S = 2.0
"""Streams that begin together spread over so long, so that their chunks have random phases."""


@dataclass(frozen=True, slots=True)
class StreamPlan:
    """One stream.

    Attributes:
        number: Names it, and picks its recordings.
        start_s: From the beginning of the run.
        seconds: Audio to send, at least.
        is_slow: Whether its client reads slowly.
    """

    number: int
    start_s: float
    seconds: float
    is_slow: bool


@dataclass(frozen=True, slots=True)
class TextPlan:
    """One text, and when it is sent."""

    number: int
    start_s: float


@dataclass(frozen=True, slots=True)
class Traffic:
    """Everything that one generator process sends."""

    streams: tuple[StreamPlan, ...]
    texts: tuple[TextPlan, ...]


def plan(scenario: Scenario, *, process: int = 0) -> Traffic:
    """The share of one process of the scenario's traffic."""
    share = slice(process, None, scenario.processes)
    return Traffic(_streams(scenario)[share], _texts(scenario)[share])


def is_measured(scenario: Scenario, at_s: float) -> bool:
    """Whether a moment lies in a phase that counts."""
    end = 0.0
    for phase in scenario.phases:
        end += phase.seconds
        if at_s < end:
            return phase.measured
    return False


def _streams(scenario: Scenario) -> tuple[StreamPlan, ...]:
    dice = random.Random(scenario.seed)
    speech = scenario.speech
    plans: list[StreamPlan] = []
    for place in range(scenario.most_streams):
        for start, end in _occupied(scenario.phases, place):
            at = start + dice.random() * min(SPREAD_S, (end - start) / 4)
            while at < end:
                length = end - at
                if speech.stream_seconds:
                    length = min(length, speech.stream_seconds * dice.uniform(0.8, 1.2))
                if length >= scenario.chunk_ms / 1000:
                    is_slow = dice.random() < speech.slow_share
                    plans.append(StreamPlan(len(plans), at, length, is_slow))
                at += max(length, 0.1)
    return tuple(sorted(plans, key=lambda one: one.start_s))


def _occupied(phases: tuple[Phase, ...], place: int) -> list[tuple[float, float]]:
    """The stretches of time in which at least ``place + 1`` streams are wanted."""
    stretches: list[tuple[float, float]] = []
    since: float | None = None
    at, before = 0.0, 0
    for phase in phases:
        first = phase.streams if phase.at_once else before
        crossing = _crossing(first, phase.streams, place, phase.seconds)
        wanted_first, wanted_last = first > place, phase.streams > place
        if wanted_first and since is None:
            since = at
        if since is not None and not wanted_first:
            stretches.append((since, at))
            since = None
        if wanted_last and since is None:
            since = at + crossing
        if since is not None and not wanted_last:
            stretches.append((since, at + crossing))
            since = None
        at, before = at + phase.seconds, phase.streams
    if since is not None:
        stretches.append((since, at))
    return stretches


def _crossing(first: int, last: int, place: int, seconds: float) -> float:
    """When a straight line from ``first`` to ``last`` passes this place."""
    if first == last:
        return 0.0
    return min(max((place + 0.5 - first) / (last - first), 0.0), 1.0) * seconds


def _texts(scenario: Scenario) -> tuple[TextPlan, ...]:
    dice = random.Random(scenario.seed + 1)
    plans: list[TextPlan] = []
    begin = 0.0
    for phase in scenario.phases:
        end = begin + phase.seconds
        at = begin
        while phase.text_per_second:
            at += dice.expovariate(phase.text_per_second)
            if at >= end:
                break
            plans.append(TextPlan(len(plans), at))
        begin = end
    return tuple(plans)
