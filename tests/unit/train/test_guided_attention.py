"""The guided head: what it is asked for, and that it learns where tokens stand."""

from __future__ import annotations

import torch

from legonn_core.decoders.decoder import Decoder, DecoderShape
from legonn_core.train.guided_attention import GuidedHead

SHAPE = DecoderShape(12, width=32, hidden=64, num_heads=2, ingestor_layers=1, layers=2)


def heard(decoder: Decoder, probs: torch.Tensor, known: torch.Tensor, head: GuidedHead) -> None:
    lengths = torch.full((len(probs),), probs.shape[1])
    read = decoder.ingestor.read_dense(probs, torch.zeros(probs.shape[:2]), lengths)
    with head.listening():
        decoder(known, decoder.remember(read.mixture, read.lengths))


def test_an_even_head_is_surprised_by_how_few_of_the_rows_are_a_tokens_own():
    decoder = Decoder(SHAPE)
    attention = decoder.layers[1].cross_attention
    torch.nn.init.zeros_(attention.query.weight)
    torch.nn.init.zeros_(attention.query.bias)
    head = GuidedHead(decoder, layer=1)
    heard(decoder, torch.rand(1, 6, 12).softmax(-1), torch.zeros(1, 3, dtype=torch.long), head)
    said = torch.tensor([[0, 0, -1, 1, -1, -1]])  # the last two are padding
    expected = (torch.tensor(4 / 2).log() + torch.tensor(4 / 1).log()) / 2
    assert torch.allclose(head.loss(said), expected, atol=1e-5)
    assert head.loss(torch.full((1, 6), -1)) == 0.0


def test_the_head_learns_and_gradients_stay_finite_where_tokens_have_no_rows():
    torch.manual_seed(2)
    decoder = Decoder(SHAPE)
    head = GuidedHead(decoder, layer=1)
    optimizer = torch.optim.Adam(decoder.parameters(), lr=3e-3)
    surprise = []
    for _ in range(60):
        tokens = torch.randint(1, 12, (16, 5))
        probs = torch.nn.functional.one_hot(tokens, 12).float()
        known = torch.cat([torch.zeros(16, 1, dtype=torch.long), tokens], dim=1)
        heard(decoder, probs, known, head)
        said = torch.tensor([[0, 1, -1, 3, 4]]).expand(16, 5)
        loss = head.loss(said)
        optimizer.zero_grad()
        loss.backward()
        assert all(p.grad is None or bool(p.grad.isfinite().all()) for p in decoder.parameters())
        optimizer.step()
        surprise.append(float(loss.detach()))
    assert surprise[-1] < 0.5 * surprise[0]
