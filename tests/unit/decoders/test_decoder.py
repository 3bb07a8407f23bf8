from __future__ import annotations

import pytest
import torch

from legonn_core.decoders.decoder import END, Decoder, DecoderState, Memory
from tests.support.tiny import DECODER_SHAPE, NUM_CLASSES, decoder


@pytest.fixture(scope="module")
def network() -> Decoder:
    return decoder()


def remembered(network: Decoder, *lengths: int) -> Memory:
    """A memory of one request a length, each drawn from its own seed."""
    probs = torch.zeros(len(lengths), max(lengths), NUM_CLASSES)
    for row, length in enumerate(lengths):
        generator = torch.Generator().manual_seed(length)
        logits = 3 * torch.randn(length, NUM_CLASSES, generator=generator)
        probs[row, :length] = logits.softmax(dim=-1)
    mixture = network.ingestor.mix_dense(probs, torch.zeros(probs.shape[:2]))
    return network.remember(mixture, torch.tensor(lengths))


def stepped(
    network: Decoder, tokens: torch.Tensor, memory: Memory, beams: int = 1
) -> tuple[torch.Tensor, DecoderState]:
    """Log-probabilities (rows, S, V) token by token; every beam reads ``tokens`` (R * K, S)."""
    state, found = network.start(tokens.shape[0] // beams, beams), []
    for column in tokens.unbind(dim=1):
        log_probs, state = network.step(column, memory, state)
        found.append(log_probs)
    return torch.stack(found, dim=1), state


TOKENS = torch.tensor([[END, 5, 9, 9, 30], [END, 7, 1, 39, 2]])


@torch.no_grad()
def test_steps_equal_the_whole(network):
    memory = remembered(network, 6, 11)
    whole = network(TOKENS, memory).log_softmax(dim=-1)
    found, state = stepped(network, TOKENS, memory)
    torch.testing.assert_close(found, whole, atol=1e-5, rtol=0)
    assert state.length == 5


@torch.no_grad()
def test_reading_a_beginning_at_once_equals_steps(network):
    memory, beams = remembered(network, 6, 11), 3
    log_probs, state = network.read(TOKENS, memory, beams)
    each = TOKENS.repeat_interleave(beams, dim=0)
    found, slow = stepped(network, each, memory, beams)
    torch.testing.assert_close(log_probs, found[::beams], atol=1e-5, rtol=0)
    assert (state.length, state.beams) == (slow.length, slow.beams)
    after, _ = network.step(each[:, 1], memory, state)
    expected, _ = network.step(each[:, 1], memory, slow)
    torch.testing.assert_close(after, expected, atol=1e-5, rtol=0)


@torch.no_grad()
def test_a_request_alone_and_among_others(network):
    together, _ = stepped(network, TOKENS, remembered(network, 6, 11))
    for row, length in enumerate((6, 11)):
        alone, _ = stepped(network, TOKENS[row : row + 1], remembered(network, length))
        torch.testing.assert_close(together[row], alone[0], atol=1e-5, rtol=0)


@torch.no_grad()
def test_beams_of_a_request_share_its_memory(network):
    memory = remembered(network, 6, 11)
    beams = torch.cat([TOKENS[:1], TOKENS[1:], TOKENS[1:], TOKENS[:1]])
    found, _ = stepped(network, beams, memory, beams=2)
    for row, (tokens, length) in enumerate(((0, 6), (1, 6), (1, 11), (0, 11))):
        alone, _ = stepped(network, TOKENS[tokens : tokens + 1], remembered(network, length))
        torch.testing.assert_close(found[row], alone[0], atol=1e-5, rtol=0)


@torch.no_grad()
def test_a_reordered_state_goes_on_as_the_row_it_copies(network):
    memory = remembered(network, 6)
    beams = torch.tensor([[END, 5, 9], [END, 7, 1], [END, 2, 2]])
    _, state = stepped(network, beams, memory, beams=3)
    swapped = state.reorder(torch.tensor([2, 2, 0]))
    found, _ = network.step(torch.tensor([8, 9, 8]), memory, swapped)
    for row, (history, token) in enumerate(((2, 8), (2, 9), (0, 8))):
        sequence = torch.cat([beams[history], torch.tensor([token])])[None]
        expected = network(sequence, memory).log_softmax(dim=-1)[0, -1]
        torch.testing.assert_close(found[row], expected, atol=1e-5, rtol=0)


@torch.no_grad()
def test_later_tokens_change_nothing_before_them(network):
    memory = remembered(network, 6, 11)
    changed = TOKENS.clone()
    changed[:, 3:] = 17
    torch.testing.assert_close(network(TOKENS, memory)[:, :3], network(changed, memory)[:, :3])


def test_the_loss_reaches_the_marginals_and_every_parameter():
    network = Decoder(DECODER_SHAPE).train()
    probs = torch.full((1, 5, NUM_CLASSES), 1 / NUM_CLASSES, requires_grad=True)
    mixture = network.ingestor.mix_dense(probs, torch.full((1, 5), 0.1))
    memory = network.remember(mixture, torch.tensor([5]))
    network(TOKENS[:1], memory).log_softmax(dim=-1)[..., 3].sum().backward()
    assert probs.grad is not None
    assert probs.grad.abs().max() > 0
    assert not [name for name, p in network.named_parameters() if p.grad is None]
