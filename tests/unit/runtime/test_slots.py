from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from legonn_core.errors import AdmissionRefused, ProtocolViolation, Retry, StateLost
from legonn_core.runtime.slots import SlotTable


def test_slots_are_given_out_until_there_are_none():
    table = SlotTable(2)
    assert {table.open()[0], table.open()[0]} == {0, 1}
    assert table.num_open == 2
    with pytest.raises(AdmissionRefused, match="all 2 encoder slots") as caught:
        table.open()
    assert caught.value.retry is Retry.LATER


def test_a_used_slot_comes_back_under_a_new_name():
    table = SlotTable(1)
    slot, epoch = table.open()
    assert table.close(slot, epoch)
    assert table.open() == (slot, epoch + 1)


def test_steps_come_in_order():
    table = SlotTable(1)
    slot, epoch = table.open()
    table.advance(slot, epoch, 0)
    for seq in (0, 2, -1):
        with pytest.raises(ProtocolViolation, match=f"step {seq} came where 1 was due"):
            table.advance(slot, epoch, seq)
    table.advance(slot, epoch, 1)


@pytest.mark.parametrize(("slot", "epoch"), [(0, 1), (0, 3), (1, 1), (5, 2), (-1, 2)])
def test_a_stale_name_touches_nothing(slot, epoch):
    table = SlotTable(2)
    table.close(*table.open())
    held = table.open()
    assert held == (0, 2)
    assert not table.holds(slot, epoch)
    assert not table.close(slot, epoch)
    with pytest.raises(StateLost):
        table.advance(slot, epoch, 0)
    assert table.holds(*held)
    assert table.num_open == 1


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 9)), max_size=60))
def test_no_name_is_given_out_twice(actions: list[tuple[bool, int]]) -> None:
    table, held, seen = SlotTable(3), [], set()
    for opens, which in actions:
        if opens and len(held) < 3:
            name = table.open()
            assert name not in seen
            seen.add(name)
            held.append(name)
        elif held:
            assert table.close(*held.pop(which % len(held)))
        assert table.num_open == len(held)
        assert all(table.holds(*name) == (name in held) for name in seen)
