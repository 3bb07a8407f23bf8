"""How many streams a server carries: the largest number whose 95th percentile of lag is in bound.

Doubles until a step fails, then halves the distance. A step fails by its limits alone; a step in
which the generators were busy or late fails too, since it says nothing of the server.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace

from legonn_loadtest.load.driver import Outcome
from legonn_loadtest.load.scenario import Phase, Scenario

Play = Callable[[Scenario], Awaitable[Outcome]]


@dataclass(frozen=True, slots=True)
class Step:
    """One number of streams, tried.

    Attributes:
        breaches: Why it failed; empty if it held.
    """

    num_streams: int
    outcome: Outcome
    breaches: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Search:
    """Where to look.

    Attributes:
        first: The number that is tried first.
        most: The largest number that is tried.
        precision: Stop when the bounds are this close, as a share of the lower one.
        warm_up_s: Not measured.
        seconds: Measured, for each number.
    """

    first: int = 8
    most: int = 4_096
    precision: float = 0.1
    warm_up_s: float = 4.0
    seconds: float = 15.0


def at(scenario: Scenario, num_streams: int, search: Search) -> Scenario:
    """The scenario with this many steady streams."""
    return replace(
        scenario,
        name=f"{scenario.name}, {num_streams} streams",
        phases=(
            Phase(seconds=search.warm_up_s, streams=num_streams, at_once=True, measured=False),
            Phase(seconds=search.seconds, streams=num_streams),
        ),
    )


async def find(
    scenario: Scenario, search: Search, play: Play, *, tell: Callable[[Step], None]
) -> tuple[Step, ...]:
    """Try numbers until the largest that holds is known; returns all steps in order."""
    steps: list[Step] = []

    async def holds(number: int) -> bool:
        outcome = await play(at(scenario, number, search))
        breaches = outcome.breaches()
        if outcome.generator_is_busy:
            breaches.append("the generators were busy; use more processes or another machine")
        if outcome.generator_is_late:
            breaches.append("messages left late: a generator had no core, or the server held it up")
        steps.append(Step(number, outcome, tuple(breaches)))
        tell(steps[-1])
        return not breaches

    good, bad = 0, 0
    number = min(search.first, search.most)
    while not bad:
        if await holds(number):
            good = number
            if number == search.most:
                break
            number = min(number * 2, search.most)
        else:
            bad = number
    while bad - good > max(1, search.precision * good) and bad:
        number = (good + bad) // 2
        if await holds(number):
            good = number
        else:
            bad = number
    return tuple(steps)


def largest(steps: tuple[Step, ...]) -> int:
    """The largest number that held; 0 if none did."""
    return max((step.num_streams for step in steps if not step.breaches), default=0)
