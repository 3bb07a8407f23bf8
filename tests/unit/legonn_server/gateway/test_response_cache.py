"""What was asked before is answered from memory, within bounds."""

from __future__ import annotations

import pytest

from legonn_server.gateway.response_cache import CacheLimits, ResponseCache


def test_the_longest_unused_goes_first():
    cache: ResponseCache[str] = ResponseCache(CacheLimits(max_entries=2))
    cache.put("a", "A", size=1)
    cache.put("b", "B", size=1)
    assert cache.get("a") == "A"
    cache.put("c", "C", size=1)
    assert (cache.get("a"), cache.get("b"), cache.get("c")) == ("A", None, "C")


def test_characters_are_bounded_too():
    cache: ResponseCache[str] = ResponseCache(CacheLimits(max_characters=10))
    cache.put("a", "A", size=6)
    cache.put("a", "AA", size=5)
    cache.put("b", "B", size=5)
    assert (len(cache), cache.get("a")) == (2, "AA")
    cache.put("c", "C", size=6)
    assert (len(cache), cache.get("c")) == (1, "C")
    cache.put("d", "D", size=11)
    assert cache.get("d") is None and len(cache) == 1


def test_no_entries_is_no_cache_and_nonsense_is_refused():
    cache: ResponseCache[str] = ResponseCache(CacheLimits(max_entries=0))
    cache.put("a", "A", size=1)
    assert cache.get("a") is None
    with pytest.raises(ValueError, match="negative"):
        CacheLimits(max_entries=-1)
