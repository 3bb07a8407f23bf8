"""A request that fails for no reason we know takes nobody with it.

Rows run together, so one that raises would fail its whole batch, and an exception that nobody
expects would end the engine with all its streams. Here a batch that raises is run again, row by
row: the guilty row gets an ``InternalFault`` of its own, the others their answers.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Hashable, Sequence
from typing import Generic, Protocol, TypeVar

from legonn_core.errors import InternalFault, LegonnError
from legonn_core.runtime.messages import DecodeJob, DecodeResult

log = logging.getLogger("legonn.engine")

Row = TypeVar("Row")
Result = TypeVar("Result")
Key = TypeVar("Key", bound=Hashable)
Ended = list[tuple[Key, DecodeResult | LegonnError]]


def as_fault(error: Exception) -> InternalFault:
    """What a caller may know of an exception that nobody expected."""
    log.error("a request failed", exc_info=error)
    return InternalFault(f"the engine failed with {type(error).__name__}")


def run_isolated(
    rows: Sequence[Row], run: Callable[[Sequence[Row]], Sequence[Result]]
) -> list[Result | LegonnError]:
    """Run rows together; if that raises, each alone.

    Args:
        rows: At least one.
        run: Gives one result a row, and changes nothing when it raises.

    Returns:
        Results in the order of the rows, an error where a row raised by itself.
    """
    try:
        return list(run(rows))
    except Exception as error:  # noqa: BLE001 - fails the row, not the engine
        if len(rows) == 1:
            return [error if isinstance(error, LegonnError) else as_fault(error)]
        log.warning("a batch of %d failed with %s; run one by one", len(rows), type(error).__name__)
    return [answer for row in rows for answer in run_isolated([row], run)]


class Decoding(Protocol[Key]):
    """What is needed of a decoder engine: jobs go in under a key, come out by steps."""

    @property
    def num_jobs(self) -> int:
        """Jobs waiting or under way."""

    def submit(self, key: Key, job: DecodeJob) -> None:
        """Queue a job."""

    def cancel(self, keys: set[Key]) -> None:
        """Forget jobs."""

    def step(self) -> Ended[Key]:
        """Do a little work; gives the jobs that ended."""


class IsolatedDecoder(Generic[Key]):
    """A decoder engine whose unexpected failures stay with the job that causes them.

    When a step raises, all jobs in the engine are suspects: they are taken out and run one at a
    time, and only the one that raises alone fails. Jobs are pure, so running one again is safe.

    Args:
        engine: The decoder engine.
    """

    def __init__(self, engine: Decoding[Key]) -> None:
        self._engine = engine
        self._inside: dict[Key, DecodeJob] = {}
        self._suspects: dict[Key, DecodeJob] = {}
        self._behind: dict[Key, DecodeJob] = {}

    @property
    def num_jobs(self) -> int:
        """Jobs waiting or under way."""
        return len(self._inside) + len(self._suspects) + len(self._behind)

    @property
    def keys(self) -> list[Key]:
        """Of all jobs."""
        return [*self._inside, *self._suspects, *self._behind]

    def submit(self, key: Key, job: DecodeJob) -> None:
        """Queue a job; behind the suspects while there are any."""
        if self._suspects:
            self._behind[key] = job
        else:
            self._put(key, job)

    def cancel(self, keys: set[Key]) -> None:
        """Forget jobs whose callers are gone."""
        for jobs in (self._inside, self._suspects, self._behind):
            for key in keys & jobs.keys():
                del jobs[key]
        self._engine.cancel(keys)

    def step(self) -> Ended[Key]:
        """One step of the engine; gives the jobs that ended."""
        if not self._inside:
            self._refill()
        if not self._inside:
            return []
        try:
            ended = self._engine.step()
        except Exception as error:  # noqa: BLE001 - fails the job, not the engine
            return self._on_failure(error)
        for key, _ in ended:
            self._inside.pop(key, None)
        return ended

    def _put(self, key: Key, job: DecodeJob) -> None:
        self._inside[key] = job
        self._engine.submit(key, job)

    def _refill(self) -> None:
        """One suspect at a time; when all are cleared, everybody who waited behind them."""
        if self._suspects:
            key = next(iter(self._suspects))
            self._put(key, self._suspects.pop(key))
            return
        behind, self._behind = self._behind, {}
        for key, job in behind.items():
            self._put(key, job)

    def _on_failure(self, error: Exception) -> Ended[Key]:
        jobs, self._inside = self._inside, {}
        self._engine.cancel(set(jobs))
        if len(jobs) == 1:
            (key,) = jobs
            return [(key, error if isinstance(error, LegonnError) else as_fault(error))]
        log.warning("%d decodes failed with %s; run one by one", len(jobs), type(error).__name__)
        self._suspects = jobs | self._suspects
        return []
