"""The vocabulary: words, text, fingerprint, and files that were changed by hand."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from legonn_core.interface.vocabulary import Vocabulary, normalize_english

TOY = Vocabulary("toy/1", ("<blank>", "\u2581a", "\u2581b", "c", "d"))


def test_words_are_gapless_ranges() -> None:
    assert TOY.words(()) == []
    assert TOY.words((3, 1, 4, 2)) == [(0, 1), (1, 3), (3, 4)]
    assert TOY.text((3, 1, 4, 2)) == "c ad b"
    assert len(TOY) == 5


def test_fingerprint_covers_what_probabilities_mean() -> None:
    assert Vocabulary("other", TOY.tokens).fingerprint == TOY.fingerprint
    assert Vocabulary("toy/1", TOY.tokens[::-1], blank=4).fingerprint != TOY.fingerprint
    assert Vocabulary("toy/1", TOY.tokens, blank=1).fingerprint != TOY.fingerprint


def test_file_round_trip() -> None:
    assert Vocabulary.from_json(TOY.to_json()) == TOY


def test_a_changed_file_is_refused() -> None:
    fields = json.loads(TOY.to_json())
    with pytest.raises(ValueError, match="changed after it was written"):
        Vocabulary.from_json(json.dumps({**fields, "tokens": ["<blank>", "x"]}))
    del fields["normalizer"]
    with pytest.raises(ValueError, match="not a vocabulary file"):
        Vocabulary.from_json(json.dumps(fields))


@pytest.mark.parametrize(
    ("tokens", "normalizer", "blank", "message"),
    [
        (("a", "a"), "english-cased/1", 0, "twice"),
        (("a", "b"), "shouting/1", 0, "unknown normaliser"),
        (("a", "b"), "english-cased/1", 2, "no class 2"),
    ],
)
def test_nonsense_is_refused(
    tokens: tuple[str, ...], normalizer: str, blank: int, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        Vocabulary("bad", tokens, normalizer, blank)


def test_normaliser() -> None:
    assert (
        TOY.normalize("\u201cIt\u2019s\u00a0 so\u201d \u2014 \ufb01ne\u00ad") == '"It\'s so" - fine'
    )
    assert normalize_english(normalize_english("a\u2013b")) == "a-b"


SPELLER = Vocabulary("speller/1", ("<blank>", "\u2581", "\u2581a", "a", "b", "ab", "\u2581ab", "c"))


@given(st.text("abc ", max_size=30))
def test_spelling_reads_as_the_text(raw: str) -> None:
    text = " ".join(raw.split())
    ids = SPELLER.spell(text)
    assert SPELLER.text(ids) == text
    assert SPELLER.blank not in ids
    assert len(SPELLER.words(ids)) == len(text.split())


def test_spelling_takes_the_fewest_pieces() -> None:
    assert SPELLER.spell("ab a") == (6, 2)
    assert SPELLER.spell("") == ()


def test_what_cannot_be_spelled_is_said() -> None:
    with pytest.raises(ValueError, match="speller/1"):
        SPELLER.spell("ab z")
