"""Runs exchanged as they were left, with what is no module among them."""

from __future__ import annotations

import argparse
import json
import shutil
from dataclasses import asdict
from pathlib import Path

import pytest
import tomli_w
import torch

from legonn_core.evaluate import command as evaluate_command
from legonn_core.evaluate.exchange import gaps
from legonn_core.evaluate.result import Cell
from legonn_core.scoring.paired import error_difference, translation_difference
from legonn_core.scoring.scores import Score, translation_scores
from legonn_core.train import command as train_command
from tests.support.tiny import DECODER_SHAPE, ENGLISH, GERMAN_TEXT, TEXT_SHAPE

SKIPPED = {"num_classes", "source_pieces", "dropout"}


def called(module, *words: str) -> int:
    parser = argparse.ArgumentParser()
    module.add_arguments(parser)
    return int(module.run(parser.parse_args(list(words))))


@pytest.fixture
def runs(tiny_store, tmp_path, monkeypatch) -> Path:
    """Three trainings of two steps: two with marginals, one with hidden states."""
    shutil.copytree(tiny_store, tmp_path / "modules")
    shutil.copy(tiny_store / "text-de/1/source.model", tmp_path / "source.model")
    pairs = [f"{de}\t{en}" for de, en in zip(GERMAN_TEXT, ENGLISH[:4], strict=True)]
    (tmp_path / "pairs.tsv").write_text("\n".join(pairs * 4) + "\n", encoding="utf-8")
    recipe = {
        "kind": "text",
        "pairs": "pairs.tsv",
        "vocabulary": "modules/en/1",
        "source_model": "source.model",
        "out": "work/first",
        "minutes": 1,
        "steps": 2,
        "batch_rows": 200,
        "ctc_only_steps": 0,
        "encoder": {k: v for k, v in asdict(TEXT_SHAPE).items() if k not in SKIPPED},
        "decoder": {k: v for k, v in asdict(DECODER_SHAPE).items() if k not in SKIPPED},
    }
    (tmp_path / "recipe.toml").write_text(tomli_w.dumps(recipe), encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    assert called(train_command, "recipe.toml") == 0
    second = ("--with", "seed=2", "--with", "out=work/second", "--with", "encoder.width=32")
    assert called(train_command, "recipe.toml", *second) == 0
    states = ("--with", "out=work/plain", "--with", 'link="states"', "--with", "ctc_weight=0.0")
    assert called(train_command, "recipe.toml", *states) == 0
    yield tmp_path
    torch.set_flush_denormal(False)


def test_every_encoder_meets_every_decoder_that_reads_it(runs, capsys):
    assert called(
        evaluate_command, "exchange", "work/first", "work/second", "work/plain",
        "--set", "pairs.tsv:de", "--limit", "4", "--encoder", "text-de/1",
        "--decoder", "decoder-en/1", "--decoding", "0.5:0", "--decoding", "0.2:0",
        "--against", "plain", "--json", "exchange.json",
    ) == 0  # fmt: skip
    result = json.loads(Path("exchange.json").read_text())
    pairs = {(c["encoder"], c["decoder"]) for c in result["cells"] if c["decoder"] != "–"}
    rows = ("first", "second", "text-de/1")
    expected = {(a, b) for a in rows for b in ("first", "second", "decoder-en/1")}
    assert pairs == expected | {("plain", "plain")}
    plain = [c for c in result["cells"] if c["encoder"] == "plain"]
    assert {c["condition"] for c in plain} == {"beam 5, CTC 0, bonus 0"}  # CTC says nothing here
    assert {c["score"]["name"] for c in result["cells"]} == {"BLEU", "chrF", "ΔBLEU"}
    assert "work/first" in result["command"] and "--decoding 0.5:0" in result["command"]
    assert "relative_swap_gap_percent" in result["facts"]


def test_a_folder_without_a_run_is_told(runs, capsys):
    assert called(evaluate_command, "exchange", "work/nothing", "--set", "pairs.tsv:de") == 1
    assert "train it first" in capsys.readouterr().err


def cell(encoder: str, decoder: str, name: str, value: float) -> Cell:
    return Cell(encoder, decoder, "beam 5", "dev", 9, Score(name, value, value, value, ""))


def test_a_gap_is_relative_to_the_own_decoder_and_positive_where_it_is_worse():
    found = gaps([
        cell("a", "–", "BLEU", 8.0), cell("a", "a", "BLEU", 20.0), cell("a", "b", "BLEU", 19.0),
        cell("b", "b", "WER", 40.0), cell("b", "a", "WER", 42.0), cell("c", "a", "WER", 9.0),
    ])  # fmt: skip
    assert found["pairs"] == {
        "a under b, dev, beam 5": 5.0,
        "b under a, dev, beam 5": 5.0,
    }
    assert found["mean"] == 5.0
    assert gaps([]) == {}


def test_a_paired_difference_agrees_with_the_scores_it_compares():
    references = ["the cat sits on the mat", "a dog runs to the old house", "it rains in town"] * 4
    better = [*references[:-1], "it rains in a town"]
    worse = [text.replace("the", "a") for text in references]
    wer = error_difference(references, better, worse)
    assert wer.value < 0 and wer.high < 0
    bleu = translation_difference(references, better, worse)
    separate = [translation_scores(references, texts)[0].value for texts in (better, worse)]
    assert bleu.value == pytest.approx(separate[0] - separate[1], abs=1e-6)
    assert bleu.low > 0
    poor = ["a house on the mat", "rain", "the dog"] * 4  # no four words in a row are right
    separate = [translation_scores(references, texts)[0].value for texts in (poor, worse)]
    bleu = translation_difference(references, poor, worse)
    assert separate[0] > 0
    assert bleu.value == pytest.approx(separate[0] - separate[1], abs=1e-6)
    assert translation_difference(references, worse, worse).value == 0.0
