"""The text machine alone, fed by hand, and the rules for what is settled."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from legonn_core.errors import (
    BackendDown,
    BadText,
    InternalFault,
    PoisonSegment,
    ProtocolViolation,
)
from legonn_core.search.hypothesis import DecodedText, Word
from legonn_server.backends.fake import fake_modules
from legonn_server.routing.sentences import sentence_end
from legonn_server.session import events as e
from legonn_server.session import text_messages as t
from legonn_server.session.commands import EmitReplaying, EmitStarted, Fail
from legonn_server.session.endpoint import EndReason
from legonn_server.session.table import State
from legonn_server.session.text_machine import TextMachine
from legonn_server.session.text_policy import (
    FinalsOnly,
    LocalAgreement,
    TextLimits,
    View,
    WaitK,
)

DECODER, _, ENCODER, *_ = fake_modules()


def reading(text: str) -> t.TextReading:
    """One token and one row a word; a word's token is its letters as a number."""
    words = text.split()
    tokens = tuple(int.from_bytes(word.encode(), "big") for word in words)
    made = tuple(Word(word, 0, 0, 0.9, 1, row) for row, word in enumerate(words))
    return t.TextReading((DecodedText(tokens, text, 0.0, 0.9, made),), len(words), ENCODER, DECODER)


def opened(rule: object = None, *, append_only: bool = False, **limits: int) -> TextMachine:
    machine = TextMachine(TextLimits(**limits), sentence_end=sentence_end)
    started = machine.receive(t.TextOpened(rule=rule, append_only=append_only))
    assert started == [EmitStarted()]
    return machine


def said(machine: TextMachine, text: str, now: float = 0.0) -> list[t.TextCommand]:
    return machine.receive(t.TextReceived(text, now))


def answer(
    machine: TextMachine, ask: t.TextCommand, text: str, now: float = 0.0
) -> list[t.TextCommand]:
    assert isinstance(ask, t.ReadText)
    return machine.receive(t.TextRead(ask.ticket, reading(text), now))


def test_text_without_partials_waits_for_the_end_of_the_sentence():
    machine = opened()
    assert said(machine, "Guten Tag.") == []
    (ask,) = said(machine, " Wie geht's?")
    assert (ask.text, ask.is_final, ask.forced) == ("Guten Tag. ", True, ())
    assert ask.encoder is None
    (final,) = answer(machine, ask, "Good day.")
    assert (final.start_character, final.end_character) == (0, 11)
    assert (final.segment_index, final.reason) == (0, EndReason.ENDPOINT)
    assert (machine.num_processed, machine.backlog) == (11, 11)


def test_ended_segments_run_side_by_side_and_finals_keep_their_order():
    machine = opened(max_ahead=2)
    first, second = said(machine, "Aa. Bb. Cc. D")
    assert answer(machine, second, "b") == []
    *finals, third = answer(machine, first, "a")
    assert [one.reading.hypotheses[0].text for one in finals] == ["a", "b"]
    assert (third.text, third.is_final) == ("Cc. ", True)
    assert machine.receive(e.InputEnded()) != []
    assert machine.state is State.DRAINING


def test_the_end_waits_for_the_last_final():
    machine = opened()
    said(machine, "Rest")
    (ask,) = machine.receive(e.InputEnded())
    final, end = answer(machine, ask, "rest")
    assert final.reason is EndReason.HALF_CLOSE
    assert end == t.CloseText(4, 1, 0)
    assert machine.state is State.CLOSED
    assert answer(machine, ask, "late") == []


def test_nothing_said_ends_at_once_and_a_flush_is_always_answered():
    assert opened().receive(e.InputEnded()) == [t.CloseText(0, 0, 0)]
    machine = opened()
    (ask,) = machine.receive(e.Flushed())
    assert (ask.text, ask.is_final) == ("", True)
    said(machine, " \n ")
    assert len(machine.receive(e.Flushed())) == 1


def test_a_sentence_without_an_end_is_cut_at_white_space():
    machine = opened(max_characters=10)
    first, second = said(machine, "aaaa bbbb cccccccccccc")
    assert (first.text, second.text) == ("aaaa bbbb ", "cccccccccc")
    (final,) = answer(machine, first, "x")
    assert final.reason is EndReason.MAX_SEGMENT


def test_partials_read_whole_words_one_call_at_a_time():
    machine = opened(LocalAgreement())
    assert said(machine, "Ich") == []
    (ask,) = said(machine, " ha")
    assert (ask.text, ask.is_final) == ("Ich ", False)
    assert said(machine, "be ein ") == []
    partial, again = answer(machine, ask, "I")
    assert (partial.stable_text, partial.tail_text, partial.end_character) == ("", "I", 4)
    assert again.text == "Ich habe ein "
    assert (again.encoder, again.decoder) == (ENCODER, DECODER)
    (partial,) = answer(machine, again, "I have a.")
    assert (partial.stable_text, partial.tail_text, partial.revision) == ("I", " have a.", 2)
    (ask,) = said(machine, "Haus ")
    assert ask.forced == reading("I").hypotheses[0].tokens
    (partial,) = answer(machine, ask, "I have a house.")
    assert partial.stable_text == "I have"
    (final_ask,) = said(machine, "gekauft. Und")
    assert final_ask.is_final and final_ask.forced == reading("I have").hypotheses[0].tokens
    (final,) = answer(machine, final_ask, "I have bought a house.")
    assert final.reading.hypotheses[0].text == "I have bought a house."


def test_the_final_takes_the_place_of_a_partial_under_way():
    machine = opened(WaitK(1))
    (ask,) = said(machine, "Ich bin ")
    (final_ask,) = said(machine, "da. ") or machine.receive(e.Flushed())
    assert final_ask.ticket.segment == ask.ticket.segment
    assert final_ask.ticket != ask.ticket
    assert answer(machine, ask, "I am late") == []
    (final,) = answer(machine, final_ask, "I am here.")
    assert final.segment_index == 0


def test_partials_wait_for_earlier_finals():
    machine = opened(WaitK(1))
    (first,) = said(machine, "Eins. Zwei drei ")
    assert first.is_final
    final, ask = answer(machine, first, "One.")
    assert (final.segment_index, ask.text) == (0, "Zwei drei ")
    (partial,) = answer(machine, ask, "Two three")
    assert (partial.segment_index, partial.end_character) == (1, 16)


def test_append_only_shows_settled_text_alone():
    machine = opened(WaitK(1), append_only=True)
    (ask,) = said(machine, "Ich ")
    assert answer(machine, ask, "I am") == []
    (ask,) = said(machine, "bin hier ")
    (partial,) = answer(machine, ask, "I am here now")
    assert (partial.stable_text, partial.tail_text) == ("I am", "")


def test_age_settles_all_but_the_newest_word():
    machine = opened(LocalAgreement(2, max_delay_s=2.0))
    (ask,) = said(machine, "Ich bin ", now=10.0)
    assert machine.next_due is None
    answer(machine, ask, "I am", now=10.1)
    (ask,) = said(machine, "da ", now=11.0)
    (partial,) = answer(machine, ask, "I will be", now=11.1)
    assert partial.stable_text == "I"
    assert machine.next_due == 12.0
    (partial,) = machine.receive(t.Ticked(12.0))
    assert partial.stable_text == "I will"
    assert machine.next_due is None
    assert machine.receive(t.Ticked(99.0)) == []


def test_a_tick_settles_nothing_while_a_call_is_under_way():
    machine = opened(LocalAgreement(2, max_delay_s=1.0))
    assert machine.receive(t.Ticked(1.0)) == []
    (ask,) = said(machine, "Ich bin ", now=0.0)
    answer(machine, ask, "I am here", now=0.1)
    said(machine, "da ", now=0.2)
    assert machine.receive(t.Ticked(5.0)) == []


def test_a_refused_text_is_told_in_its_place():
    machine = opened(WaitK(1))
    (ask,) = said(machine, "Ich bin ")
    refused = BadText("too long")
    assert machine.receive(t.TextRefused(ask.ticket, refused)) == []
    (ask,) = machine.receive(e.Flushed())
    (final,) = machine.receive(t.TextRefused(ask.ticket, refused))
    assert (final.reading, final.error) == (None, refused)


def test_a_text_that_ends_two_engines_is_not_tried_a_third_time():
    machine = opened(WaitK(1), max_attempts=100)
    (ask,) = said(machine, "Ich bin ")
    assert not ask.is_suspect
    died = BackendDown("died", was_running=True)
    _, again = machine.receive(t.TextLost(ask.ticket, died))
    assert again.is_suspect, "so that it is read alone"
    _, again = machine.receive(t.TextLost(again.ticket, BackendDown("cut off")))
    assert again.is_suspect
    (failed,) = machine.receive(t.TextLost(again.ticket, died))
    assert isinstance(failed, Fail)
    assert isinstance(failed.error, PoisonSegment)


def test_lost_work_is_done_again_and_then_given_up():
    machine = opened(WaitK(1), max_attempts=3)
    (ask,) = said(machine, "Ich bin ")
    notice, again = machine.receive(t.TextLost(ask.ticket, BackendDown("gone")))
    assert notice == EmitReplaying(0)
    assert again.text == ask.text
    assert machine.receive(t.TextLost(ask.ticket, BackendDown("old"))) == []
    (ask,) = machine.receive(e.Flushed())
    notice, ask = machine.receive(t.TextLost(ask.ticket, BackendDown("gone")))
    (failed,) = machine.receive(t.TextLost(ask.ticket, BackendDown("gone")))
    assert isinstance(failed, Fail)
    assert machine.state is State.FAILED
    assert said(machine, "more") == []


def test_broken_promises_end_the_stream():
    machine = opened(WaitK(1))
    (ask,) = said(machine, "Ich bin ")
    empty = t.TextReading((), 0, ENCODER, DECODER)
    (failed,) = machine.receive(t.TextRead(ask.ticket, empty, 0.0))
    assert isinstance(failed.error, InternalFault)
    machine = opened(WaitK(1))
    (ask,) = said(machine, "Ich bin ")
    answer(machine, ask, "I am here")
    (ask,) = machine.receive(e.Flushed())
    (failed,) = answer(machine, ask, "You are here")
    assert isinstance(failed.error, InternalFault)
    machine = opened(WaitK(1))
    (ask,) = said(machine, "Ich bin ")
    answer(machine, ask, "I am here")
    (ask,) = said(machine, "da ")
    (failed,) = answer(machine, ask, "You are here")
    assert isinstance(failed.error, InternalFault)


def test_order_of_messages_is_held():
    machine = TextMachine(TextLimits(), sentence_end=sentence_end)
    for event in (t.TextReceived("x", 0.0), e.Flushed(), e.InputEnded()):
        with pytest.raises(ProtocolViolation):
            machine.receive(event)
    with pytest.raises(ProtocolViolation, match="twice"):
        opened().receive(t.TextOpened())
    machine = opened()
    said(machine, "x")
    assert machine.receive(e.Cancelled()) == []
    assert machine.state is State.CLOSED


def test_limits_refuse_nonsense():
    with pytest.raises(ValueError, match="max_ahead"):
        TextLimits(max_ahead=0)


def view(newest: str, *earlier: str, source: int = 0, ages: tuple[float, ...] = ()) -> View:
    def one(text: str) -> DecodedText:
        return reading(text).hypotheses[0]

    return View(one(newest), tuple(one(text) for text in earlier), source, ages)


def test_rules_settle_what_they_say():
    assert LocalAgreement(2).settle(view("a b c", "a b d")) == 2
    assert LocalAgreement(3).settle(view("a b c", "a b d")) == 0
    assert LocalAgreement(3).settle(view("a b c", "a b d", "a x d")) == 1
    assert LocalAgreement(2, max_delay_s=1.0).settle(view("a b c", ages=(3.0, 1.0, 0.5))) == 2
    assert WaitK(3).settle(view("a b c", source=4)) == 1
    assert WaitK(3).settle(view("a b c", source=2)) == 0
    assert FinalsOnly().settle(view("a b c", "a b c", source=9)) == 0


WORDS = st.text("ab", min_size=1, max_size=2)
RULES = st.sampled_from(
    [None, LocalAgreement(2), LocalAgreement(3, max_delay_s=0.5), WaitK(1), WaitK(2), FinalsOnly()]
)


@given(
    rule=RULES,
    append_only=st.booleans(),
    source=st.lists(st.sampled_from(["Da ", "da", "\n", "! ", "  ", "oh je "]), max_size=12),
    drawn=st.data(),
)
@settings(max_examples=200)
def test_promises_hold_whatever_is_said(rule, append_only, source, drawn):
    """Stable text only grows, finals begin with it, come once, in order, and cover the source."""
    machine = opened(rule, append_only=append_only, max_ahead=2, max_characters=9)
    waiting: list[t.ReadText] = []
    emitted: list[t.TextCommand] = []
    now = 0.0

    def take(commands: list[t.TextCommand]) -> None:
        for command in commands:
            if isinstance(command, t.ReadText):
                waiting.append(command)
            else:
                emitted.append(command)

    def serve() -> None:
        ask = waiting.pop(drawn.draw(st.integers(0, len(waiting) - 1)))
        if drawn.draw(st.integers(0, 9)) == 0:
            take(machine.receive(t.TextLost(ask.ticket, BackendDown("gone"))))
            return
        forced = [token.to_bytes(4, "big").strip(b"\0").decode() for token in ask.forced]
        more = drawn.draw(st.lists(WORDS, max_size=4))
        take(answer(machine, ask, " ".join([*forced, *more]), now))

    for piece in source:
        now += 0.2
        take(said(machine, piece, now))
        if machine.next_due is not None and machine.next_due <= now:
            take(machine.receive(t.Ticked(now)))
        if waiting and drawn.draw(st.booleans()):
            serve()
    take(machine.receive(e.InputEnded()))
    while waiting:
        serve()
    assert machine.state in (State.CLOSED, State.FAILED)
    stable, index, end, revision = "", 0, 0, 0
    for one in emitted:
        if isinstance(one, t.EmitTextPartial):
            assert one.segment_index == index
            assert one.revision == revision + 1
            assert one.stable_text.startswith(stable)
            assert not (append_only and one.tail_text)
            stable, revision = one.stable_text, one.revision
        elif isinstance(one, t.EmitTextFinal):
            assert one.segment_index == index
            assert one.reading.hypotheses[0].text.startswith(stable)
            assert one.start_character >= end
            assert not "".join(source)[end : one.start_character].strip()
            stable, revision, index, end = "", 0, index + 1, one.end_character
    if machine.state is State.CLOSED:
        assert emitted[-1] == t.CloseText(len("".join(source)), index, emitted[-1].num_replays)
        assert not "".join(source)[end:].strip()
