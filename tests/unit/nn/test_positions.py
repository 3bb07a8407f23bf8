from __future__ import annotations

import torch

from legonn_core.nn.positions import RelativeBias, rotate, sinusoids


def test_sinusoids_are_sines_then_cosines():
    table = sinusoids(50, 8)
    assert table.shape == (50, 8)
    torch.testing.assert_close(table[0], torch.tensor([0.0] * 4 + [1.0] * 4))
    torch.testing.assert_close(table[:, 0], torch.arange(50.0).sin())
    torch.testing.assert_close(table[:, :4] ** 2 + table[:, 4:] ** 2, torch.ones(50, 4))


def test_rotation_keeps_lengths_and_turns_scores_by_distance():
    torch.manual_seed(0)
    x, y = torch.randn(2, 16)
    at = torch.arange(-3, 9)
    turned = rotate(x.expand(12, 16), at)
    torch.testing.assert_close(turned.norm(dim=-1), x.norm().expand(12))
    scores = turned[2:] @ rotate(y[None], torch.tensor([0]))[0]
    shifted = rotate(x.expand(10, 16), at[2:] + 50) @ rotate(y[None], torch.tensor([50]))[0]
    torch.testing.assert_close(scores, shifted, atol=1e-4, rtol=0)


def test_rotation_takes_positions_of_each_row():
    torch.manual_seed(0)
    x = torch.randn(2, 3, 4, 8)
    positions = torch.tensor([[0, 1, 2, 3], [7, 8, 9, 10]])
    both = rotate(x, positions[:, None])
    torch.testing.assert_close(both[1], rotate(x[1], positions[1]))


def test_relative_bias_reads_its_table_by_distance():
    bias = RelativeBias(2, reach=3)
    with torch.no_grad():
        bias.table.copy_(torch.arange(14.0).view(2, 7))
    scores = bias(torch.tensor([5, 6]), torch.arange(0, 11))
    assert scores.shape == (1, 2, 2, 11)
    assert scores[0, 0, 0].tolist() == [0, 0, 0, 1, 2, 3, 4, 5, 6, 6, 6]
    assert scores[0, 1, 1].tolist() == [7, 7, 7, 7, 8, 9, 10, 11, 12, 13, 13]
