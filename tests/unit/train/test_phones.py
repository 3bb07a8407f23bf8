from __future__ import annotations

import numpy as np
import pytest

from legonn_core.train.phones import (
    LetterSounds,
    PhoneSpeller,
    align,
    phone_confusions,
    phone_vocabulary,
    read_dictionary,
)
from legonn_core.train.phones_trainer import PhoneSimulator
from tests.support.training import DICTIONARY

KNOWN = {
    "cat": ("K", "AE", "T"), "city": ("S", "IH", "T", "IY"), "cut": ("K", "AH", "T"),
    "cot": ("K", "AA", "T"), "cell": ("S", "EH", "L"), "cell's": ("S", "EH", "L", "Z"),
    "bat": ("B", "AE", "T"), "box": ("B", "AA", "K", "S"),
    "bet": ("B", "EH", "T"), "let": ("L", "EH", "T"), "cent": ("S", "EH", "N", "T"),
}  # fmt: skip


@pytest.fixture(scope="module")
def speller() -> PhoneSpeller:
    plain = {word: sounds for word, sounds in KNOWN.items() if word.isalpha()}
    return PhoneSpeller(KNOWN, LetterSounds.learn(plain))


def spelt(speller: PhoneSpeller, text: str) -> str:
    tokens = speller.vocabulary.tokens
    return " ".join(tokens[i] for i in speller.spell(text) or ())


def test_a_dictionary_is_read_without_stress_and_with_its_first_pronunciations(tmp_path):
    (tmp_path / "d").write_text(DICTIONARY)
    words = read_dictionary(tmp_path / "d")
    assert words["cat"] == ("K", "AE", "T")
    assert words["waits"] == ("W", "EY", "T", "S")
    assert "cat(2)" not in words


def test_known_words_are_looked_up_and_marked(speller):
    assert spelt(speller, "Cat, city!") == "▁ K AE T ▁ S IH T IY"
    assert spelt(speller, "the cell's") .endswith("▁ S EH L Z")  # fmt: skip
    assert speller.spell("42 cats") is None
    assert speller.spell("... !") is None
    assert 0 not in (speller.spell("cat") or (0,))


def test_unknown_words_are_said_by_their_neighbours(speller):
    assert spelt(speller, "cab") == "▁ K AE B"  # c before a, as in cat
    assert spelt(speller, "ceb").startswith("▁ S EH")  # c before e, as in cell
    assert spelt(speller, "bat's") == "▁ B AE T S"  # a known word, and a voiceless end
    assert spelt(speller, "Cät") == "▁ K AE T"


def test_letters_are_aligned_with_no_phone_one_or_two():
    assert align("box", ("B", "AA", "K", "S"), {}) == [("B",), ("AA",), ("K", "S")]
    assert align("a", ("B", "AA", "K"), {}) is None


def test_confusions_stay_in_their_kind_first():
    tokens = phone_vocabulary().tokens
    table = phone_confusions()
    assert table.shape == (41, 12) and table.min() >= 2
    assert {tokens[i] for i in table[tokens.index("M")]} >= {"N", "NG"}
    vowels = {"AA", "AE", "AH", "AO", "AW", "AY", "EH", "ER", "EY", "IH", "OW", "OY", "UH", "UW"}
    assert sum(tokens[i] in vowels for i in table[tokens.index("IY")]) >= 10
    for index, row in enumerate(table):
        assert index not in row


def test_phones_come_about_twice_a_row_of_speech():
    unigram = np.ones(41)
    unigram[0] = 0.0
    simulator = PhoneSimulator(phone_confusions(), unigram, seed=1)
    simulator.ease = 1.0
    said = [tuple(int(i) for i in np.random.default_rng(7).integers(1, 41, 60))] * 40
    rows = simulator(said, max_rows=2048).lengths
    assert 1.5 < float(np.median(rows)) / 60 < 2.2
