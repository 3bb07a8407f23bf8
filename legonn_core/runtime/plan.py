"""Whose turn it is at the decoder: pure policy, no tensors, no clock of its own.

Work of a more urgent kind goes first, always: what a person waits for now before what may be late.
So that nothing waits for ever, time taken by more urgent work earns each kind that waits a share of
it; when what was earned pays for a step, that step is taken. A step beside live work is kept
narrow, since whatever becomes urgent while it runs must wait for its end.

Each kind's queue has a bound. A job beyond it is refused at once with a delay, so that the caller
can go elsewhere; one whose time is over is dropped before it costs anything.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Generic, TypeVar

from legonn_core.runtime.messages import DecodeKind

Key = TypeVar("Key", bound=Hashable)

LIVE = frozenset({DecodeKind.FINAL, DecodeKind.COMMIT})


def _shares() -> Mapping[DecodeKind, float]:
    return {
        DecodeKind.FINAL: 1.0,
        DecodeKind.COMMIT: 0.25,
        DecodeKind.PARTIAL: 0.1,
        DecodeKind.TEXT: 0.1,
        DecodeKind.BULK: 0.05,
    }


def _bounds() -> Mapping[DecodeKind, int]:
    return {
        DecodeKind.FINAL: 1024,
        DecodeKind.COMMIT: 1024,
        DecodeKind.PARTIAL: 256,
        DecodeKind.TEXT: 512,
        DecodeKind.BULK: 4096,
    }


@dataclass(frozen=True, slots=True)
class Limits:
    """The numbers of the policy.

    Attributes:
        max_rows: Rows (requests times beam) of a step of live work.
        max_rows_waiting: The same for work that is not live: what becomes urgent waits for its end.
        max_rows_beside_live: The same while live work is about.
        live_seconds: How long after the last live job it still counts as being about.
        max_joining: Rows of marginals that are read for jobs of one turn; one job always is.
        shares: Part of the time of more urgent work that a waiting kind earns.
        max_waiting: Jobs of each kind that may wait; more are refused.
        max_credit_seconds: Most that a kind can have earned.
    """

    max_rows: int = 160
    max_rows_waiting: int = 64
    max_rows_beside_live: int = 20
    live_seconds: float = 3.0
    max_joining: int = 1024
    shares: Mapping[DecodeKind, float] = field(default_factory=_shares)
    max_waiting: Mapping[DecodeKind, int] = field(default_factory=_bounds)
    max_credit_seconds: float = 0.2

    def __post_init__(self) -> None:
        if min(self.max_rows, self.max_rows_waiting, self.max_rows_beside_live) < 1:
            raise ValueError("a step has at least one row")
        if not all(0.0 < share <= 1.0 for share in self.shares.values()):
            raise ValueError("a share is above 0, or its kind would starve, and at most 1")


@dataclass(frozen=True, slots=True)
class Waiting(Generic[Key]):
    """A job that has not begun.

    Attributes:
        key: Whose.
        beam: Rows it will take.
        rows: Rows of marginals to be read for it, about.
        expires: When nobody wants it any more, in seconds of the caller's clock.
    """

    key: Key
    beam: int
    rows: int = 0
    expires: float | None = None


@dataclass(frozen=True, slots=True)
class Group:
    """Jobs of one kind and beam that take their steps together."""

    kind: DecodeKind
    beam: int


@dataclass(frozen=True, slots=True)
class Turn(Generic[Key]):
    """What to do now.

    Attributes:
        group: Takes the next step.
        joins: Waiting jobs that begin in it first, in order.
        expired: Waiting jobs to be dropped.
    """

    group: Group
    joins: tuple[Key, ...]
    expired: tuple[Key, ...]


@dataclass(frozen=True, slots=True)
class Ledger:
    """What the policy remembers between turns; a value.

    Attributes:
        earned: Seconds that a waiting kind may take before more urgent ones.
        costs: Seconds of the kind's last turn.
        last_live: When live work was last seen; None: never.
        turns: Turns so far.
        last_turns: Turn that each group had last.
    """

    earned: Mapping[DecodeKind, float] = field(default_factory=dict)
    costs: Mapping[DecodeKind, float] = field(default_factory=dict)
    last_live: float | None = None
    turns: int = 0
    last_turns: Mapping[Group, int] = field(default_factory=dict)


def next_turn(
    limits: Limits,
    ledger: Ledger,
    *,
    queues: Mapping[DecodeKind, Sequence[Waiting[Key]]],
    running: Mapping[Group, int],
    now: float,
) -> Turn[Key] | None:
    """Choose a group and who joins it.

    Args:
        limits: The numbers.
        ledger: From ``charge``.
        queues: Waiting jobs, oldest first.
        running: Requests of each group under way; groups without any are left out.
        now: Seconds of the caller's clock.

    Returns:
        None if there is nothing to do.
    """
    busy = {group.kind for group in running} | {kind for kind, jobs in queues.items() if jobs}
    if not busy:
        return None
    kind = _kind(ledger, busy)
    jobs = queues.get(kind, ())
    known = {group for group in running if group.kind is kind}
    choices = known | {Group(kind, job.beam) for job in jobs}
    group = min(choices, key=lambda one: (ledger.last_turns.get(one, -1), one.beam))
    rows = limits.max_rows if kind in LIVE else limits.max_rows_waiting
    is_live_about = ledger.last_live is not None and now - ledger.last_live < limits.live_seconds
    if kind not in LIVE and (is_live_about or busy & LIVE):
        rows = limits.max_rows_beside_live
    joins: list[Key] = []
    expired: list[Key] = []
    room = max(rows // max(group.beam, 1), 1) - running.get(group, 0)
    reading = 0
    for job in jobs:
        if len(joins) >= room:
            break
        if job.expires is not None and job.expires <= now:
            expired.append(job.key)
        elif job.beam == group.beam:
            reading += job.rows
            if joins and reading > limits.max_joining:
                break
            joins.append(job.key)
    return Turn(group, tuple(joins), tuple(expired))


def charge(
    limits: Limits, ledger: Ledger, turn: Turn[Key], *, busy: Iterable[DecodeKind], now: float,
    seconds: float,
) -> Ledger:  # fmt: skip
    """Note a turn that was taken.

    Args:
        limits: The numbers.
        ledger: Before it.
        turn: Which.
        busy: Kinds that had work, waiting or under way, when it was chosen.
        now: When it ended.
        seconds: How long it took.
    """
    kind = turn.group.kind
    earned = {}
    for other in busy:
        before = ledger.earned.get(other, 0.0)
        if other is kind:
            earned[other] = max(before - seconds, 0.0)
        elif other.value > kind.value:
            most = max(limits.max_credit_seconds, ledger.costs.get(other, 0.0))
            earned[other] = min(before + limits.shares[other] * seconds, most)
        else:
            earned[other] = before
    return Ledger(
        earned=earned,
        costs={**ledger.costs, kind: seconds},
        last_live=now if LIVE.intersection(busy) else ledger.last_live,
        turns=ledger.turns + 1,
        last_turns={**ledger.last_turns, turn.group: ledger.turns},
    )


def refusal(limits: Limits, ledger: Ledger, kind: DecodeKind, num_waiting: int) -> float | None:
    """Seconds after which a caller may try again; None if there is room in the kind's queue."""
    if num_waiting < limits.max_waiting[kind]:
        return None
    return min(max(num_waiting * ledger.costs.get(kind, 0.0), 0.5), 10.0)


def idle(ledger: Ledger) -> Ledger:
    """Nothing is waiting: what was earned is forgotten."""
    return replace(ledger, earned={}, last_turns={})


def _kind(ledger: Ledger, busy: set[DecodeKind]) -> DecodeKind:
    """The most urgent kind, unless one that was passed over has earned a turn."""
    urgent = min(busy, key=lambda kind: kind.value)
    owed = [
        kind
        for kind in busy
        if kind is not urgent
        and ledger.earned.get(kind, 0.0) > 0.0
        and ledger.earned[kind] >= ledger.costs.get(kind, 0.0)
    ]
    return max(owed, key=lambda kind: ledger.earned[kind]) if owed else urgent
