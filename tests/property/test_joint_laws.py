"""The joint search against enumeration: CTC alone, decoder alone, and mixtures of the two."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from legonn_core.search.ctc import CtcPrefixScorer, class_rows
from legonn_core.search.hypothesis import Hypothesis
from legonn_core.search.joint import JointBeamSearch, JointSettings
from legonn_core.search.lanes import Lanes, advance, finish, start

Tokens = tuple[int, ...]
Decoder = Callable[[Tokens], NDArray[np.float64]]
SEEDS = st.integers(0, 2**32 - 1)


def distributions(seed: int, shape: tuple[int, ...], sharpness: float = 2.0) -> NDArray[np.float32]:
    logits = np.random.default_rng(seed).normal(size=shape) * sharpness
    return (logits - np.log(np.exp(logits).sum(axis=-1, keepdims=True))).astype(np.float32)


def scripted(seed: int, classes: int) -> Decoder:
    """A decoder that answers every prefix with its own distribution."""
    known: dict[Tokens, NDArray[np.float64]] = {}

    def answer(tokens: Tokens) -> NDArray[np.float64]:
        if tokens not in known:
            key = seed + sum((token + 1) * 97**i for i, token in enumerate(tokens))
            known[tokens] = distributions(key % 2**63, (classes,), 1.0).astype(np.float64)
        return known[tokens]

    return answer


def run(search: JointBeamSearch, decoder: Decoder) -> tuple[list[Hypothesis], int]:
    """Drive one search."""
    (found,), (steps,) = run_all([search], [decoder])
    return found, steps


def run_all(
    searches: list[JointBeamSearch], decoders: list[Decoder]
) -> tuple[list[list[Hypothesis]], list[int]]:
    """Drive searches together as an engine does, with memory reordered by ``parents``."""
    lanes = start(searches)
    count, beam = lanes.scores.shape
    memory: list[list[Tokens]] = [[()] * beam for _ in searches]
    found: list[list[Hypothesis]] = [[] for _ in searches]
    steps = [0] * count
    numbers = list(range(count))
    while numbers:
        assert lanes.last_tokens.shape == lanes.scores.shape == (len(numbers), beam)
        rows = []
        for lane, number in enumerate(numbers):
            if steps[number]:
                pairs = zip(
                    lanes.parents[lane].tolist(), lanes.last_tokens[lane].tolist(), strict=True
                )
                memory[number] = [(*memory[number][parent], token) for parent, token in pairs]
            rows.append(np.stack([decoders[number](tokens) for tokens in memory[number]]))
        values = np.stack(rows)
        values[~np.isfinite(lanes.scores)] = np.nan  # a dead row's answer must not matter
        lanes = advance(lanes, values.astype(np.float32))
        for number in numbers:
            steps[number] += 1
            assert steps[number] < 200
        is_done = lanes.is_done.tolist()
        for lane, number in enumerate(numbers):
            if is_done[lane]:
                found[number] = finish(lanes, lane)
        kept = [lane for lane in range(len(numbers)) if not is_done[lane]]
        numbers = [numbers[lane] for lane in kept]
        if kept and len(kept) < len(is_done):
            lanes = lanes.select(kept)
    return found, steps


def ctc_masses(log_probs: NDArray[np.float32]) -> dict[Tokens, float]:
    """Natural log of the probability of every token sequence, by enumeration of paths."""
    rows, classes = log_probs.shape
    masses: dict[Tokens, float] = {}
    for path in itertools.product(range(classes), repeat=rows):
        tokens = tuple(label for label, _ in itertools.groupby(path) if label)
        mass = math.exp(float(log_probs[range(rows), path].astype(np.float64).sum()))
        masses[tokens] = masses.get(tokens, 0.0) + mass
    return {tokens: math.log(mass) for tokens, mass in masses.items()}


def decoder_score(decoder: Decoder, tokens: Tokens) -> float:
    steps = [*tokens, 0]
    return float(sum(decoder(tokens[:i])[token] for i, token in enumerate(steps)))


def ranked(scores: dict[Tokens, float], count: int) -> list[Tokens]:
    return sorted(scores, key=lambda tokens: (-scores[tokens], tokens))[:count]


@settings(max_examples=25, deadline=None)
@given(seed=SEEDS, rows=st.integers(0, 5), classes=st.integers(2, 4))
def test_prefix_scores_equal_enumeration(seed: int, rows: int, classes: int) -> None:
    log_probs = distributions(seed, (rows, classes))
    full = ctc_masses(log_probs)
    scorer = CtcPrefixScorer([class_rows(log_probs)])
    for tokens in [(), (1,), (1, 1), (classes - 1, 1), (1, 1, 1)]:
        state = scorer.start(1)
        for token in tokens:
            state = scorer.extend(state, np.array([[token]]))
        total = float(scorer.totals(state)[0, 0])
        assert math.exp(total) == pytest.approx(math.exp(full.get(tokens, -math.inf)), rel=2e-6)
        candidates = np.arange(1, classes)[None, None]
        ahead = scorer.continuations(state)
        scores = scorer.scores(ahead, candidates)[0, 0]
        shared = scorer.shared_scores(ahead, candidates[0], scorer.rows_of(candidates[0]))[0, 0]
        assert scores == pytest.approx(shared, rel=1e-6, abs=1e-6)
        for token, score in zip(candidates[0, 0], scores, strict=True):
            grown = (*tokens, int(token))
            begins = [math.exp(p) for other, p in full.items() if other[: len(grown)] == grown]
            assert math.exp(score) == pytest.approx(math.fsum(begins), rel=2e-6, abs=1e-300)


@settings(max_examples=25, deadline=None)
@given(seed=SEEDS, rows=st.integers(1, 5), bonus=st.sampled_from([0.0, 0.7, -0.4]))
def test_weight_one_ranks_as_ctc(seed: int, rows: int, bonus: float) -> None:
    log_probs = distributions(seed, (rows, 3))
    chosen = JointSettings(beam=70, ctc_weight=1.0, length_bonus=bonus, num_best=3)
    found, _ = run(JointBeamSearch(chosen, log_probs), scripted(seed, 3))
    scores = {tokens: p + bonus * len(tokens) for tokens, p in ctc_masses(log_probs).items()}
    assert [hypothesis.tokens for hypothesis in found] == ranked(scores, 3)[: len(found)]
    for hypothesis in found:
        assert hypothesis.score == pytest.approx(scores[hypothesis.tokens], abs=1e-5)


@settings(max_examples=25, deadline=None)
@given(seed=SEEDS, bonus=st.sampled_from([0.0, 0.7, -0.4]))
def test_weight_zero_ranks_as_the_decoder(seed: int, bonus: float) -> None:
    decoder = scripted(seed, 4)
    chosen = JointSettings(beam=60, ctc_weight=0.0, length_bonus=bonus, num_best=4, max_length=3)
    found, _ = run(JointBeamSearch(chosen, distributions(seed, (5, 4))), decoder)
    every = [t for size in range(4) for t in itertools.product((1, 2, 3), repeat=size)]
    scores = {tokens: decoder_score(decoder, tokens) + bonus * len(tokens) for tokens in every}
    assert [hypothesis.tokens for hypothesis in found] == ranked(scores, 4)
    assert all(hypothesis.ctc_score == 0.0 for hypothesis in found)
    for hypothesis in found:
        assert hypothesis.decoder_score == pytest.approx(
            decoder_score(decoder, hypothesis.tokens), abs=1e-5
        )


@settings(max_examples=25, deadline=None)
@given(
    seed=SEEDS,
    weight=st.sampled_from([0.1, 0.3, 0.8]),
    bonus=st.sampled_from([0.0, 0.5]),
    forced=st.sampled_from([(), (1,), (2, 2), (1, 2)]),
)
def test_mixtures_and_forced_tokens(seed: int, weight: float, bonus: float, forced: Tokens) -> None:
    log_probs, decoder = distributions(seed, (5, 3)), scripted(seed, 3)
    chosen = JointSettings(beam=70, ctc_weight=weight, length_bonus=bonus, num_best=2)
    found, _ = run(JointBeamSearch(chosen, log_probs, forced=forced), decoder)
    scores = {
        tokens: (1 - weight) * decoder_score(decoder, tokens) + weight * mass + bonus * len(tokens)
        for tokens, mass in ctc_masses(log_probs).items()
        if tokens[: len(forced)] == forced
    }
    assert [hypothesis.tokens for hypothesis in found] == ranked(scores, 2)
    assert found[0].score == pytest.approx(scores[found[0].tokens], abs=1e-5)


@settings(max_examples=25, deadline=None)
@given(seed=SEEDS, beam=st.integers(1, 4), weight=st.sampled_from([0.0, 0.3, 1.0]))
def test_narrow_beams_end_and_repeat(seed: int, beam: int, weight: float) -> None:
    log_probs, decoder = distributions(seed, (12, 30), 4.0), scripted(seed, 30)
    search = JointBeamSearch(JointSettings(beam=beam, ctc_weight=weight), log_probs, forced=(3, 4))
    found, steps = run(search, decoder)
    assert (found, steps) == run(search, decoder)
    assert len(found) == 1
    assert found[0].tokens[:2] == (3, 4)
    assert math.isfinite(found[0].score)
    assert 0 not in found[0].tokens


def cycling(classes: int, period: int) -> Decoder:
    def answer(tokens: Tokens) -> NDArray[np.float64]:
        scores = np.full(classes, -30.0)
        scores[0] = -40.0
        scores[1 + len(tokens) % period] = -0.01
        return scores

    return answer


@pytest.mark.parametrize(("period", "length"), [(1, 12), (2, 12), (4, 12), (5, 15)])
def test_a_loop_is_ended(period: int, length: int) -> None:
    search = JointBeamSearch(
        JointSettings(beam=1, ctc_weight=0.0, max_length=100), distributions(0, (9, 8))
    )
    found, steps = run(search, cycling(8, period))
    assert len(found[0].tokens) == length
    assert steps == length + 1


def test_forced_tokens_are_no_loop() -> None:
    forced = (1, 2, 3, 4) * 3
    search = JointBeamSearch(
        JointSettings(beam=2, ctc_weight=0.0), distributions(0, (30, 8)), forced=forced
    )
    found, _ = run(search, cycling(8, 7))
    assert len(found[0].tokens) > len(forced)


def test_no_rows_give_the_empty_reading() -> None:
    nothing = np.zeros((0, 5), np.float32)
    for weight in (0.3, 1.0):
        found, steps = run(
            JointBeamSearch(JointSettings(ctc_weight=weight), nothing), scripted(1, 5)
        )
        assert [hypothesis.tokens for hypothesis in found] == [()]
        assert steps == 1


def test_forced_tokens_that_do_not_fit_are_still_returned() -> None:
    search = JointBeamSearch(JointSettings(), distributions(0, (2, 5)), forced=(1, 1, 2, 3))
    found, _ = run(search, scripted(1, 5))
    assert found == [Hypothesis((1, 1, 2, 3), -math.inf)]


def test_a_search_stopped_early_returns_what_is_open() -> None:
    search = JointBeamSearch(JointSettings(beam=2, num_best=2), distributions(3, (9, 5)))
    lanes: Lanes = start([search])
    assert finish(lanes, 0)[0].tokens == ()
    never_ends = np.tile(np.array([-30.0, -1, -2, -3, -4]), (1, 2, 1)).astype(np.float32)
    lanes = advance(advance(lanes, never_ends), never_ends)
    found = finish(lanes, 0)
    assert [len(hypothesis.tokens) for hypothesis in found] == [2, 2]
    assert found[0].score >= found[1].score


def test_nonsense_is_refused() -> None:
    rows = distributions(0, (4, 5))
    for forced in [(0,), (5,), (-1,)]:
        with pytest.raises(ValueError, match="forced"):
            JointBeamSearch(JointSettings(), rows, forced=forced)
    for bad in [{"num_best": 6}, {"num_best": 0}]:
        with pytest.raises(ValueError, match="num_best"):
            JointSettings(**bad)
    for worse in [{"ctc_weight": 1.1}, {"length_bonus": math.nan}]:
        with pytest.raises(ValueError, match="ctc_weight"):
            JointSettings(**worse)
    search = JointBeamSearch(JointSettings(), rows)
    with pytest.raises(ValueError, match="expected"):
        advance(start([search]), np.zeros((1, 5, 4), np.float32))
    with pytest.raises(ValueError, match="one beam"):
        start([search, JointBeamSearch(JointSettings(beam=2), rows)])
