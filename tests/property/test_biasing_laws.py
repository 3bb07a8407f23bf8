"""Phrase bonuses against counting, whatever a hypothesis says and however it is cut."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from legonn_core.interface.vocabulary import Vocabulary
from legonn_core.search.biasing import ROOT, Phrase, PhraseBias, total_bonus

PIECES = ("▁", "a", "b", "A", "▁a", "▁b", "ab", "▁ab", "▁A", "▁aba", ",", "'", "ba")
VOCABULARY = Vocabulary("test/1", ("<blank>", *PIECES))
WORDS = st.text("ab", min_size=1, max_size=3)
TEXTS = st.lists(WORDS, min_size=1, max_size=3).map(" ".join)
PHRASES = st.lists(st.builds(Phrase, TEXTS, st.sampled_from([0.5, 1.0, 4.0])), max_size=5)
TOKENS = st.lists(st.integers(1, len(PIECES)), max_size=10).map(tuple)


def ids(*pieces: str) -> tuple[int, ...]:
    return tuple(VOCABULARY.tokens.index(piece) for piece in pieces)


def counted(phrases: list[Phrase], tokens: tuple[int, ...]) -> float:
    """Every phrase at every place where it stands as whole words, seen at the ends of tokens."""
    boosts: dict[str, float] = {}
    for phrase in phrases:
        for text in {phrase.text, phrase.text[:1].upper() + phrase.text[1:]}:
            written = "▁" + text.replace(" ", "▁")
            boosts[written] = max(boosts.get(written, 0.0), phrase.boost)
    total, said = 0.0, ""
    for index, token in enumerate(tokens):
        said += VOCABULARY.tokens[token]
        rest = "".join(VOCABULARY.tokens[one] for one in tokens[index + 1 :])[:1]
        if rest and (rest.isalnum() or rest in "'-"):
            continue
        total += sum(boost for written, boost in boosts.items() if said.endswith(written))
    return total


@given(phrases=PHRASES, tokens=TOKENS)
@settings(max_examples=400)
def test_a_hypothesis_has_the_boosts_of_the_phrases_in_it_and_nothing_more(phrases, tokens):
    bias = PhraseBias(phrases, VOCABULARY)
    assert total_bonus(bias, tokens) == pytest.approx(counted(phrases, tokens), abs=1e-9)


@given(phrases=PHRASES, first=TOKENS, second=TOKENS)
def test_rows_do_not_know_of_one_another(phrases, first, second):
    bias = PhraseBias(phrases, VOCABULARY)
    length = min(len(first), len(second))
    nodes = np.array([ROOT, ROOT])
    alone = [np.array(ROOT), np.array(ROOT)]
    for pair in zip(first[:length], second[:length], strict=True):
        together = bias.bonus(nodes[:, None], np.array([[1, pair[0]], [2, pair[1]]]))
        for row, token in enumerate(pair):
            assert together[row, 1] == bias.bonus(alone[row], np.array(token))
            alone[row] = bias.advance(alone[row], np.array(token))
        nodes = bias.advance(nodes, np.array(pair))
        assert nodes.tolist() == [int(node) for node in alone]


def test_a_share_is_lent_on_the_way_and_given_back():
    bias = PhraseBias([Phrase("ab ab", 6.0)], VOCABULARY)
    node, shares = np.array(ROOT), []
    for token in ids("▁a", "b", "▁ab", "a"):
        shares.append(float(bias.bonus(node, np.array(token))))
        node = bias.advance(node, np.array(token))
    assert shares == pytest.approx([2.0, 1.0, 3.0, -6.0])
    assert total_bonus(bias, ids("▁a", "b", "▁ab", ",")) == pytest.approx(6.0)


def test_a_phrase_that_cannot_be_written_is_left_out():
    bias = PhraseBias([Phrase("añb", 5.0), Phrase(" ", 5.0)], VOCABULARY)
    assert bias.tokens.tolist() == []
    assert total_bonus(bias, ids("▁ab", "a")) == 0.0


def test_tokens_that_left_a_trace_are_tried_the_clearest_first():
    bias = PhraseBias([Phrase("ab", 1.0)], VOCABULARY)
    assert set(bias.tokens) == set(ids("▁", "▁a", "▁ab", "▁A", "a", "b", "ab", "A"))
    peaks = np.full(len(VOCABULARY), -20.0, np.float32)
    peaks[list(ids("▁a", "b", "ba"))] = [-3.0, -1.0, -0.5]
    assert bias.heard(peaks, peaks > -15.0).tolist() == sorted(ids("▁a", "b"))
