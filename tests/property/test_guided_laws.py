"""Phrases and guards in the joint search against enumeration, and lanes that do not meet."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from legonn_core.interface.vocabulary import Vocabulary
from legonn_core.search.biasing import Phrase, PhraseBias, total_bonus
from legonn_core.search.joint import JointBeamSearch, JointSettings
from tests.property.test_joint_laws import (
    SEEDS,
    Tokens,
    ctc_masses,
    decoder_score,
    distributions,
    run,
    run_all,
    scripted,
)

VOCABULARY = Vocabulary("test/1", ("<blank>", "▁a", "b", "▁b"))
PHRASES = st.lists(
    st.builds(
        Phrase, st.sampled_from(["a", "ab", "b", "a b", "ab b"]), st.sampled_from([1.0, 6.0])
    ),
    min_size=1,
    max_size=3,
)
WIDE = JointSettings(beam=64, ctc_weight=0.4, num_best=1, max_length=3)


@given(seed=SEEDS, phrases=PHRASES)
@settings(max_examples=25, deadline=None)
def test_a_wide_beam_with_phrases_finds_what_enumeration_finds(seed: int, phrases: list[Phrase]):
    bias = PhraseBias(phrases, VOCABULARY)
    log_probs, decoder = distributions(seed, (4, 4)), scripted(seed, 4)
    masses = ctc_masses(log_probs)

    def score(tokens: Tokens) -> float:
        ctc = masses.get(tokens, -math.inf)
        return 0.6 * decoder_score(decoder, tokens) + 0.4 * ctc + total_bonus(bias, tokens)

    every = (
        tokens for length in range(4) for tokens in itertools.product((1, 2, 3), repeat=length)
    )
    best = max(every, key=score)
    found, _ = run(JointBeamSearch(WIDE, log_probs, bias=bias), decoder)
    assert found[0].tokens == best
    assert found[0].score == pytest.approx(score(best), abs=1e-4)


@given(seed=SEEDS, phrases=PHRASES)
@example(seed=44620, phrases=[Phrase("a", 1.0)])  # a repetition was possible in padding
@settings(max_examples=20, deadline=None)
def test_a_lane_with_phrases_changes_no_other(seed: int, phrases: list[Phrase]):
    bias = PhraseBias(phrases, VOCABULARY)
    rows = [distributions(seed + n, (3 + n, 4)) for n in range(3)]
    decoders = [scripted(seed + n, 4) for n in range(3)]
    narrow = JointSettings(beam=3, num_best=2, peaks=2)
    traced = JointSettings(beam=3, num_best=2, peaks=2, needs_trace=True)

    def searches() -> list[JointBeamSearch]:
        return [
            JointBeamSearch(narrow, rows[0]),
            JointBeamSearch(traced, rows[1], bias=bias),
            JointBeamSearch(narrow, rows[2], bias=PhraseBias([Phrase("b", 3.0)], VOCABULARY)),
        ]

    together, _ = run_all(searches(), decoders)
    alone = [run(search, decoder)[0] for search, decoder in zip(searches(), decoders, strict=True)]
    assert [[one.tokens for one in found] for found in together] == [
        [one.tokens for one in found] for found in alone
    ]


def test_what_no_row_holds_is_not_written_however_likely_the_decoder_finds_it():
    rows = np.log(np.array([[0.5, 0.49995, 0.0, 0.00005]] * 4) + 1e-12).astype(np.float32)

    def wants_third(tokens: Tokens) -> np.ndarray:
        return np.log(np.array([0.05, 0.05, 0.45, 0.45]))

    for needs_trace, allowed in ((False, {1, 2, 3}), (True, {1})):
        wishes = JointSettings(beam=3, ctc_weight=0.0, max_length=3, needs_trace=needs_trace)
        found, _ = run(JointBeamSearch(wishes, rows), wants_third)
        assert set(found[0].tokens) <= allowed
    forced = JointSettings(beam=3, ctc_weight=0.0, max_length=3, needs_trace=True)
    found, _ = run(JointBeamSearch(forced, rows, forced=(3,)), wants_third)
    assert found[0].tokens[0] == 3


@pytest.mark.parametrize("weight", [0.0, 0.3, 1.0])
def test_a_decoder_that_repeats_itself_ends(weight: float):
    rows = distributions(3, (400, 4), 0.1)

    def stuttering(tokens: Tokens) -> np.ndarray:
        return np.log(np.array([1e-9, 0.5, 0.4, 0.1]))

    wishes = JointSettings(beam=2, ctc_weight=weight, length_bonus=1.0)
    found, steps = run(JointBeamSearch(wishes, rows[:150]), stuttering)
    assert steps < 200
    assert len(found[0].tokens) <= 158
