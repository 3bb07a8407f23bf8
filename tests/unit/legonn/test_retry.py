"""Who is asked again, and after how long, under a clock and dice of our own."""

from __future__ import annotations

import pytest

from legonn import NO_RETRIES, RetryPolicy, errors
from legonn.retry import Retries


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_waits_are_drawn_under_a_bound_that_doubles():
    policy = RetryPolicy(attempts=10, base_s=0.1, cap_s=1.0)
    most = Retries(policy, clock=Clock(), dice=lambda: 1.0)
    waits = [most.delay_s(errors.Unavailable()) for _ in range(6)]
    assert waits == pytest.approx([0.1, 0.2, 0.4, 0.8, 1.0, 1.0])
    least = Retries(policy, clock=Clock(), dice=lambda: 0.0)
    assert least.delay_s(errors.Unavailable()) == 0.0


def test_a_call_is_given_up_after_its_attempts():
    retries = Retries(RetryPolicy(attempts=3), clock=Clock(), dice=lambda: 0.0)
    found = [retries.delay_s(errors.Unavailable()) for _ in range(3)]
    assert found == [0.0, 0.0, None]
    assert Retries(NO_RETRIES).delay_s(errors.Unavailable()) is None


def test_a_server_that_asks_for_time_gets_it():
    retries = Retries(RetryPolicy(), clock=Clock(), dice=lambda: 0.5)
    assert retries.delay_s(errors.AdmissionRefused(retry_after_s=2.0)) == pytest.approx(2.05)


@pytest.mark.parametrize(
    "error",
    [errors.BadAudio(), errors.NotFound(), errors.InternalFault(), errors.DeadlineMissed()],
    ids=lambda error: error.reason,
)
def test_what_will_not_change_is_not_asked_again(error):
    assert Retries(RetryPolicy()).delay_s(error) is None


def test_a_stream_that_reads_too_slowly_is_not_opened_again():
    retries = Retries(RetryPolicy(), dice=lambda: 0.0)
    assert retries.delay_s(errors.QueueFull(), was_accepted=True) is None
    assert retries.delay_s(errors.QueueFull()) == 0.0


def test_an_open_session_looks_for_a_server_for_its_time_and_starts_afresh_when_it_has_one():
    clock = Clock()
    policy = RetryPolicy(attempts=1, resume_for_s=10.0, base_s=0.0)
    retries = Retries(policy, clock=clock, dice=lambda: 0.0)
    retries.accepted()
    for now in (0.0, 5.0, 10.0):
        clock.now = now
        assert retries.delay_s(errors.Unavailable()) == 0.0
    clock.now = 10.1
    assert retries.delay_s(errors.Unavailable()) is None
    retries.accepted()
    assert retries.delay_s(errors.Unavailable(), was_accepted=True) is None
    retries.progressed()
    assert retries.delay_s(errors.Unavailable(), was_accepted=True) == 0.0


def test_a_stream_that_went_well_for_a_while_begins_a_new_trouble():
    clock = Clock()
    policy = RetryPolicy(resume_for_s=10.0, base_s=0.0)
    retries = Retries(policy, clock=clock, dice=lambda: 0.0)
    retries.accepted()
    assert retries.delay_s(errors.Unavailable()) == 0.0
    clock.now = 9.0
    retries.accepted()
    clock.now = 11.0
    assert retries.delay_s(errors.Unavailable(), was_accepted=True) is None
    retries.accepted()
    clock.now = 16.0
    assert retries.delay_s(errors.Unavailable(), was_accepted=True) == 0.0


def test_nonsense_is_refused():
    with pytest.raises(ValueError, match="attempts"):
        RetryPolicy(attempts=0)
