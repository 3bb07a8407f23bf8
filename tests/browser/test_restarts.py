"""A gateway that dies twice while people speak: page and Python client lose and double no word."""

from __future__ import annotations

import pytest

from tests.browser.restarts import one_round

pytestmark = [pytest.mark.browser, pytest.mark.timeout(900)]


def test_no_word_is_lost_or_doubled_however_often_the_gateway_dies():
    found = one_round(seed=1, num_kills=2)
    assert len(found["expected"].split()) > 20
    assert found["kills"] and all(kill["committed_words"] for kill in found["kills"])
    assert found["page"]["state"] == "ended"
    assert found["page"]["same"], found["page"]
    assert found["page"]["changed_committed_text"] == 0
    assert found["client"]["error"] == ""
    assert found["client"]["recovered"] >= len(found["kills"])
    assert found["client"]["same"], found["client"]
