"""Folds trained apart, each dumping what it had not seen, for a decoder to learn from."""

from __future__ import annotations

import argparse
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
import tomli_w
import torch

from legonn_core.errors import BadConfig
from legonn_core.train import command
from legonn_core.train.dumps import DumpedRows
from legonn_core.train.text_data import EnglishPieces, read_pairs
from tests.support.tiny import DECODER_SHAPE, TEXT_SHAPE
from tests.support.training import write_training_data

SKIPPED = {"num_classes", "source_pieces", "dropout"}
ENCODER: dict[str, object] = {
    "kind": "text",
    "pairs": "pairs.tsv",
    "vocabulary": "modules/en/1",
    "source_model": "source.model",
    "minutes": 1,
    "steps": 2,
    "batch_rows": 200,
    "encoder": {k: v for k, v in asdict(TEXT_SHAPE).items() if k not in SKIPPED},
}
DUMP: dict[str, object] = {
    "kind": "dump", "runs": ["work/fold-1", "work/fold-2"], "out": "work/dumps"
}  # fmt: skip


@pytest.fixture
def root(tiny_store, tmp_path, monkeypatch) -> Path:
    write_training_data(tmp_path, tiny_store)
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    torch.set_flush_denormal(False)


def trained(root: Path, recipe: dict[str, object]) -> int:
    path = root / "recipe.toml"
    path.write_text(tomli_w.dumps(recipe), encoding="utf-8")
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    return command.run(parser.parse_args([str(path)]))


def test_each_fold_dumps_what_it_left_out_and_a_decoder_learns_from_all(root, capsys):
    for fold in (1, 2):
        assert trained(root, ENCODER | {"fold": f"{fold}/2", "out": f"work/fold-{fold}"}) == 0
    assert trained(root, DUMP) == 0
    assert capsys.readouterr().out.count("token errors read off held-out rows") == 2
    dumped = DumpedRows.read([root / "work/dumps"])
    pairs = read_pairs(root / "pairs.tsv", EnglishPieces(root / "modules/en/1"), origin_weights={})
    said = sorted(said for _, said in dumped.blocks)
    assert said == sorted(pair.target for pair in pairs.pairs)  # every pair once
    batch = next(dumped.batches(budget=400, seed=(1,)))
    for place, count in enumerate(batch.lengths.tolist()):
        mass = batch.probs[place, :count].sum(axis=1) + batch.tail[place, :count]
        np.testing.assert_allclose(mass, 1.0, atol=1e-3)
        assert not batch.probs[place, count:].any()
    whole = ENCODER | {
        "out": "work/joint", "dumps": ["work/dumps"], "dumped_share": 1.0, "ctc_only_steps": 0,
        "decoder": {k: v for k, v in asdict(DECODER_SHAPE).items() if k not in SKIPPED},
    }  # fmt: skip
    assert trained(root, whole) == 0
    saved = torch.load(root / "work/joint/checkpoint.pt", weights_only=True)
    assert saved["steps"] == 2


def test_a_run_on_all_pairs_may_not_be_dumped(root, capsys):
    assert trained(root, ENCODER | {"out": "work/fold-1"}) == 0
    assert trained(root, DUMP) == 1
    assert "trained on all pairs" in capsys.readouterr().err
    with pytest.raises(BadConfig, match="kind dump"):
        DumpedRows.read([root / "nowhere"])
