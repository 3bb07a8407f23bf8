"""A position of a stream has the time of the message that completed it."""

from __future__ import annotations

from legonn_server.gateway.arrivals import Arrivals


def test_a_position_came_with_the_message_that_reaches_it():
    arrivals = Arrivals()
    for now in (1.0, 2.0, 3.0):
        arrivals.add(100, now)
    assert arrivals.completed(100) == 1.0
    assert arrivals.completed(101) == 2.0
    assert arrivals.completed(300) == 3.0
    assert arrivals.completed(301) is None


def test_what_nobody_asks_for_is_forgotten():
    arrivals = Arrivals(max_kept=2)
    for now in range(5):
        arrivals.add(10, float(now))
    assert arrivals.completed(10) == 3.0
