"""When a segment ends, row by row."""

from __future__ import annotations

from dataclasses import replace

import pytest

from legonn_server.session.endpoint import EndpointRule, EndReason, Reading, find_end

RULE = EndpointRule()


def reading(num_rows: int, **fields: object) -> Reading:
    plain = Reading(
        has_text=True,
        fed_ms=num_rows * 80,
        trailing_blank_ms=0,
        times_ms=[row * 80 + 40 for row in range(num_rows)],
        blank_probs=[0.5] * num_rows,
        row_ms=80.0,
        first_cut=0,
    )
    return replace(plain, **fields)


def test_speech_goes_on():
    assert find_end(RULE, reading(50)) is None


def test_silence_after_speech_ends_the_segment():
    cut = find_end(RULE, reading(50, trailing_blank_ms=700))
    assert cut is not None
    assert (cut.reason, cut.end_ms, cut.num_rows) == (EndReason.ENDPOINT, 3_700, 46)


def test_silence_before_speech_does_not():
    assert find_end(RULE, reading(50, trailing_blank_ms=4_000, has_text=False)) is None


def test_long_silence_is_dropped():
    cut = find_end(RULE, reading(63, has_text=False))
    assert cut is not None
    assert (cut.reason, cut.end_ms) == (EndReason.NON_SPEECH, 63 * 80 - 300)


def test_an_encoder_without_rows_is_not_waited_for():
    assert find_end(RULE, reading(0, fed_ms=4_999)) is None
    cut = find_end(RULE, reading(0, fed_ms=5_000))
    assert cut is not None
    assert cut.end_ms == 5_000


def test_a_long_segment_is_cut_where_it_is_quietest():
    blank = [0.9] * 100 + [0.5] * 150
    blank[230] = 0.8
    cut = find_end(RULE, reading(250, blank_probs=blank))
    assert cut is not None
    assert (cut.reason, cut.num_rows, cut.end_ms) == (EndReason.MAX_SEGMENT, 231, 231 * 80)


def test_no_cut_before_promised_text():
    blank = [0.5] * 250
    blank[230] = 0.8
    cut = find_end(RULE, reading(250, blank_probs=blank, first_cut=240))
    assert cut is not None
    assert cut.num_rows == 250  # the last of equals
    cut = find_end(RULE, reading(250, blank_probs=blank, first_cut=250))
    assert cut is not None
    assert cut.num_rows == 250


@pytest.mark.parametrize(
    "fields",
    [
        {"end_silence_ms": 0},
        {"max_segment_ms": -1},
        {"cut_window_ms": 30_000},
        {"pre_roll_ms": 5_000},
    ],
)
def test_nonsense_is_refused(fields: dict[str, int]):
    with pytest.raises(ValueError, match=next(iter(fields))):
        EndpointRule(**fields)
