"""What a tenant may use, under a clock that the test turns."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from legonn_core.errors import TenantAudio, TenantCharacters, TenantStreams
from legonn_server.access.quota import TenantQuota, TokenBucket
from legonn_server.access.tenants import Tenants


def book(**quota: float) -> Tenants:
    return Tenants(lambda tenant: TenantQuota(**quota) if tenant == "acme" else TenantQuota())


def test_a_tenant_has_so_many_calls_open_and_others_do_not_care():
    tenants = book(max_streams=2)
    tenants.enter("acme", now=0.0)
    tenants.enter("acme", now=0.0)
    with pytest.raises(TenantStreams) as caught:
        tenants.enter("acme", now=0.0)
    assert caught.value.field == "max_streams"
    assert caught.value.retry_after_s
    for _ in range(100):
        tenants.enter("other", now=0.0)
    tenants.leave("acme")
    tenants.enter("acme", now=1.0)


def test_audio_above_the_rate_waits_and_the_wait_is_right():
    tenants = book(audio_seconds_per_minute=60.0)
    assert tenants.take_audio("acme", 10.0, now=0.0) == 0.0
    assert tenants.take_audio("acme", 5.0, now=0.0) == pytest.approx(5.0)
    with pytest.raises(TenantAudio) as caught:
        tenants.require_audio("acme", 1.0, now=0.0)
    assert caught.value.retry_after_s == pytest.approx(6.0)
    tenants.require_audio("acme", 1.0, now=6.01)


def test_a_cost_above_the_whole_bucket_passes_when_it_is_full():
    tenants = book(characters_per_minute=600)
    tenants.require_characters("acme", 20_000, now=0.0)
    tenants.take_characters("acme", 20_000, now=0.0)
    with pytest.raises(TenantCharacters) as caught:
        tenants.require_characters("acme", 1, now=60.0)
    assert caught.value.retry_after_s == pytest.approx(1_930.1)


@given(
    st.lists(st.tuples(st.floats(0, 5), st.floats(0, 30)), max_size=60),
    st.floats(1, 600),
)
def test_no_order_of_use_gives_more_than_rate_and_burst(uses, a_minute):
    """Whoever waits as told uses, over any time, at most the rate times the time and one burst."""
    bucket, now, used = TokenBucket.a_minute(a_minute, now=0.0), 0.0, 0.0
    for pause, cost in uses:
        now += pause
        now += bucket.wait_s(0.0, now)
        assert used <= a_minute / 60 * now + a_minute / 6 + 1e-6
        bucket = bucket.taken(cost, now)
        used += cost


def test_a_new_quota_counts_from_the_next_call():
    quotas = {"acme": TenantQuota(max_streams=1)}
    tenants = Tenants(lambda tenant: quotas[tenant])
    tenants.enter("acme", now=0.0)
    quotas["acme"] = TenantQuota(max_streams=2)
    tenants.enter("acme", now=1.0)
    with pytest.raises(TenantStreams):
        tenants.enter("acme", now=2.0)


def test_those_who_left_are_forgotten():
    tenants = Tenants(lambda _: TenantQuota())
    for number in range(1_000):
        tenants.enter(f"t{number}", now=float(number))
        tenants.leave(f"t{number}")
    assert len(tenants) < 200
