"""The proofs' script says only commands that the tools understand."""

from __future__ import annotations

import argparse
import os
import shlex
import subprocess
from pathlib import Path

import pytest

from legonn_core.evaluate import command as evaluate_command
from legonn_core.train import command as train_command
from legonn_core.train import recipe_file

ROOT = Path(__file__).resolve().parents[3]
PROVE = ROOT / "recipes/prove"


def said(*words: str, **settings: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [PROVE, *words],
        env=os.environ | {"DRY": "1"} | settings,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


NAMES = [line.split()[0] for line in said().stdout.splitlines()[1:]]


def test_without_a_name_it_lists_the_proofs():
    told = said()
    assert told.returncode == said("nonsense").returncode == 2
    assert len(NAMES) == 9 and "three-modules" in NAMES
    assert all(name in (ROOT / "docs/results/legonn.md").read_text("utf-8") for name in NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_a_proof_names_recipes_and_runs_that_there_are(name):
    told = said(name, DECODER="decoder-en/2")
    assert told.returncode == 0, told.stderr
    lines = [line.removeprefix("+ ") for line in told.stdout.splitlines()]
    trained = set()
    for line in lines:
        # What the shell printed has lost its quotes; a change has none that matter but these.
        words = shlex.split(line.replace('"', "'\"'"))
        if words[:2] == ["legonn", "train"]:
            parser = argparse.ArgumentParser()
            train_command.add_arguments(parser)
            asked = parser.parse_args(words[2:])
            content = recipe_file.read(ROOT / asked.recipe, asked.changes)
            recipe, _, _ = train_command.read_recipe(content, minutes=asked.minutes)
            trained.add(getattr(recipe, "out", ""))
    (figures,) = [shlex.split(line) for line in lines if "evaluate exchange" in line]
    parser = argparse.ArgumentParser()
    evaluate_command.add_arguments(parser)
    asked = parser.parse_args(figures[2:])
    assert asked.json == Path(f"docs/results/legonn-{name}.json")
    assert {part for run in asked.runs for part in run.split("+")} <= trained
    assert asked.sets
    if asked.against:
        assert f"work/{asked.against}" in asked.runs


def test_a_rehearsal_is_short_whatever_the_recipe_says():
    told = said("tuned-speech", MINUTES="0.3")
    trainings = [line for line in told.stdout.splitlines() if " train " in line]
    assert trainings
    assert all(line.endswith("--with steps=0 --minutes 0.3") for line in trainings)
