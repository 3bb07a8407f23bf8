"""Text into sentences."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from legonn_server.routing.sentences import sentence_end, split_sentences


@pytest.mark.parametrize(
    ("text", "sentences"),
    [
        ("", []),
        (" \n\t ", []),
        ("Guten Tag", ["Guten Tag"]),
        ("Guten Morgen! Wo ist der Bahnhof?", ["Guten Morgen!", "Wo ist der Bahnhof?"]),
        ("Eins.\nZwei\n\n  Drei. ", ["Eins.", "Zwei", "Drei."]),
        ("„Komm!“ Er kam.", ["„Komm!“", "Er kam."]),
        ("Am 3. Mai kam Dr. Weber. Er blieb.", ["Am 3. Mai kam Dr. Weber.", "Er blieb."]),
        ("z. B. heute. Gut.", ["z. B. heute.", "Gut."]),
        ("Es kostet 3.50 Euro... Ja?", ["Es kostet 3.50 Euro...", "Ja?"]),
        ("Bună dimineața! Unde este gara?", ["Bună dimineața!", "Unde este gara?"]),
    ],
)
def test_sentences_end_where_people_end_them(text: str, sentences: list[str]):
    assert split_sentences(text) == sentences


@given(st.text(st.sampled_from('ab.!? \n"“”)c3é'), max_size=300), st.integers(1, 60))
def test_nothing_is_lost(text: str, longest: int):
    sentences = split_sentences(text, max_characters=longest)
    assert "".join(" ".join(sentences).split()) == "".join(text.split())
    assert all(0 < len(one) <= longest for one in sentences)


@pytest.mark.parametrize(
    ("text", "end"),
    [
        ("Guten", 0),
        ("Guten Morgen!", 0),
        ("Guten Morgen! W", 14),
        ("Am 3. Mai", 0),
        ("Zeile\nnoch", 6),
        ("Eins. Zwei\n", 6),
    ],
)
def test_growing_text_ends_when_it_surely_does(text: str, end: int):
    assert sentence_end(text) == end
