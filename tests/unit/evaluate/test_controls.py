from __future__ import annotations

import torch

from legonn_core.evaluate.controls import Condition, applied
from legonn_core.evaluate.greedy import read_off
from legonn_core.train.composition import Handed


def handed() -> Handed:
    logits = torch.randn(3, 6, 5, generator=torch.Generator().manual_seed(0))
    return Handed(logits, torch.tensor([6, 2, 4]))


def test_marginals_are_left_alone():
    rows = handed()
    assert applied(Condition.MARGINALS, rows, seed=0) is rows


def test_one_hot_keeps_the_best_class_and_nothing_else():
    changed = applied(Condition.ONE_HOT, handed(), seed=0)
    assert torch.equal(changed.logits.argmax(-1), handed().logits.argmax(-1))
    torch.testing.assert_close(changed.log_probs.exp().amax(-1), torch.ones(3, 6))
    assert read_off(changed) == read_off(handed())


def test_shuffling_keeps_the_rows_of_an_item_and_leaves_padding():
    changed = applied(Condition.SHUFFLED, handed(), seed=1)
    for item, count in enumerate([6, 2, 4]):
        before, after = handed().logits[item], changed.logits[item]
        assert sorted(before[:count].sum(-1).tolist()) == sorted(after[:count].sum(-1).tolist())
        assert torch.equal(before[count:], after[count:])
    assert not torch.equal(changed.logits, handed().logits)


def test_another_item_brings_its_own_length():
    changed = applied(Condition.OTHER, handed(), seed=0)
    assert changed.rows.tolist() == [4, 6, 2]
    assert torch.equal(changed.logits[1], handed().logits[0])


def test_uniform_rows_say_nothing():
    changed = applied(Condition.UNIFORM, handed(), seed=0)
    assert changed.log_probs.exp().unique().numel() == 1
