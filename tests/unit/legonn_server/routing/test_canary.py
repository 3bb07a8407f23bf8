"""The judge of trials: quick to see what is worse, slow to see what is not there."""

from __future__ import annotations

import random

import pytest

from legonn_core.runtime.messages import ModuleRef
from legonn_server.routing.canary import Outcome, Trial, Verdict, wilson
from legonn_server.routing.trials import CanaryPlan

PLAN = CanaryPlan(
    ModuleRef("speech-en", "2"),
    ModuleRef("decoder-en", "1"),
    steps=(10, 100),
    hold_seconds=60.0,
    min_segments=30,
)


def play(trial: Trial, seed: int, *, segments: int = 60, **worse: float) -> None:
    """So many segments on each side; the trial's are worse in the way that is said."""
    dice = random.Random(seed)
    for index in range(2 * segments):
        is_trial = index % 2 == 1
        less = worse if is_trial else {}
        trial.add(
            Outcome(
                is_error=dice.random() < less.get("errors", 0.0),
                latency_s=dice.lognormvariate(-2.0, 0.3) * less.get("slower", 1.0),
                blank_share=min(max(dice.gauss(0.6, 0.05) + less.get("blanks", 0.0), 0), 1),
            ),
            is_trial=is_trial,
        )


def test_a_good_trial_takes_each_step_when_its_time_has_come():
    trial = Trial(PLAN, 0.0)
    assert (trial.percent, trial.judge(1_000.0)) == (10, Verdict.STAY), "no segments yet"
    play(trial, 1)
    assert trial.judge(30.0) is Verdict.STAY, "too early"
    assert trial.judge(61.0) is Verdict.ADVANCE
    trial.advance(61.0)
    assert (trial.percent, trial.judge(200.0)) == (100, Verdict.STAY)
    play(trial, 2)
    assert trial.judge(122.0) is Verdict.PROMOTE


@pytest.mark.parametrize(
    ("worse", "said"),
    [
        ({"errors": 0.3}, "more segments fail"),
        ({"slower": 2.5}, "times as long"),
        ({"blanks": 0.3}, "blank rows differs"),
        ({"blanks": -0.4}, "blank rows differs"),
    ],
)
def test_what_is_clearly_worse_is_given_up_whatever_the_seed(worse, said):
    for seed in range(50):
        trial = Trial(PLAN, 0.0)
        play(trial, seed, **worse)
        assert trial.judge(1.0) is Verdict.ABORT
        assert said in trial.broken()


def test_an_equal_trial_is_rarely_given_up():
    aborted = 0
    for seed in range(400):
        trial = Trial(PLAN, 0.0)
        play(trial, seed, errors=0.0)
        aborted += trial.judge(1.0) is Verdict.ABORT
    assert aborted == 0


def test_a_card_with_a_band_is_judged_by_it():
    for band, verdict in (((0.5, 0.7), Verdict.STAY), ((0.7, 0.9), Verdict.ABORT)):
        trial = Trial(PLAN, 0.0, blank_band=band)
        play(trial, 3)
        assert trial.judge(1.0) is verdict


def test_a_few_segments_decide_nothing():
    trial = Trial(PLAN, 0.0)
    for _ in range(7):
        trial.add(Outcome(is_error=True), is_trial=True)
    assert trial.judge(1.0) is Verdict.STAY


def test_wilson_gives_the_published_interval():
    low, high = wilson(81, 263)  # Newcombe (1998), table I: 0.2553 to 0.3662
    assert (round(low, 4), round(high, 4)) == (0.2553, 0.3662)
    assert wilson(0, 0) == (0.0, 1.0)
