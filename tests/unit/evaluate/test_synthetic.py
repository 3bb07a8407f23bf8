from __future__ import annotations

import json

import numpy as np
import pytest

from legonn_core.evaluate.result import Cell, Claim, Result, draw, table, write
from legonn_core.evaluate.synthetic import Effort, SyntheticExperiment
from legonn_core.evaluate.synthetic_language import NUM_WORDS, Grammar, Spelling, Voice
from legonn_core.scoring.scores import Score


def test_a_seed_is_a_language():
    first, again, other = Grammar(seed=1), Grammar(seed=1), Grammar(seed=2)
    sentences = first.sentences(50, seed=3)
    assert sentences == again.sentences(50, seed=3) != other.sentences(50, seed=3)
    assert {3, 4, 5, 6} == {len(s) for s in sentences}
    assert {w for s in sentences for w in s} <= set(range(1, NUM_WORDS + 1))


def test_spelling_swaps_an_even_word_with_an_odd_one_behind_it():
    spelling = Spelling(letters=14, longest=2, swaps=True, misprints=0.0, seed=2)
    rng = np.random.default_rng(0)
    one, other = spelling.write([(2, 3, 4), (3, 2, 4)], rng).values
    assert one.tolist() == other.tolist()
    lengths = spelling.write([(1, 5), (1, 5, 9)], rng).lengths
    assert lengths[1] > lengths[0]


def test_a_voice_says_each_word_for_four_to_seven_frames():
    said = Voice(noise=1.0, seed=4).say([(1, 2, 3)] * 30, np.random.default_rng(0))
    assert 12 <= int(said.lengths.min()) < int(said.lengths.max()) <= 21
    assert said.values.shape[2] == 16


@pytest.mark.timeout(300)
def test_the_whole_experiment_runs_and_untrained_modules_hold_no_claim():
    lines: list[str] = []
    effort = Effort(joint=2, encoder=1, ungrounded=1)
    result = SyntheticExperiment(effort, report=lines.append).run()
    assert len(lines) == 6
    assert len(result.cells) == 4 * 6 + 4
    assert {cell.condition for cell in result.cells} >= {"greedy", "marginals", "no CTC, swapped"}
    assert not all(claim.holds for claim in result.claims)


def test_results_are_kept_and_drawn(tmp_path):
    score = Score("WER", 12.5, 10.0, 15.0, "jiwer")
    cells = (
        Cell("text-ro/1", "decoder-en/1", "marginals", "dev", 7, score),
        Cell("text-ro/1", "–", "greedy", "dev", 7, score),
    )
    result = Result("Title", "make it", cells, (Claim("it is so", False),), {"k": 16})
    write(result, tmp_path / "deep/result.json")
    kept = json.loads((tmp_path / "deep/result.json").read_text())
    assert kept["cells"][0]["score"]["value"] == 12.5
    assert kept["facts"] == {"k": 16}
    assert "| dev | text-ro/1 | decoder-en/1 | marginals | WER 12.5 | 10.0–15.0 | 7 |" in table(
        result
    )
    assert "DOES NOT: it is so" in table(result)
    draw(result, tmp_path / "result.svg")
    assert "<svg" in (tmp_path / "result.svg").read_text()
