"""Every door is fed with what was found before and with thousands of broken inputs.

`make fuzz SECONDS=N` does the same for as long as one likes, guided by coverage.
"""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from tests.fuzz.run import SEEDS, mutated, seeds_of
from tests.fuzz.targets import TARGETS

SLOW = {"speech-session": 600, "text-session": 300, "files": 300}
CASES = {name: SLOW.get(name, 2_200) for name in TARGETS}


def test_enough_is_tried():
    assert sum(CASES.values()) >= 20_000


@pytest.mark.parametrize("name", TARGETS)
def test_a_door_lets_nothing_in_that_breaks(name: str, tmp_path: Path):
    dice, seeds = random.Random(name), seeds_of(name)
    for content in seeds:
        TARGETS[name].run(content)
    for _ in range(CASES[name]):
        content = mutated(dice, seeds)
        try:
            TARGETS[name].run(content)
        except BaseException as error:
            path = tmp_path / "found"
            path.write_bytes(content)
            error.add_note(f"mend it, and keep {path} in {SEEDS / name}")
            raise


@pytest.mark.parametrize(
    "path", sorted(SEEDS.glob("*/*")), ids=lambda p: f"{p.parent.name}-{p.name}"
)
def test_what_was_found_once_stays_mended(path: Path):
    TARGETS[path.parent.name].run(path.read_bytes())
