"""Weights of the search chosen on a set, and put on a card that stays valid."""

from __future__ import annotations

import shutil
from dataclasses import replace

from legonn_core.evaluate import decoding
from legonn_core.evaluate.decoding import Trial, best
from legonn_core.interface.card import DecodingDefaults
from legonn_core.interface.reference import ModuleRef
from legonn_core.modules import golden
from legonn_core.modules.registry import load_module, read_card
from legonn_core.scoring.scores import Score
from tests.support.tiny import ENGLISH, GERMAN_TEXT


def trial(value: float, weight: float) -> Trial:
    return Trial(DecodingDefaults(ctc_weight=weight), Score("x", value, value, value, ""))


def test_words_wrong_are_to_be_few_and_words_shared_many():
    done = [trial(20.0, 0.1), trial(30.0, 0.2), trial(20.0, 0.3)]
    assert best(done, is_speech=True) is done[0]
    assert best(done, is_speech=False) is done[1]


def test_the_best_weights_go_on_the_card_and_nothing_else_changes(tiny_store, tmp_path, capsys):
    store = tmp_path / "modules"
    shutil.copytree(tiny_store, store)
    pairs = "".join(f"{de}\t{en}\n" for de, en in zip(GERMAN_TEXT, ENGLISH, strict=False))
    (tmp_path / "dev.de-en.tsv").write_text(pairs, encoding="utf-8")
    ref = ModuleRef("text-de", "1")
    before = read_card(store, ref)
    asked = ["--modules", str(store), "--encoder", "text-de/1", "--decoder", "decoder-en/1"]
    asked += ["--set", str(tmp_path / "dev.de-en.tsv"), "--ctc-weight", "0.25", "0.75"]
    assert decoding.main([*asked, "--length-bonus", "0.5", "--write-card"]) == 0
    said = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in said] == ["ctc_weight", "ctc_weight", "best:"]
    after = read_card(store, ref)
    assert after.decoding.length_bonus == 0.5
    assert after.decoding.ctc_weight in (0.25, 0.75)
    assert replace(after, decoding=before.decoding) == before
    golden.check(load_module(store, ref), store / "text-de/1")
