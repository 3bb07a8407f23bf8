from __future__ import annotations

import argparse
import csv
import json
from pathlib import Path

import pytest
import soundfile

from legonn_core.evaluate import command
from tests.support.tiny import ENGLISH, GERMAN_TEXT, speech


def evaluate(*words: str) -> int:
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    return command.run(parser.parse_args(list(words)))


@pytest.fixture
def sets(tmp_path: Path) -> Path:
    lines = [f"{de}\t{en}" for de, en in zip(GERMAN_TEXT, ENGLISH[:4], strict=True)]
    (tmp_path / "dev.tsv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    folder = tmp_path / "recordings"
    folder.mkdir()
    with (folder / "recordings.tsv").open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file, delimiter="\t", quoting=csv.QUOTE_NONE)
        table.writerow(("id", "path", "transcript", "normalized"))
        for index, seconds in enumerate((0.6, 0.9, 30)):
            audio = speech(int(seconds * 16000), seed=index)
            soundfile.write(folder / f"{index}.flac", audio, 16000)
            table.writerow((f"r{index}", f"{index}.flac", ENGLISH[index], ENGLISH[index]))
    return tmp_path


def test_translation_is_measured_with_and_without_the_decoder(tiny_store, sets, capsys):
    out = sets / "mt.json"
    assert evaluate("mt", "--set", f"{sets}/dev.tsv:de", "--store", str(tiny_store),
                    "--json", str(out), "--picture", str(sets / "mt.svg")) == 0  # fmt: skip
    result = json.loads(out.read_text())
    found = [(c["condition"], c["decoder"], c["score"]["name"]) for c in result["cells"]]
    assert found == [
        ("greedy", "–", "BLEU"),
        ("greedy", "–", "chrF"),
        ("joint search", "decoder-en/1", "BLEU"),
        ("joint search", "decoder-en/1", "chrF"),
        ("re-translation", "–", "LAAL"),
        ("re-translation", "–", "erasure"),
    ]
    lag = next(c["score"] for c in result["cells"] if c["score"]["name"] == "LAAL")
    assert 0 < lag["value"] < 9 and "source words" in lag["signature"]
    assert str(tiny_store) not in result["command"]
    assert "sacrebleu|" in capsys.readouterr().out
    assert (sets / "mt.svg").exists()


def test_recognition_is_measured_with_lag_and_erasure(tiny_store, sets):
    out = sets / "asr.json"
    assert evaluate("asr", "--set", str(sets / "recordings"), "--store", str(tiny_store),
                    "--json", str(out)) == 0  # fmt: skip
    result = json.loads(out.read_text())
    names = [(c["score"]["name"], c["items"]) for c in result["cells"]]
    assert names == [("WER", 2), ("WER", 2), ("LAAL", 2), ("erasure", 2)]
    assert "r2" in result["facts"]["skipped"][0]  # longer than a segment


def test_the_swap_matrix_has_every_control(tiny_store, sets):
    out = sets / "swap.json"
    assert evaluate("swap", "--set", f"{sets}/dev.tsv:de", "--store", str(tiny_store), "--every",
                    "--json", str(out)) == 0  # fmt: skip
    assert json.loads(out.read_text())["command"].endswith(":de --every")
    conditions = {c["condition"] for c in json.loads(out.read_text())["cells"]}
    assert conditions == {
        "greedy", "joint search", "marginals", "one-hot", "shuffled", "another item's", "uniform",
        "cascade of best texts",
    }  # fmt: skip


def test_the_wire_is_measured_from_one_class_to_all(tiny_store, sets):
    out = sets / "wire.json"
    assert evaluate("wire", "--set", f"{sets}/dev.tsv:de", "--store", str(tiny_store),
                    "--top", "1", "0", "--json", str(out)) == 0  # fmt: skip
    cells = json.loads(out.read_text())["cells"]
    conditions = list(dict.fromkeys(cell["condition"] for cell in cells))
    assert conditions == ["top 1, float", "top 1, 8-bit", "top all, float", "top all, 8-bit"]
    nats = {c["condition"]: c["score"]["value"] for c in cells if c["score"]["name"] == "surprise"}
    assert abs(nats["top all, float"] - nats["top all, 8-bit"]) < 0.05
    assert nats["top 1, float"] != nats["top all, float"]


def test_what_one_decoder_saves(tiny_store, tmp_path, capsys):
    assert evaluate("reuse", "--store", str(tiny_store), "--json", str(tmp_path / "r.json")) == 0
    facts = json.loads((tmp_path / "r.json").read_text())["facts"]
    assert facts["tasks"] == 2
    decoder = facts["modules"]["decoder-en/1"]
    assert facts["parameters_separate"] - facts["parameters_shared"] == decoder
    assert facts["modules_loaded"] == 4  # two encoders, and a decoder for each
    assert facts["resident_mib_separate"] >= facts["resident_mib_shared"] > -1.0
    assert "saved_share" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("mt",), "nothing to do"),
        (("mt", "--set", "nowhere.tsv:de"), "nowhere.tsv"),
        (("mt", "--set", "dev.tsv:fr"), "no encoder"),
        (("asr", "--set", "nowhere"), "no such folder"),
    ],
)
def test_what_is_missing_is_said(tiny_store, capsys, words, said):
    assert evaluate(*words, "--store", str(tiny_store)) == 1
    assert said in capsys.readouterr().err


def test_a_module_is_named_with_its_version(capsys):
    with pytest.raises(SystemExit) as stop:
        evaluate("mt", "--decoder", "decoder-en")
    assert stop.value.code == 2
    assert "name/version" in capsys.readouterr().err
