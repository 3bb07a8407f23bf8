from __future__ import annotations

import pytest

from legonn_core.scoring.latency import (
    erased_words,
    lagging,
    mean_lagging,
    normalized_erasure,
)


def test_reading_all_before_writing_lags_by_the_source():
    assert lagging([6, 6, 6], source_length=6, reference_words=3) == 6.0


def test_one_word_in_one_word_out_lags_by_one():
    assert lagging([1, 2, 3, 4], source_length=4, reference_words=4) == 1.0


def test_saying_too_much_is_not_rewarded():
    honest = lagging([2, 3, 4, 4], source_length=4, reference_words=4)
    talkative = lagging([2, 2, 3, 3, 4, 4, 4, 4], source_length=4, reference_words=4)
    assert honest == 2.0
    # Paced by the reference alone (AL), the talkative one would seem to lag by 0.8.
    assert talkative == pytest.approx((2 + 1.5 + 2 + 1.5 + 2) / 5)
    short = lagging([2, 4], source_length=4, reference_words=4)
    assert short == pytest.approx((2 + (4 - 1)) / 2)  # paced by the reference, not by itself


def test_what_follows_the_source_is_counted_once():
    assert lagging([4, 4, 4, 4], source_length=4, reference_words=4) == 4.0


def test_nonsense_is_refused():
    with pytest.raises(ValueError, match="must not decrease"):
        lagging([3, 2], source_length=4, reference_words=2)
    with pytest.raises(ValueError, match="a source"):
        lagging([], source_length=0, reference_words=2)


def test_erasure_counts_what_is_taken_back():
    assert erased_words([["a"], ["a", "b"], ["a", "c", "d"], ["x"]]) == 1 + 3
    assert erased_words([["a"], ["a", "b"]]) == 0
    assert erased_words([]) == 0


def test_means_have_intervals():
    lag = mean_lagging([1.0, 2.0, 3.0], unit="s")
    assert lag.value == pytest.approx(2.0)
    assert lag.low <= lag.value <= lag.high
    erasure = normalized_erasure([0, 2], [4, 4])
    assert erasure.value == pytest.approx(0.25)
    with pytest.raises(ValueError, match="nothing"):
        normalized_erasure([0], [0])
