from __future__ import annotations

import math

import pytest
import torch

from legonn_core.encoders.length import OutputLengthController
from tests.support.tiny import lively


def controller(numerator=1, denominator=2, *, left=4, right=2, is_band=True):
    return lively(
        OutputLengthController(
            16,
            2,
            numerator=numerator,
            denominator=denominator,
            left=left,
            right=right,
            is_band=is_band,
        )
    )


@pytest.mark.parametrize(("numerator", "denominator"), [(1, 2), (3, 1), (2, 3), (3, 2), (1, 4)])
def test_as_many_positions_as_the_paper_says(numerator, denominator):
    lengths = torch.arange(0, 40)
    found = controller(numerator, denominator).num_positions(lengths)
    assert found.tolist() == [math.ceil(n * numerator / denominator) for n in range(40)]


@pytest.mark.parametrize(("numerator", "denominator"), [(1, 2), (3, 1), (2, 3)])
def test_centres_lie_in_the_sequence_and_never_step_back(numerator, denominator):
    length = controller(numerator, denominator)
    positions = torch.arange(int(length.num_positions(torch.tensor(30))))
    centres = length.centres(positions)
    assert (centres.diff() >= 0).all()
    assert 0 <= int(centres[0]) <= int(centres[-1]) < 30


def test_a_window_gives_what_the_whole_gives():
    length, states = controller(), torch.randn(2, 24, 16)
    whole = length(states, torch.arange(12), start=0, stop=torch.tensor([24, 24]))
    # positions 4..8 have their centres at 9..17 and look from 5 to 19
    part = length(states[:, 5:20], torch.arange(4, 9), start=5, stop=torch.tensor([24, 24]))
    torch.testing.assert_close(part, whole[:, 4:9], atol=1e-5, rtol=0)


def test_indices_may_be_counted_from_any_place():
    length, states = controller(), torch.randn(1, 12, 16)
    stop = torch.tensor([12])
    here = length(states, torch.arange(6), start=0, stop=stop)
    there = length(states, torch.arange(6) - 3, start=-6, stop=stop - 6, first=torch.tensor([-6]))
    torch.testing.assert_close(there, here, atol=1e-5, rtol=0)


def test_a_band_hides_what_is_far_and_a_window_does_not():
    states = torch.randn(1, 40, 16)
    changed = states.clone()
    changed[:, 30:] = torch.randn(1, 10, 16)
    for is_band in (True, False):
        length, stop = controller(is_band=is_band), torch.tensor([40])
        before = length(states, torch.arange(5), start=0, stop=stop)
        after = length(changed, torch.arange(5), start=0, stop=stop)
        assert torch.allclose(before, after, atol=1e-6) == is_band


@pytest.mark.parametrize("is_band", [True, False])
def test_padding_behind_a_row_is_not_seen(is_band):
    length, states = controller(3, 1, is_band=is_band), torch.randn(2, 10, 16)
    alone = length(states[:1, :6], torch.arange(18), start=0, stop=torch.tensor([6]))
    together = length(states, torch.arange(18), start=0, stop=torch.tensor([6, 10]))
    torch.testing.assert_close(together[:1], alone, atol=1e-5, rtol=0)


def test_phases_tell_positions_of_one_centre_apart():
    length, states = controller(3, 1), torch.zeros(1, 4, 16)
    found = length(states, torch.arange(12), start=0, stop=torch.tensor([4]))[0]
    assert (found[3] - found[4]).abs().max() > 1e-3
