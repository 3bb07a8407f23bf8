from __future__ import annotations

import numpy as np
import pytest
import torch

from legonn_core.decoders.bank import TokenBank
from legonn_core.decoders.decoder import Decoder, Memory
from legonn_core.decoders.prepared import Int8Product, Precision, PreparedDecoder, product
from tests.support.tiny import NUM_CLASSES, decoder


@pytest.fixture(scope="module")
def network() -> Decoder:
    return decoder(seed=3)


def memory_of(network: Decoder, rows: int, seed: int) -> Memory:
    generator = torch.Generator().manual_seed(seed)
    mixture = torch.randn(1, rows, network.shape.width, generator=generator)
    return network.remember(mixture, torch.tensor([rows]))


class Alone:
    """One request through ``Decoder.step``, its cache copied and reordered."""

    def __init__(self, network: Decoder, memory: Memory, beams: int, past: tuple[int, ...]) -> None:
        self.network, self.memory = network, memory
        self.state = network.start(1, beams)
        for token in past:
            self.step(torch.full((beams,), token), torch.arange(beams))

    def step(self, tokens: torch.Tensor, parents: torch.Tensor) -> torch.Tensor:
        state = self.state.reorder(parents)
        log_probs, self.state = self.network.step(tokens, self.memory, state)
        return log_probs


@torch.no_grad()
@pytest.mark.parametrize("beams", [1, 3])
def test_steps_equal_the_plain_decoder_whoever_joins_and_leaves(network, beams):
    bank = TokenBank(PreparedDecoder(network), beams)
    generator = torch.Generator().manual_seed(beams)
    requests: list[Alone] = []
    fresh: list[bool] = []
    widest = 0
    for turn in range(150):
        if turn % 4 == 0 and len(requests) < 5:
            memory = memory_of(network, 1 + turn % 17, turn)
            past = tuple(range(1, 1 + turn % 3 * 4))
            read = network.read(torch.tensor([past]), memory, 1)[1] if past else None
            bank.join(memory, [1 + turn % 17], read)
            requests.append(Alone(network, memory, beams, past))
            fresh.append(True)
        if turn % 9 == 8:
            gone = [0] if turn % 2 else [len(requests) - 1, 0]
            order = bank.leave(sorted(set(gone)))
            requests = [requests[i] for i in order]
            fresh = [fresh[i] for i in order]
        count = len(requests)
        assert bank.num_requests == count
        widest = max(widest, count)
        if not count:
            continue
        tokens = torch.randint(1, NUM_CLASSES, (count, beams), generator=generator)
        parents = torch.randint(0, beams, (count, beams), generator=generator)
        for row, is_fresh in enumerate(fresh):
            if is_fresh:
                parents[row] = torch.arange(beams)
        found = torch.from_numpy(bank.step(tokens.numpy(), parents.numpy()))
        for row, request in enumerate(requests):
            expected = request.step(tokens[row], parents[row])
            assert torch.allclose(found[row], expected, atol=2e-5), (turn, row)
        fresh = [False] * count
    assert widest > 2
    assert bank.num_columns >= 64


@torch.no_grad()
def test_a_bank_grows_with_long_texts_and_starts_anew_when_empty(network):
    bank, memory = TokenBank(PreparedDecoder(network), 2), memory_of(network, 7, 1)
    alone = Alone(network, memory, 2, ())
    bank.join(memory, [7], None)
    for step in range(90):
        tokens, parents = torch.tensor([3 + step % 5, 4 + step % 7]), torch.tensor([step % 2, 0])
        parents = parents if step else torch.arange(2)
        found = torch.from_numpy(bank.step(tokens[None].numpy(), parents[None].numpy())[0])
        assert torch.allclose(found, alone.step(tokens, parents), atol=2e-5), step
    assert bank.num_columns > 90
    assert bank.leave([0]) == []
    bank.join(memory, [7], None)
    first = Alone(network, memory, 2, ()).step(torch.tensor([1, 1]), torch.arange(2))
    anew = bank.step(np.array([[1, 1]]), np.array([[0, 1]]))[0]
    assert torch.allclose(torch.from_numpy(anew), first, atol=2e-5)


def test_eight_bits_are_near_and_only_for_matrices_that_gain():
    generator = torch.Generator().manual_seed(0)
    weight, bias = torch.randn(640, 256, generator=generator), torch.randn(640, generator=generator)
    x = torch.randn(9, 256, generator=generator)
    exact = x @ weight.t() + bias
    large = product(Precision.INT8, weight, bias)
    assert isinstance(large, Int8Product)
    error = (large(x) - exact).abs().max() / exact.abs().max()
    assert 0 < float(error) < 0.02
    small = product(Precision.INT8, weight[:64], bias[:64])
    assert torch.allclose(small(x), exact[:, :64], atol=1e-4)
