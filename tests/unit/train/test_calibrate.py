from __future__ import annotations

import pytest
import torch

from legonn_core.train.calibrate import fit

TARGETS = [(1, 2, 3), (4, 4), (2, 5, 1)]


def rows_that_say(targets: list[tuple[int, ...]], *, sure: float, blank: float) -> torch.Tensor:
    """Rows over six classes that read their targets, one row in ten some other class."""
    generator = torch.Generator().manual_seed(0)
    logits = torch.zeros(len(targets) * 8, 7, 6)
    for item in range(len(logits)):
        target = targets[item % len(targets)]
        path = [label for token in target for label in (0, token)] + [0]
        for row, label in enumerate(path):
            wrong = torch.rand((), generator=generator) < 0.1
            heard = int(torch.randint(1, 6, (), generator=generator)) if wrong else label
            logits[item, row, heard] += sure
    logits[:, :, 0] += blank
    return logits


def test_rows_that_are_too_sure_and_shy_are_put_right():
    targets = TARGETS * 8
    logits = rows_that_say(TARGETS, sure=12.0, blank=-4.0)
    found, before, after = fit(logits, torch.full((24,), 7), targets)
    assert found.temperature > 1.5
    assert found.blank_bias > 0.3
    assert after < before - 0.1


def test_nothing_to_align_is_said():
    with pytest.raises(ValueError, match="no target fits"):
        fit(torch.zeros(1, 2, 6), torch.tensor([2]), [(1, 2, 3)])
