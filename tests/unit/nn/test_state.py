from __future__ import annotations

import pytest
import torch

from legonn_core.nn.state import EncoderState


def state(rows: int, start: int = 0) -> EncoderState:
    numbers = torch.arange(start, start + rows)
    return EncoderState(
        {"count": numbers, "memory": numbers[:, None].float() * torch.ones(rows, 3)}
    )


def test_it_says_what_it_is():
    assert state(4).num_rows == 4
    assert state(4).size_bytes == 4 * 8 + 4 * 3 * 4
    assert state(4).layout() == [("count", "int64", ()), ("memory", "float32", (3,))]


def test_rows_are_copies_in_the_order_asked():
    whole = state(5)
    some = whole.rows(torch.tensor([3, 0]))
    assert some["count"].tolist() == [3, 0]
    some["memory"].fill_(-1)
    assert whole["memory"][3].tolist() == [3, 3, 3]


def test_writing_touches_the_named_rows_only():
    whole = state(5)
    whole.write(torch.tensor([4, 1]), state(2, start=70))
    assert whole["count"].tolist() == [0, 71, 2, 3, 70]
    assert whole["memory"][:, 0].tolist() == [0, 71, 2, 3, 70]


def test_reset_zeroes_every_tensor_of_a_row():
    whole = state(3, start=5)
    whole.reset(torch.tensor([1]))
    assert whole["count"].tolist() == [5, 0, 7]
    assert whole["memory"][1].tolist() == [0, 0, 0]


def test_stacking_joins_rows():
    assert EncoderState.stack([state(2), state(1, start=9)])["count"].tolist() == [0, 1, 9]


def test_names_cannot_be_added():
    with pytest.raises(TypeError):
        state(1).tensors["more"] = torch.zeros(1)  # type: ignore[index]  # on purpose
