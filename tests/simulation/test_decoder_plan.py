"""The decoder's policy under a virtual clock: hundreds of streams, more work than there is time."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field

import numpy as np
import pytest

from legonn_core.runtime.messages import DecodeKind
from legonn_core.runtime.plan import (
    Group,
    Ledger,
    Limits,
    Waiting,
    charge,
    idle,
    next_turn,
    refusal,
)

FINAL, COMMIT, PARTIAL, TEXT, BULK = DecodeKind
STEP_SECONDS, ROW_SECONDS = 0.0006, 0.0002


@dataclass(frozen=True)
class Job:
    kind: DecodeKind
    arrives: float
    beam: int = 5
    steps: int = 20


@dataclass
class Outcome:
    waits: dict[DecodeKind, list[float]] = field(default_factory=lambda: defaultdict(list))
    expired: int = 0
    widest: dict[DecodeKind, int] = field(default_factory=lambda: defaultdict(int))

    def p99(self, kind: DecodeKind) -> float:
        return float(np.quantile(self.waits[kind], 0.99))


def play(
    jobs: list[Job], *, limits: Limits, seconds: float, timeout: float | None = None
) -> Outcome:
    """Run the policy against engine steps that cost what their rows cost."""
    outcome, ledger, now = Outcome(), Ledger(), 0.0
    coming = sorted(enumerate(jobs), key=lambda entry: -entry[1].arrives)
    queues: dict[DecodeKind, dict[int, Waiting[int]]] = {kind: {} for kind in DecodeKind}
    running: dict[Group, dict[int, int]] = {}
    while now < seconds:
        while coming and coming[-1][1].arrives <= now:
            number, job = coming.pop()
            expires = None if timeout is None else job.arrives + timeout
            queues[job.kind][number] = Waiting(number, job.beam, 50, expires)
        turn = next_turn(
            limits,
            ledger,
            queues={kind: list(queue.values())[:64] for kind, queue in queues.items()},
            running={group: len(rows) for group, rows in running.items()},
            now=now,
        )
        if turn is None:
            ledger = idle(ledger)
            now = coming[-1][1].arrives if coming else seconds
            continue
        busy = {kind for kind, queue in queues.items() if queue} | {g.kind for g in running}
        rows = running.setdefault(turn.group, {})
        for number in turn.expired:
            del queues[turn.group.kind][number]
            outcome.expired += 1
        for number in turn.joins:
            del queues[turn.group.kind][number]
            rows[number] = jobs[number].steps
        width = len(rows) * turn.group.beam
        outcome.widest[turn.group.kind] = max(outcome.widest[turn.group.kind], width)
        cost = STEP_SECONDS + ROW_SECONDS * width
        now += cost
        ledger = charge(limits, ledger, turn, busy=busy, now=now, seconds=cost)
        for number in list(rows):
            rows[number] -= 1
            if rows[number] == 0:
                del rows[number]
                outcome.waits[turn.group.kind].append(now - jobs[number].arrives)
        if not rows:
            del running[turn.group]
    return outcome


def live_streams(count: int, seconds: float, *, seed: int = 0) -> list[Job]:
    """Commits of beam 2 and a final every few seconds, each stream at its own phase."""
    rng = np.random.default_rng(seed)
    jobs = []
    for _ in range(count):
        begins = np.arange(rng.uniform(0, 8), seconds, 8.0)
        jobs += [Job(FINAL, at, steps=int(rng.integers(8, 30))) for at in begins]
        begins = np.arange(rng.uniform(0, 4), seconds, 4.0)
        jobs += [Job(COMMIT, at, beam=2, steps=int(rng.integers(3, 10))) for at in begins]
    return jobs


def bulk(count: int) -> list[Job]:
    return [Job(BULK, 0.0, steps=25) for _ in range(count)]


def test_hundreds_of_streams_do_not_feel_a_pool_full_of_bulk_text() -> None:
    streams = live_streams(300, 30.0)
    alone = play(streams, limits=Limits(), seconds=30.0)
    mixed = play([*streams, *bulk(3000)], limits=Limits(), seconds=30.0)
    assert len(alone.waits[FINAL]) > 900
    assert len(mixed.waits[FINAL]) >= 0.98 * len(alone.waits[FINAL])  # a few are still under way
    assert mixed.p99(FINAL) <= 2 * alone.p99(FINAL)
    assert mixed.p99(COMMIT) <= 3 * alone.p99(COMMIT)
    assert len(mixed.waits[BULK]) > 50


def test_bulk_alone_uses_wide_steps_and_beside_live_work_narrow_ones() -> None:
    limits = Limits()
    assert play(bulk(100), limits=limits, seconds=9.0).widest[BULK] >= limits.max_rows_waiting - 5
    spoken = [Job(FINAL, 0.0), *live_streams(300, 9.0)]
    beside = play([*spoken, *bulk(100)], limits=limits, seconds=9.0)
    assert 0 < beside.widest[BULK] <= limits.max_rows_beside_live


def test_every_kind_moves_when_finals_alone_are_more_than_the_machine_can_do() -> None:
    finals = [Job(FINAL, at, steps=30) for at in np.arange(0, 20.0, 0.004)]
    others = [Job(kind, 0.0, beam=2) for kind in (COMMIT, PARTIAL, TEXT, BULK) for _ in range(400)]
    outcome = play([*finals, *others], limits=Limits(), seconds=20.0)
    for kind in (COMMIT, PARTIAL, TEXT, BULK):
        assert len(outcome.waits[kind]) >= 10, kind


def test_jobs_of_one_kind_and_beam_start_in_the_order_of_their_arrival() -> None:
    queue = [Waiting(number, 5) for number in range(40)]
    turn = next_turn(Limits(), Ledger(), queues={TEXT: queue}, running={}, now=0.0)
    assert turn is not None
    assert turn.joins == tuple(range(Limits().max_rows_waiting // 5))


def test_beams_of_one_kind_take_turns() -> None:
    limits, ledger = Limits(), Ledger()
    running = {Group(FINAL, 5): 2, Group(FINAL, 3): 1}
    seen = []
    for _ in range(6):
        turn = next_turn(limits, ledger, queues={}, running=running, now=0.0)
        assert turn is not None
        seen.append(turn.group.beam)
        ledger = charge(limits, ledger, turn, busy={FINAL}, now=0.0, seconds=0.001)
    assert sorted(seen) == [3, 3, 3, 5, 5, 5]
    assert seen[0] != seen[1]


def test_what_is_too_late_is_dropped_before_it_costs_anything() -> None:
    texts = [Job(TEXT, 0.0, steps=40) for _ in range(400)]
    outcome = play(texts, limits=Limits(), seconds=60.0, timeout=0.5)
    assert outcome.expired > 200
    assert outcome.expired + len(outcome.waits[TEXT]) == 400
    assert max(outcome.waits[TEXT]) < 0.5 + 2.0


def test_a_full_queue_refuses_with_a_delay() -> None:
    limits = Limits()
    ledger = Ledger(costs={BULK: 0.01})
    most = limits.max_waiting[BULK]
    assert refusal(limits, ledger, BULK, most - 1) is None
    delay = refusal(limits, ledger, BULK, most)
    assert delay is not None
    assert 0.5 <= delay <= 10.0
    assert refusal(limits, Ledger(), FINAL, limits.max_waiting[FINAL]) == 0.5


def test_nothing_to_do_is_no_turn_and_nonsense_is_refused() -> None:
    assert next_turn(Limits(), Ledger(), queues={TEXT: []}, running={}, now=0.0) is None
    with pytest.raises(ValueError, match="at least one row"):
        Limits(max_rows=0)
    with pytest.raises(ValueError, match="starve"):
        Limits(shares={BULK: 0.0})
