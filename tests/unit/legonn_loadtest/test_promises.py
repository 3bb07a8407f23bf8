from __future__ import annotations

from dataclasses import replace

import pytest

from legonn import Final, Hypothesis, Notice, Partial, Started, Summary, Word
from legonn_loadtest.promises import PromiseCheck

WORDS = (Word("and", 0.1, 0.2), Word("so", 0.2, 0.5))
GOOD = (
    Started("s", "r"),
    Partial(0, 1, "", "and", 0.3),
    Partial(0, 3, "and", " so", 0.6),
    Final(0, 0.0, 0.6, 0, 9600, (Hypothesis("and so", 0.9, WORDS),)),
    Notice("SWAPPED", "…"),
    Partial(1, 1, "on", "", 0.9),
    Final(1, 0.7, 1.0, 11200, 16000, (Hypothesis("on", 0.9),)),
    Summary(16000, 14400, 1600, 2, 0),
)


def broken(events, num_samples=16000, flush=0):
    check = PromiseCheck()
    check.flushed(flush)
    for sequence, event in enumerate(events):
        check.see(replace(event, sequence=sequence) if event.sequence < 0 else event)
    return check.end(num_samples)


def changed(index, **fields):
    events = list(GOOD)
    events[index] = replace(events[index], **fields)
    return events


def test_a_good_stream_breaks_nothing():
    assert broken(GOOD) == ()


late = (Hypothesis("and so", 0.9, (Word("and", 0.4, 0.5), Word("so", 0.2, 0.5))),)


@pytest.mark.parametrize(
    ("events", "promise"),
    [
        (changed(4, sequence=9), "sequence has a gap"),
        (GOOD[1:], "started is not the first"),
        ((*GOOD, GOOD[-1]), "after the summary"),
        (GOOD[:-1], "no summary"),
        (changed(2, stable_text="or"), "does not begin with stable text"),
        ([*GOOD[:3], Partial(0, 4, "an", "", 0.6), *GOOD[3:]], "stable text changed"),
        (changed(2, revision=1), "revisions do not grow"),
        (changed(5, segment_index=0), "not the open segment"),
        (changed(6, segment_index=2), "finals out of order"),
        (changed(6, start_sample=9599), "segments overlap"),
        (changed(3, alternatives=late), "word times"),
        (changed(3, end_s=0.4), "word times"),
        (changed(7, samples_received=15999), "samples were lost"),
        (changed(7, samples_non_speech=0), "not accounted for"),
        (changed(7, num_segments=3), "miscounts"),
        (changed(7, samples_in_finals=14399, samples_non_speech=1601), "not what it sums"),
    ],
)
def test_a_broken_promise_is_named(events, promise):
    found = broken(events)
    assert any(promise in one for one in found), found
    assert not any("and so" in one for one in found)


@pytest.mark.parametrize(
    ("flush", "promise"),
    [(9600, ""), (16000, ""), (5000, "goes past a flush"), (10_000, "not answered")],
)
def test_a_flush_is_answered_where_it_was(flush, promise):
    found = broken(GOOD, flush=flush)
    assert (found != ()) == bool(promise)
    assert all(promise in one or "not answered" in one for one in found)
