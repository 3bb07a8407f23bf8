from __future__ import annotations

from dataclasses import replace

from legonn import Final, Hypothesis
from legonn_loadtest.repeats import Repeats

FINALS = (
    Final(0, 0.0, 0.6, 0, 9600, (Hypothesis("and so", 0.9),), "speech-en/1", "decoder-en/1"),
    Final(1, 0.7, 1.0, 11200, 16000, (Hypothesis("on", 0.9),), "speech-en/1", "decoder-en/1"),
)


def newer(*finals: Final) -> tuple[Final, ...]:
    return tuple(replace(one, encoder="speech-en/2") for one in finals)


def test_equal_recordings_come_to_equal_finals():
    repeats = Repeats()
    for confidence in (0.9, 0.8):  # how sure it is may move with the batch; what it says may not
        first = replace(FINALS[0], alternatives=(Hypothesis("and so", confidence),))
        repeats.see("a", (first, FINALS[1]))
    repeats.see("b", FINALS[:1])
    assert repeats.broken() == []
    assert repeats.num_compared == 2


def test_another_text_or_boundary_is_told_without_the_text():
    for other in (
        replace(FINALS[1], alternatives=(Hypothesis("off", 0.9),)),
        replace(FINALS[1], start_sample=11_201),
        replace(FINALS[1], reason="STALL"),
    ):
        repeats = Repeats()
        repeats.see("a", FINALS)
        repeats.see("a", (FINALS[0], other))
        (sentence,) = repeats.broken()
        assert "2 different results of 2 streams" in sentence
        assert "and so" not in sentence


def test_versions_are_not_compared_with_one_another():
    repeats = Repeats()
    repeats.see("a", FINALS)
    repeats.see("a", (*newer(FINALS[0]), replace(newer(FINALS[1])[0], end_sample=15_000)))
    repeats.see("a", (FINALS[0], *newer(FINALS[1])))
    assert repeats.broken() == []
    assert (repeats.num_compared, repeats.num_mixed) == (0, 1)


def test_processes_are_added_up():
    one, other, whole = Repeats(), Repeats(), Repeats()
    one.see("a", FINALS)
    other.see("a", FINALS[:1])
    for part in (one, other):
        whole.add(part.as_json())
    assert len(whole.broken()) == 1
