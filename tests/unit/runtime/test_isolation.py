"""A request that raises fails alone, whoever shares its batch."""

from __future__ import annotations

import random

import pytest

from legonn_core.errors import BadText, InternalFault
from legonn_core.interface.reference import ModuleRef
from legonn_core.runtime.isolation import IsolatedDecoder, run_isolated
from legonn_core.runtime.messages import DecodeJob, DecodeResult

DECODER = ModuleRef("decoder-en", "1")


def test_rows_that_go_well_run_once():
    calls = []
    found = run_isolated([1, 2, 3], lambda rows: calls.append(rows) or [2 * r for r in rows])
    assert (found, calls) == ([2, 4, 6], [[1, 2, 3]])


@pytest.mark.parametrize("raised", [ZeroDivisionError("3"), BadText("three"), MemoryError()])
def test_the_row_that_raises_is_the_only_one_that_fails(raised):
    def run(rows):
        if 3 in rows:
            raise raised
        return [2 * row for row in rows]

    one, guilty, other = run_isolated([1, 3, 5], run)
    assert (one, other) == (2, 10)
    assert isinstance(guilty, BadText if isinstance(raised, BadText) else InternalFault)


class Engine:
    """Ends every job at its third step; raises at a poisonous one's second."""

    def __init__(self):
        self.jobs = {}

    @property
    def num_jobs(self):
        return len(self.jobs)

    def submit(self, key, job):
        self.jobs[key] = [job, 0]

    def cancel(self, keys):
        for key in keys:
            self.jobs.pop(key, None)

    def step(self):
        ended = []
        for key, entry in list(self.jobs.items()):
            entry[1] += 1
            if entry[0].beam == 13 and entry[1] == 2:
                raise ZeroDivisionError
            if entry[1] == 3:
                ended.append((key, DecodeResult(())))
                del self.jobs[key]
        return ended


@pytest.mark.parametrize("seed", range(30))
def test_every_job_ends_once_and_only_the_poisonous_fail(seed: int):
    dice = random.Random(seed)
    decoder = IsolatedDecoder(Engine())
    expected, found = {}, {}
    for key in range(40):
        is_poison = dice.random() < 0.15
        expected[key] = InternalFault if is_poison else DecodeResult
        decoder.submit(key, DecodeJob(DECODER, (), beam=13 if is_poison else 5))
        if dice.random() < 0.1:
            decoder.cancel({key})
            del expected[key]
        for _ in range(dice.randint(0, 2)):
            found |= dict(decoder.step())
    for _ in range(1_000):
        found |= dict(decoder.step())
    assert decoder.num_jobs == 0
    assert {key: type(answer) for key, answer in found.items()} == expected
