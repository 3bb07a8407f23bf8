from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from legonn_core.scoring.scores import normalized, translation_scores, word_error_rate


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Don't SHOUT, 'twas “only” a test.", "don't shout twas only a test"),
        ("the boys’ cat—it’s grey", "the boys cat it's grey"),
        ("mid-day in 1810; 10.5 %", "mid day in 1810 10 5"),
        ("ﬁne_print ' '", "fine print"),
        ("", ""),
    ],
)
def test_words_are_what_counts(text, expected):
    assert normalized(text) == expected


@given(st.text())
def test_normalizing_twice_changes_nothing(text):
    assert normalized(normalized(text)) == normalized(text)


def test_word_error_rate_counts_over_all_words():
    found = word_error_rate(["One, two, three four!", "five"], ["one too three", "five six"])
    assert found.value == pytest.approx(100 * 3 / 5)  # one wrong, one missing, one added
    assert found.low <= found.value <= found.high
    assert found == word_error_rate(["one two three four", "five"], ["one too three", "five six"])
    assert "jiwer:" in found.signature and "nfkc" in found.signature


def test_word_error_rate_at_its_ends():
    right = word_error_rate(["a b", "c"], ["A b.", "c"])
    assert (right.value, right.low, right.high) == (0, 0, 0)
    assert word_error_rate(["a b", "c"], ["", ""]).value == 100
    with pytest.raises(ValueError, match="no words"):
        word_error_rate(["...", ""], ["a", "b"])


def test_the_interval_narrows_with_more_recordings():
    few = word_error_rate(["a b"] * 10, ["a b", "a c"] * 5)
    many = word_error_rate(["a b"] * 1000, ["a b", "a c"] * 500)
    assert few.value == many.value == 25
    assert many.high - many.low < (few.high - few.low) / 3


def test_translation_scores_are_cased_and_carry_their_signature():
    references = ["The cat sat on the mat.", "A dog barked at the moon."] * 10
    bleu, chrf = translation_scores(references, references)
    assert (bleu.name, chrf.name) == ("BLEU", "chrF")
    assert bleu.value == pytest.approx(100) and chrf.value == pytest.approx(100)
    assert "case:mixed" in bleu.signature and "bs:1000" in bleu.signature
    lower, _ = translation_scores(references, [text.lower() for text in references])
    assert lower.value < 90
    assert lower.low <= lower.value <= lower.high
