from __future__ import annotations

import io

import pytest

from legonn.captions import DIM, PLAIN, Frame, Terminal, frame, show
from legonn.streams import Final, Hypothesis, Notice, Partial, Started


def partial(stable, tail):
    return Partial(segment_index=0, revision=1, stable_text=stable, tail_text=tail, end_s=1.0)


def final(text):
    return Final(0, 0.0, 1.0, 0, 16000, (Hypothesis(text, 1.0),))


def plain(line):
    return line.replace(DIM, "").replace(PLAIN, "")


def test_committed_is_solid_and_the_tail_is_dim():
    assert frame(partial("and so", " my")) == Frame(open=(f"and so{DIM} my{PLAIN}",))
    assert frame(partial("", "and")) == Frame(open=(f"{DIM}and{PLAIN}",))
    assert frame(partial("and so", "")) == Frame(open=("and so",))


def test_a_final_is_written_for_good():
    assert frame(final("and so")) == Frame(committed=("and so",))
    assert frame(final("")) == Frame()


def test_other_events_change_nothing_but_a_notice_is_said():
    assert frame(Started("s", "r")) is None
    shown = frame(Notice("REPLAYING", "heard again"))
    assert shown is not None and plain(shown.committed[0]) == "[heard again]"


@pytest.mark.parametrize("columns", [10, 14, 30])
def test_wrapping_loses_nothing_and_stays_inside(columns):
    text = "ask not what your country can do for you"
    for split in range(len(text)):
        shown = frame(partial(text[:split], text[split:]), columns=columns)
        lines = [plain(line) for line in shown.open]
        assert "".join(lines) == text
        assert all(len(line.rstrip()) < columns for line in lines)
        solid = "".join(line.split(DIM)[0] for line in shown.open)
        assert solid == text[:split]


def test_a_long_word_and_wide_characters_are_broken():
    assert all(len(line) < 10 for line in frame(final("x" * 25), columns=10).committed)
    assert all(len(line) <= 4 for line in frame(final("字" * 10), columns=10).committed)


def test_a_segment_higher_than_the_screen_shows_its_end():
    shown = frame(partial("one two three four five", ""), columns=7, rows=3)
    assert len(shown.open) == 2 and shown.open[-1] == "five"


def test_text_cannot_drive_the_terminal():
    assert "\x1b" not in frame(final("a\x1b[2Jb\nc")).committed[0]


def test_the_open_segment_is_drawn_over(monkeypatch):
    monkeypatch.setenv("COLUMNS", "10")
    monkeypatch.setenv("LINES", "24")
    out = io.StringIO()
    terminal = Terminal(out, is_live=True)
    terminal.show(partial("one two three", ""))
    assert out.getvalue() == "\r\x1b[Jone two \nthree"
    terminal.show(final("one two three"))
    assert out.getvalue().endswith("three\r\x1b[1A\x1b[Jone two\nthree\n")
    terminal.close()
    assert out.getvalue().endswith("three\n"), "nothing open, nothing to leave"


def test_leaving_in_the_middle_ends_the_line(monkeypatch):
    out = io.StringIO()

    def events():
        yield partial("one", " two")
        raise KeyboardInterrupt

    monkeypatch.setattr("legonn.captions.can_draw", lambda _: True)
    with pytest.raises(KeyboardInterrupt):
        show(events(), out)
    assert out.getvalue().endswith(f"{PLAIN}\n")


def test_without_a_terminal_only_finals_are_written():
    out = io.StringIO()
    finals = show([Started("s", "r"), partial("a", "b"), final("a b"), final("")], out)
    assert out.getvalue() == "a b\n"
    assert len(finals) == 2
