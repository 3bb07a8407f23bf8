"""What is shown of words: masks, hesitations, other spellings."""

from __future__ import annotations

import pytest

from legonn_core.search.hypothesis import DecodedText, Word
from legonn_server.language.masking import WordStyle, is_hesitation, masked
from legonn_server.session.wording import joined, tidy


def said(text: str) -> DecodedText:
    words = tuple(Word(word, 0, 9, 0.9, 1, row) for row, word in enumerate(text.split()))
    return DecodedText(tuple(range(1, len(words) + 1)), text, 0.0, 0.9, words)


@pytest.mark.parametrize("word", ["fuck", "Fucking", "bullshit", "bitches", "ass", "bastard's"])
def test_coarse_words_keep_their_first_letter(word):
    assert masked(word) == word[0] + "*" * (len(word) - 1)


@pytest.mark.parametrize("word", ["assess", "class", "Scunthorpe", "cockpit", "shitake", "Dick"])
def test_words_that_only_begin_so_pass(word):
    assert masked(word) == word


def test_masks_leave_punctuation_and_everything_else():
    style = WordStyle(masks_coarse=True)
    assert style.apply(said('"Oh shit!" she said')).text == '"Oh s***!" she said'
    assert style.apply(said("um, yes")).text == "um, yes"


def test_hesitations_are_left_out_but_their_tokens_stay():
    found = WordStyle(drops_hesitations=True).apply(said("Um, I uh... think so"))
    assert found.text == joined(found) == tidy(found, 9).text == "I think so"
    assert len(found.words) == len(found.tokens) == 5
    assert is_hesitation("Er,") and not is_hesitation("ER") and not is_hesitation("her")


def test_single_words_are_written_as_the_glossary_says():
    style = WordStyle(written={"legonn": "LegoNN 🧱"})
    assert style.apply(said("I like Legonn's, legonn.")).text == "I like Legonn's, LegoNN 🧱."


def test_no_wish_changes_nothing():
    found = said("uh shit")
    assert WordStyle().apply(found) is found
