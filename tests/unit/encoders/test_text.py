from __future__ import annotations

import pytest
import torch

from legonn_core.encoders.text import TextEncoder
from tests.support.tiny import NUM_CLASSES, TEXT_SHAPE, text_encoder


@pytest.fixture(scope="module")
def encoder() -> TextEncoder:
    return text_encoder()


@torch.no_grad()
def test_rows_for_every_token(encoder):
    logits, rows = encoder(torch.ones(2, 7, dtype=torch.long), torch.tensor([7, 3]))
    assert logits.shape == (2, 14, NUM_CLASSES)
    assert rows.tolist() == [14, 6]


@torch.no_grad()
@pytest.mark.parametrize("padding", [0, 5])
def test_a_sentence_alone_and_among_others(encoder, padding):
    generator = torch.Generator().manual_seed(0)
    lengths = torch.tensor([3, 9, 1, 14])
    tokens = torch.randint(1, TEXT_SHAPE.source_pieces, (4, 14), generator=generator)
    for row, length in enumerate(lengths.tolist()):
        tokens[row, length:] = padding
    together, rows = encoder(tokens, lengths)
    for row, length in enumerate(lengths.tolist()):
        alone, count = encoder(tokens[row : row + 1, :length], lengths[row : row + 1])
        assert count[0] == rows[row]
        torch.testing.assert_close(
            together[row, : int(count[0])].softmax(-1), alone[0].softmax(-1), atol=1e-5, rtol=0
        )


@torch.no_grad()
def test_a_sentence_is_read_whole(encoder):
    tokens = torch.arange(1, 13)[None]
    first, _ = encoder(tokens, torch.tensor([12]))
    tokens[0, -1] = 20
    second, _ = encoder(tokens, torch.tensor([12]))
    assert (first[0, 0] - second[0, 0]).abs().max() > 1e-4


def test_gradients_reach_every_parameter():
    network = TextEncoder(TEXT_SHAPE).train()
    network(torch.arange(1, 9)[None], torch.tensor([8]))[0].square().sum().backward()
    assert not [name for name, p in network.named_parameters() if p.grad is None]
