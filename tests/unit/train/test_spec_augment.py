from __future__ import annotations

import torch

from legonn_core.train.spec_augment import SpecAugment


def test_spans_and_bands_become_the_mean_and_nothing_else_changes():
    torch.manual_seed(3)
    values = torch.randn(4, 200, 80)
    masked = SpecAugment(times=2, longest=0.1, bands=1, widest=10)(values)
    changed = masked != values
    mean = values.mean(dim=(1, 2))
    for item in range(4):
        torch.testing.assert_close(
            masked[item][changed[item]], mean[item].expand(int(changed[item].sum()))
        )
        whole_steps = changed[item].all(dim=1)
        whole_bands = changed[item].all(dim=0)
        assert int(whole_steps.sum()) <= 40 and int(whole_bands.sum()) <= 10
        assert bool((changed[item] <= (whole_steps[:, None] | whole_bands[None])).all())
    assert bool(changed.any())


def test_none_is_nothing():
    values = torch.randn(2, 9, 5)
    assert torch.equal(SpecAugment(times=0, bands=0)(values), values)
