"""Caption cues: inside every limit for any transcript, broken where a reader expects it."""

from __future__ import annotations

import csv
from html import unescape
from itertools import pairwise
from pathlib import Path

import pytest
import webvtt
from hypothesis import given, settings
from hypothesis import strategies as st

from legonn.captions_breaks import BAD, FREE, break_cost
from legonn.captions_shape import CaptionRules, Cue, shape
from legonn.captions_write import kind_of, plain, render, subrip
from legonn.captions_write import webvtt as webvtt_file
from legonn.streams import Final, Hypothesis, Word

SPEECH = Path(__file__).parents[4] / "shared/data/speech"
SAMPLE = Path(__file__).parents[2] / "data/transcripts.tsv"


def final(index: int, start: float, stop: float, text: str, words: tuple[Word, ...] = ()) -> Final:
    return Final(index, start, stop, 0, 0, (Hypothesis(text, 1.0, words),))


def spoken(text: str, *, start: float = 0.0, words_per_s: float = 2.5) -> Final:
    """A final whose words follow one another evenly."""
    texts = text.split()
    words = tuple(
        Word(word, start + index / words_per_s, start + (index + 0.9) / words_per_s)
        for index, word in enumerate(texts)
    )
    return final(0, start, start + len(texts) / words_per_s, text, words)


def assert_limits(cues: list[Cue], rules: CaptionRules, words: list[str]) -> None:
    assert " ".join(cue.text for cue in cues).split() == words
    for cue in cues:
        length = cue.end_s - cue.start_s
        assert 1 <= len(cue.lines) <= rules.max_lines
        for line in cue.lines:
            assert line.strip() == line != ""
            assert len(line) <= rules.max_chars or " " not in line
        assert rules.min_s - 1e-6 <= length <= rules.max_s + 1e-6
        shown = min(len(cue.text), rules.max_cue_chars)
        assert shown / length <= rules.max_cps + 1e-6
        assert cue.start_s >= 0
        assert cue.lag_s >= 0
    assert all(one.end_s <= other.start_s + 1e-9 for one, other in pairwise(cues))


def transcripts() -> list[Final]:
    """Every transcript at hand, one behind the other as one long recording."""
    files = sorted(SPEECH.glob("*/*.tsv")) or [SAMPLE]
    finals, place = [], 0.0
    for path in files:
        with path.open(encoding="utf-8") as file:
            for row in csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE):
                length = float(row["duration_s"])
                text = row.get("pc") or row["transcript"]
                finals.append(final(len(finals), place, place + length, text))
                place += length + 0.2
    return finals[::5] if len(finals) > 1000 else finals


def test_real_transcripts_stay_inside_the_limits():
    finals = transcripts()
    assert len(finals) >= 40
    words = [word for one in finals for word in one.text.split()]
    for rules in (CaptionRules(), CaptionRules(max_chars=32, max_lines=3, max_cps=15.0)):
        cues = shape(finals, rules)
        assert_limits(cues, rules, words)
    cues = shape(finals)
    assert max(cue.lag_s for cue in cues) < 5.0
    parsed = webvtt.from_string(webvtt_file(cues))
    assert len(parsed) == len(cues)
    assert unescape(" ".join(one.text for one in parsed)).split() == words


@settings(max_examples=40, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.text("abcdefgh.,&<'7", min_size=1, max_size=16),
            st.floats(0.01, 4.0),
            st.floats(0.0, 5.0),
        ),
        max_size=60,
    ),
    st.integers(16, 60),
    st.integers(1, 3),
    st.floats(0.2, 2.0),
    st.floats(3.0, 9.0),
    st.floats(20.0, 40.0),
)
def test_any_words_stay_inside_any_limits(
    spec: list[tuple[str, float, float]],
    max_chars: int,
    max_lines: int,
    min_s: float,
    max_s: float,
    max_cps: float,
):
    rules = CaptionRules(max_chars, max_lines, min_s, max_s, max_cps)
    words, place = [], 0.0
    for text, length, pause in spec:
        place += pause
        words.append(Word(text, place, place + length))
        place += length
    text = " ".join(word.text for word in words)
    cues = shape([final(0, 0.0, place, text, tuple(words))], rules)
    assert_limits(cues, rules, [word.text for word in words])
    for kind in ("vtt", "srt"):
        parse = webvtt.from_string if kind == "vtt" else _from_srt
        found = parse(render([final(0, 0.0, place, text, tuple(words))], kind, rules=rules))
        assert len(found) == len(cues)
        for caption in found:
            assert caption.start < caption.end


def _from_srt(content: str) -> webvtt.WebVTT:
    return webvtt.from_string(
        "WEBVTT\n\n"
        + "\n".join(
            line.replace(",", ".") if "-->" in line else line for line in content.splitlines()
        )
    )


def test_breaks_are_where_a_reader_expects_them():
    text = (
        "In the year 1962 President Kennedy spoke of 7 million dollars, and the people of New York "
        "were glad to hear it. Nobody asked why."
    )
    cues = shape([spoken(text)])
    lines = [line for cue in cues for line in cue.lines]
    ends = [line.split()[-1] for line in lines]
    assert not {"the", "of", "and", "to", "7", "New", "President"} & set(ends)
    assert any(line.endswith("hear it.") for line in lines)


@pytest.mark.parametrize(
    ("before", "after"),
    [("7", "million"), ("twenty", "five"), ("New", "York"), ("Mr.", "Smith"), ("$5", "billion")],
)
def test_numbers_and_names_stay_together(before: str, after: str):
    assert break_cost(before, after, has_pause=True) == BAD


def test_a_sentence_end_is_free_and_a_long_pause_always_breaks():
    assert break_cost("done.", "And", has_pause=False) == FREE
    cues = shape([spoken("one two"), spoken("three four", start=5.0)])
    assert [cue.text for cue in cues] == ["one two", "three four"]


def test_markup_in_the_text_is_shown_and_not_read():
    cues = shape([spoken("a <b> & c --> d\u2028e")])
    content = webvtt_file(cues, language="en")
    assert "&lt;b&gt; &amp; c --&gt; d" in content
    assert [unescape(one.text) for one in webvtt.from_string(content)] == ["a <b> & c --> d e"]
    assert subrip(cues).count("-->") == len(cues)
    assert plain([spoken("x y")]) == "x y\n"


def test_nonsense_is_refused():
    for rules in ({"max_chars": 3}, {"min_s": 2.0, "max_s": 1.0}, {"max_cps": 1.0}):
        with pytest.raises(ValueError, match=r"line|time"):
            CaptionRules(**rules)
    with pytest.raises(ValueError, match="docx"):
        render([], "docx")
    with pytest.raises(ValueError, match=r"\.vtt"):
        kind_of("talk.mp4")


def test_nothing_makes_an_empty_file():
    assert webvtt_file([]) == "WEBVTT\n"
    assert subrip([]) == ""
