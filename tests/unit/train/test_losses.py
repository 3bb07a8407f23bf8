from __future__ import annotations

import itertools
import math

import pytest
import torch
from torch.nn.functional import one_hot

from legonn_core.train.losses import (
    cross_entropy,
    ctc_loss,
    decoder_inputs,
    feasible,
    pad_targets,
)

TARGETS: list[tuple[int, ...]] = [(3, 3, 5), (2,), (1, 4, 1, 4, 2)]


def log_probs(batch: int, rows: int, classes: int = 6) -> torch.Tensor:
    generator = torch.Generator().manual_seed(rows)
    return torch.randn(batch, rows, classes, generator=generator).log_softmax(dim=-1)


def collapsed(path: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(c for c, _ in itertools.groupby(path) if c)


def test_targets_are_padded_to_few_widths():
    padded, lengths = pad_targets(TARGETS)
    assert padded.tolist() == [
        [3, 3, 5, 0, 0, 0, 0],
        [2, 0, 0, 0, 0, 0, 0],
        [1, 4, 1, 4, 2, 0, 0],
    ]
    assert lengths.tolist() == [3, 1, 5]
    widths = {pad_targets([(1,) * n])[0].shape[1] for n in range(1, 20)}
    assert all(width % 4 == 3 for width in widths)


def test_repeats_need_a_row_more():
    assert feasible(TARGETS, torch.tensor([3, 1, 5])).tolist() == [False, True, True]
    assert feasible(TARGETS, torch.tensor([4, 0, 4])).tolist() == [True, False, False]
    assert feasible([()], torch.tensor([0])).tolist() == [True]


def test_ctc_is_the_sum_over_all_paths():
    values, rows = log_probs(2, 5, classes=4), torch.tensor([5, 3])
    targets: list[tuple[int, ...]] = [(1, 2), (3,)]
    expected = 0.0
    for row, target in enumerate(targets):
        count = int(rows[row])
        paths = itertools.product(range(4), repeat=count)
        mass = sum(
            math.exp(sum(float(values[row, i, c]) for i, c in enumerate(path)))
            for path in paths
            if collapsed(path) == target
        )
        expected -= math.log(mass)
    assert float(ctc_loss(values, rows, targets)) == pytest.approx(expected / 3, abs=1e-5)


def test_ctc_of_what_does_not_fit_counts_nothing():
    values = log_probs(2, 4)
    both = ctc_loss(values, torch.tensor([4, 4]), [(1, 2), (3,) * 5])
    alone = ctc_loss(values[:1], torch.tensor([4]), [(1, 2)])
    assert float(both) * 7 == pytest.approx(float(alone) * 2, rel=1e-5)


def test_an_empty_target_asks_for_blanks():
    values = log_probs(1, 4)
    found = ctc_loss(values, torch.tensor([4]), [()])
    assert float(found) == pytest.approx(-float(values[0, :, 0].sum()), rel=1e-5)


def test_ctc_of_nothing_is_nothing():
    values = log_probs(0, 4).requires_grad_()
    found = ctc_loss(values, torch.tensor([], dtype=torch.long), [])
    found.backward()
    assert float(found.detach()) == 0.0


def test_cross_entropy_counts_tokens_and_one_end_and_no_padding():
    logits = torch.randn(3, 8, 6, generator=torch.Generator().manual_seed(0))
    found = cross_entropy(logits, TARGETS, smoothing=0.0)
    terms = [
        -float(logits[row, i].log_softmax(-1)[c])
        for row, target in enumerate(TARGETS)
        for i, c in enumerate((*target, 0))
    ]
    assert float(found) == pytest.approx(sum(terms) / len(terms), rel=1e-5)
    for row, target in enumerate(TARGETS):
        logits[row, len(target) + 1 :] = 1e4
    assert float(cross_entropy(logits, TARGETS, smoothing=0.0)) == pytest.approx(float(found))


def test_smoothing_keeps_a_sure_answer_from_being_perfect():
    sure = one_hot(torch.tensor([[2, 0, 0, 0]]), 6) * 30.0
    assert float(cross_entropy(sure, [(2,)], smoothing=0.0)) < 1e-6
    assert float(cross_entropy(sure, [(2,)], smoothing=0.1)) > 1.0


def test_inputs_are_targets_behind_a_beginning():
    assert decoder_inputs(TARGETS, drop=0.0).tolist() == [
        [0, 3, 3, 5, 0, 0, 0, 0],
        [0, 2, 0, 0, 0, 0, 0, 0],
        [0, 1, 4, 1, 4, 2, 0, 0],
    ]


def test_dropped_inputs_become_the_beginning():
    torch.manual_seed(0)
    found = decoder_inputs([(7,) * 400] * 20, drop=0.25)[:, 1:401]
    assert set(found.unique().tolist()) == {0, 7}
    assert float((found == 0).float().mean()) == pytest.approx(0.25, abs=0.02)
