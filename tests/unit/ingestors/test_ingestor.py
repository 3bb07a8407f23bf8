from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from legonn_core.decoders.decoder import Decoder
from legonn_core.ingestors.ingestor import Adapter
from tests.support.tiny import DECODER_SHAPE, NUM_CLASSES, decoder, lively


def probs(count: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(count)
    return (3 * torch.randn(1, count, NUM_CLASSES, generator=generator)).softmax(dim=-1)


@torch.no_grad()
def memory_keys(network: Decoder, rows: torch.Tensor) -> torch.Tensor:
    mixed = network.ingestor.mix_dense(rows, torch.zeros(rows.shape[:2]))
    return network.remember(mixed, torch.tensor([rows.shape[1]])).layers[0].keys


def test_fresh_adapters_change_nothing_and_leave_the_rest_in_place():
    plain = decoder()
    adapted = Decoder(replace(DECODER_SHAPE, adapter_width=4)).eval()
    missing = adapted.load_state_dict(plain.state_dict(), strict=False)
    assert not missing.unexpected_keys
    assert all(key.startswith("ingestor.adapters.") for key in missing.missing_keys)
    torch.testing.assert_close(memory_keys(adapted, probs(6)), memory_keys(plain, probs(6)))


def test_an_adapter_learns_from_its_first_step():
    adapter = Adapter(8, 2)
    adapter(torch.randn(3, 8)).square().sum().backward()
    assert adapter.widen.weight.grad is not None
    assert adapter.widen.weight.grad.abs().max() > 0


@pytest.mark.parametrize("field", [1, 3, 5])
def test_the_receptive_field_is_what_the_shape_says(field):
    shape = replace(DECODER_SHAPE, receptive_field=field, ingestor_layers=0)
    ingestor = lively(Decoder(shape)).ingestor
    rows = probs(9)
    changed = rows.clone()
    changed[0, 4] = changed[0, 4].roll(1)

    def read(values: torch.Tensor) -> torch.Tensor:
        with torch.no_grad():
            return ingestor(ingestor.mix_dense(values, torch.zeros(1, 9)), torch.tensor([9]))[0]

    differs = (read(rows) - read(changed)).abs().amax(dim=-1) > 1e-6
    assert differs.nonzero().flatten().tolist() == list(range(4 - field // 2, 5 + field // 2))


def test_an_unknown_ingestor_is_refused():
    with pytest.raises(ValueError, match="mystery"):
        Decoder(replace(DECODER_SHAPE, ingestor="mystery"))
