"""Misheard text: words that sound alike, spellings, lost words, and classes place by place."""

from __future__ import annotations

import numpy as np
import pytest

from legonn_core.train.misheard_text import JoiningRule, MisheardText, aligned
from legonn_core.train.mishearing import (
    HeardWord,
    Mishearing,
    read_lexicon,
    sound_alikes,
    word_counts,
)
from legonn_core.train.simulate import Simulator, confusion_table
from legonn_core.train.text_data import EnglishPieces
from tests.support.tiny import ENGLISH

LEXICON = """there DH EH1 R
their DH EH1 R
their(2) DH ER0
hair HH EH1 R
ship SH IH1 P
sheep SH IY1 P
whale W EY1 L
"""


@pytest.fixture
def lexicon(tmp_path):
    path = tmp_path / "cmudict"
    path.write_text(LEXICON, encoding="utf-8")
    return read_lexicon(path)


@pytest.fixture
def rng():
    return np.random.default_rng(3)


def test_a_lexicon_keeps_the_first_pronunciation_without_stress(lexicon):
    assert lexicon["their"] == ("DH", "EH", "R")
    assert len(lexicon) == 6


def test_words_that_differ_by_a_sound_are_alike_and_frequent_ones_come_first(lexicon):
    counts = {"there": 9, "their": 5, "hair": 7, "ship": 2, "sheep": 1, "whale": 1, "unknown": 4}
    alikes = sound_alikes(counts, lexicon)
    assert alikes["their"] == ("there", "hair")
    assert alikes["ship"] == ("sheep",)
    assert "whale" not in alikes
    assert "unknown" not in alikes


def test_words_are_counted_whatever_their_case():
    assert word_counts(["The ship, the sheep.", "THE END"], least=2) == {"the": 3}


def test_nothing_is_misheard_at_rate_0_but_case_and_punctuation(rng, lexicon):
    mishearing = Mishearing({}, rng)
    words = ["There,", "their", "ship's", "20", "whales!"]
    for _ in range(50):
        heard = mishearing(words, rate=0.0)
        assert [one.true for one in heard] == words
        for one in heard:
            assert one.heard.lower().rstrip(".,!") == one.true.lower().rstrip(".,!")


def test_at_rate_1_words_are_lost_replaced_and_respelt(rng):
    mishearing = Mishearing({"ship": ("sheep",), "the": ("a",)}, rng)
    heard = [
        one.heard.lower().strip(".") for _ in range(200) for one in mishearing(["ship."], rate=1.0)
    ]
    assert {"", "sheep"} <= set(heard)
    respelt = set(heard) - {"", "sheep", "a", "the", "ship"}
    assert len(respelt) > 5
    numbers = mishearing(["1984"], rate=1.0)
    assert numbers[-1] == HeardWord("1984", "1984")


def test_places_of_a_misheard_word_share_its_true_classes_in_order():
    classes = {"ship": (5, 6), "sheep": (7, 8, 9), "a": (3,)}.get
    words = [HeardWord("ship", "sheep"), HeardWord("", "a"), HeardWord("ship", "")]
    found = aligned(words, (5, 6, 5, 6), lambda word: classes(word, ()))
    assert found is not None
    assert found.heard.tolist() == [7, 8, 9, 3]
    assert found.said.tolist() == [0, 0, 1, -1]
    assert found.true.tolist() == [5, 5, 6, 0]
    assert aligned([HeardWord("ship", "")], (5, 6), lambda word: classes(word, ())) is None


def test_batches_keep_to_lengths_and_to_the_targets_of_their_texts(tiny_store, rng):
    pieces = EnglishPieces(tiny_store / "en/1")
    texts = [*ENGLISH, "日本"]
    drawn = MisheardText(
        texts,
        np.ones(len(texts)),
        pieces=pieces,
        mishearing=Mishearing({}, rng),
        rule=JoiningRule(longest=60, single=0.5, worst=0.0, pool=64),
        batch_tokens=200,
        rng=rng,
    )
    whole = {pieces.encode(text) for text in ENGLISH}
    seen = set()
    for batch, _ in zip(drawn, range(10), strict=False):
        assert len(batch) >= 8
        assert all(len(one.target) <= 60 for one in batch)
        seen |= {one.target for one in batch}
    assert seen & whole, "some inputs are single sentences, cut word by word as they are cut whole"
    assert any(len(target) > max(map(len, whole)) for target in seen), "others are joined"


def test_misheard_rows_show_what_was_heard_and_hold_what_was_said(tiny_store, rng):
    pieces = EnglishPieces(tiny_store / "en/1")
    unigram = np.ones(len(pieces.vocabulary))
    simulator = Simulator(confusion_table(pieces.vocabulary), unigram, seed=4)
    said = pieces.encode(ENGLISH[0])
    assert said is not None
    words = [HeardWord(ENGLISH[0], ENGLISH[1])]
    one = aligned(words, said, lambda word: (pieces.encode(word) or ()) if word else ())
    assert one is not None
    batch = simulator.misheard([one] * 20, max_rows=400)
    assert batch.targets == [said] * 20
    assert np.allclose(
        batch.probs.sum(axis=2) + batch.tail,
        batch.lengths[:, None] > np.arange(batch.probs.shape[1]),
        atol=1e-4,
    )
    held = [float(batch.probs[item, : batch.lengths[item], 1].max()) for item in range(20)]
    assert max(held) > 0.05, "a misheard class leaves its true one in the row"
