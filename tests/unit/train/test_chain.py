"""Speech behind a trunk that stands still: alone, with a decoder, and as a chain of three."""

from __future__ import annotations

import argparse
import csv
import json
import shutil
from dataclasses import asdict
from pathlib import Path

import pytest
import soundfile
import tomli_w
import torch

from legonn_core.evaluate import command as evaluate_command
from legonn_core.train import command as train_command
from legonn_core.train.chain import is_trunk
from tests.support.tiny import DECODER_SHAPE, ENGLISH, SPEECH_SHAPE, speech
from tests.support.training import write_training_data

SKIPPED = {"num_classes", "source_pieces", "dropout"}
SIZES = {k: v for k, v in asdict(SPEECH_SHAPE).items() if k not in SKIPPED}
SPEECH: dict[str, object] = {
    "kind": "chain",
    "vocabulary": "modules/en/1",
    "whisper": "whisper.bin",
    "dictionary": "dictionary",
    "out": "work/alone",
    "minutes": 1,
    "steps": 2,
    "feature_hours": 0.004,
    "batch_seconds": 4.0,
    "row_chunks": [4, 8],
    "ctc_only_steps": 0,
    "encoder": SIZES,
    "sets": [{"path": "set.tsv", "column": "pc"}],
}
PHONES: dict[str, object] = {
    "kind": "phones",
    "plain": "plain.tsv",
    "dictionary": "dictionary",
    "vocabulary": "modules/en/1",
    "out": "work/phones",
    "minutes": 1,
    "steps": 2,
    "batch_rows": 1200,
    "middle": {"width": 16, "hidden": 32, "num_heads": 2, "ingestor_layers": 1, "window": 4},
}
READS_PHONES = {"writes": "phones", "encoder": SIZES | {"pairs_per_row": 1, "chunk_rows": 8}}


@pytest.fixture
def root(tiny_store, tmp_path, monkeypatch) -> Path:
    """A folder with data, modules and a set to evaluate on, as the working directory."""
    write_training_data(tmp_path, tiny_store)
    shutil.copytree(tiny_store / "decoder-en", tmp_path / "modules/decoder-en")
    folder = tmp_path / "recordings"
    folder.mkdir()
    with (folder / "recordings.tsv").open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file, delimiter="\t", quoting=csv.QUOTE_NONE)
        table.writerow(("id", "path", "transcript", "normalized"))
        for index in range(2):
            soundfile.write(folder / f"{index}.flac", speech(12_000, seed=index), 16000)
            table.writerow((f"r{index}", f"{index}.flac", ENGLISH[index], ENGLISH[index]))
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    torch.set_flush_denormal(False)


def called(module, *words: str) -> int:
    parser = argparse.ArgumentParser()
    module.add_arguments(parser)
    return int(module.run(parser.parse_args(list(words))))


def trained(root: Path, recipe: dict[str, object]) -> dict[str, torch.Tensor]:
    path = root / "recipe.toml"
    path.write_text(tomli_w.dumps(recipe), encoding="utf-8")
    assert called(train_command, str(path)) == 0
    saved = torch.load(root / str(recipe["out"]) / "checkpoint.pt", weights_only=True)
    assert saved["steps"] == 2
    return dict(saved["masters"])


def test_a_baseline_and_an_encoder_alone_hear_the_trunk_once(root, capsys):
    alone = trained(root, SPEECH)
    assert not [name for name in alone if is_trunk(name)]
    assert "the trunk hears" in capsys.readouterr().out
    sizes = {k: v for k, v in asdict(DECODER_SHAPE).items() if k not in SKIPPED}
    own = SPEECH | {"out": "work/baseline", "link": "states", "decoder": sizes}
    assert any(name.startswith("decoder.") for name in trained(root, own))
    assert "rows heard before" in capsys.readouterr().out
    assert called(
        evaluate_command, "exchange", "work/alone", "work/baseline", "--set", "recordings",
        "--decoder", "decoder-en/1", "--against", "baseline", "--json", "speech.json",
    ) == 0  # fmt: skip
    cells = json.loads(Path("speech.json").read_text())["cells"]
    pairs = {(c["encoder"], c["decoder"]) for c in cells if c["decoder"] != "–"}
    assert pairs == {("alone", "decoder-en/1"), ("baseline", "baseline")}
    assert {c["score"]["name"] for c in cells} == {"WER", "ΔWER"}


def test_three_modules_are_plugged_together_and_tuned_as_one(root):
    first = trained(root, SPEECH | READS_PHONES | {"out": "work/speech-phones"})
    assert first["encoder.speech.head.weight"].shape[0] == 41
    trained(root, PHONES)
    chain = SPEECH | {
        "out": "work/tuned", "writes": "phones", "encoder": {}, "rate": 1e-3,
        "encoder_run": "work/speech-phones", "middle_run": "work/phones",
        "decoder_module": "decoder-en/1",
    }  # fmt: skip
    tuned = trained(root, chain)
    name = "encoder.speech.head.weight"
    assert tuned[name].shape == first[name].shape and not torch.equal(tuned[name], first[name])
    for path, decoder in (("work/speech-phones+work/phones", "decoder-en/1"), ("work/tuned", "")):
        chosen = ("--decoder", decoder) if decoder else ()
        out = f"{Path(path).name}.json"
        assert called(evaluate_command, "exchange", path, "--set", "recordings", *chosen,
                      "--json", out) == 0  # fmt: skip
        assert json.loads(Path(out).read_text())["cells"]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"writes": "letters"}, "writes is 'letters'"),
        ({"middle": PHONES["middle"]}, "reads phones"),
        ({"writes": "phones", "dictionary": ""}, "phones need a dictionary"),
        ({"learns": ["nose"]}, "no parameter's name begins so"),
    ],
)
def test_a_chain_that_cannot_be_is_refused(root, capsys, change, said):
    path = root / "recipe.toml"
    path.write_text(tomli_w.dumps(SPEECH | change), encoding="utf-8")
    assert called(train_command, str(path)) == 1
    assert said in capsys.readouterr().err
