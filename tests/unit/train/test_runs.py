"""From a recipe to a module that a server takes: both trainers, at the size of a toy."""

from __future__ import annotations

import argparse
import csv
import io
import shutil
import tarfile
from dataclasses import asdict
from pathlib import Path

import pytest
import soundfile
import tomli_w
import torch

from legonn_core.errors import BadConfig
from legonn_core.interface.reference import ModuleRef
from legonn_core.runtime.host import EngineHost
from legonn_core.runtime.messages import DecodeJob, EncodeResult, EncodeText
from legonn_core.train import command
from legonn_core.train.text_trainer import TextRecipe, TextTrainer
from tests.support.tiny import (
    DECODER_SHAPE,
    ENGLISH,
    GERMAN_TEXT,
    SPEECH_SHAPE,
    TEXT_SHAPE,
    speech,
    speech_encoder,
)
from tests.support.whisper_file import trunk_tensors, write

SKIPPED = {"num_classes", "source_pieces", "dropout"}
TEXT: dict[str, object] = {
    "kind": "text",
    "pairs": "pairs.tsv",
    "plain": "plain.tsv",
    "vocabulary": "modules/en/1",
    "source_model": "source.model",
    "out": "work/text",
    "minutes": 0.004,
    "batch_rows": 200,
    "ctc_only_steps": 1,
    "warmup_steps": 2,
    "simulated_share": 0.5,
    "encoder": {k: v for k, v in asdict(TEXT_SHAPE).items() if k not in SKIPPED},
    "decoder": {k: v for k, v in asdict(DECODER_SHAPE).items() if k not in SKIPPED},
    "modules": [
        {
            "name": "text-de",
            "part": "encoder",
            "kind": "TEXT_ENCODER",
            "source_language": "de",
            "golden": GERMAN_TEXT[0],
            "data": [["made up", "CC0"]],
        },
        {"name": "decoder-en", "part": "decoder", "kind": "DECODER", "golden": ENGLISH[0]},
    ],
}
SPEECH: dict[str, object] = {
    "kind": "speech",
    "vocabulary": "modules/en/1",
    "whisper": "whisper.bin",
    "out": "work/speech",
    "minutes": 0.004,
    "frozen_share": 0.3,
    "warmup_steps": 2,
    "batch_seconds": 4.0,
    "row_chunks": [4, 8],
    "character_weight": 0.3,
    "encoder": {k: v for k, v in asdict(SPEECH_SHAPE).items() if k not in SKIPPED},
    "sets": [{"path": "set.tsv", "column": "pc"}],
    "modules": [{"name": "speech-en", "kind": "SPEECH_ENCODER", "golden": "golden.flac"}],
}


@pytest.fixture
def root(tiny_store, tmp_path, monkeypatch):
    """A folder with data to learn from, as the working directory."""
    shutil.copytree(tiny_store / "en", tmp_path / "modules/en")
    shutil.copy(tiny_store / "text-de/1/source.model", tmp_path / "source.model")
    pairs = [f"{de}\t{en}\tmade up" for de in GERMAN_TEXT for en in ENGLISH[:4]]
    (tmp_path / "pairs.tsv").write_text("\n".join(pairs) + "\n", encoding="utf-8")
    plain = [f"{text}\tmade up" for text in ENGLISH]
    (tmp_path / "plain.tsv").write_text("\n".join(plain) + "\n", encoding="utf-8")
    write(tmp_path / "whisper.bin", trunk_tensors(speech_encoder(seed=7)))
    with (tmp_path / "set.tsv").open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file, delimiter="\t", quoting=csv.QUOTE_NONE)
        table.writerow(("path", "pc_match", "pc"))
        table.writerows((f"{i}.wav", "1.0", text) for i, text in enumerate(ENGLISH))
    with tarfile.open(tmp_path / "set.tar", "w") as archive:
        for i in range(len(ENGLISH)):
            audio = io.BytesIO()
            soundfile.write(audio, speech(9000, seed=i), 16000, format="WAV")
            member = tarfile.TarInfo(f"{i}.wav")
            member.size = len(audio.getvalue())
            audio.seek(0)
            archive.addfile(member, audio)
    soundfile.write(tmp_path / "golden.flac", speech(50_000, seed=3), 16000)
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    torch.set_flush_denormal(False)


def legonn_train(root: Path, recipe: dict[str, object], *arguments: str) -> int:
    path = root / f"{recipe['kind']}.toml"
    path.write_text(tomli_w.dumps(recipe), encoding="utf-8")
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    return command.run(parser.parse_args([str(path), *arguments]))


def loaded(store: Path) -> EngineHost:
    host = EngineHost(store, slots=1)
    for ref in host.newest():
        host.load(ref)
    return host


def test_text_is_trained_resumed_packaged_and_served(root, capsys):
    assert legonn_train(root, TEXT) == 0
    first = torch.load(root / "work/text/checkpoint.pt", weights_only=True)
    assert first["steps"] >= 1
    longer = str(first["seconds"] / 60 + 0.004)
    assert legonn_train(root, TEXT, "--minutes", longer) == 0
    second = torch.load(root / "work/text/checkpoint.pt", weights_only=True)
    assert second["steps"] > first["steps"]
    assert second["seconds"] > first["seconds"]
    assert not list((root / "work/text").glob("*.partial"))

    assert legonn_train(root, TEXT, "--package", "7") == 0
    assert "text-de/7: 9,840 parameters" in capsys.readouterr().out
    host = loaded(root / "modules")
    german, english = ModuleRef("text-de", "7"), ModuleRef("decoder-en", "7")
    assert {one.ref for one in host.describe()} == {german, english}
    host.accept(1, EncodeText(german, GERMAN_TEXT[1]))
    ((_, encoded),) = host.turn()
    assert isinstance(encoded, EncodeResult)
    host.accept(2, DecodeJob(english, (encoded.marginals,)))
    while host.has_work:
        answers = host.turn()
    assert answers[0][1].hypotheses


def test_speech_is_trained_and_packaged(root):
    assert legonn_train(root, SPEECH) == 0
    saved = torch.load(root / "work/speech/checkpoint.pt", weights_only=True)
    assert saved["steps"] >= 1
    assert all(bool(values.isfinite().all()) for values in saved["average"].values())
    assert legonn_train(root, SPEECH, "--package", "2") == 0
    (description,) = loaded(root / "modules").describe()
    assert description.ref == ModuleRef("speech-en", "2")
    assert description.chunk_samples == SPEECH_SHAPE.chunk_samples


def test_another_language_starts_from_an_encoder(root, capsys):
    assert legonn_train(root, TEXT) == 0
    recipe = {k: v for k, v in TEXT.items() if k not in ("kind", "modules", "decoder")}
    recipe |= {"initial": "work/text/checkpoint.pt", "out": "work/other", "plain": ""}
    trainer = TextTrainer(TextRecipe(**recipe), root=root)  # type: ignore[arg-type]
    assert "started from text: 44 source pieces shared" in capsys.readouterr().out
    theirs = torch.load(root / "work/text/checkpoint.pt", weights_only=True)["average"]
    ours = trainer.encoder.state_dict()
    assert torch.equal(ours["head.weight"], theirs["encoder.head.weight"].bfloat16())
    loss, report = trainer.joint_loss()
    assert set(report) == {"ctc"}
    assert loss.isfinite()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"kind": "music"}, "kind is 'music'; it must be one of text, speech"),
        ({"colour": 1}, "unknown key 'colour'; known: batch_rows, "),
        ({"pairs": None}, "missing 1 required positional argument: 'pairs'"),
    ],
)
def test_a_recipe_that_says_nonsense_is_refused(change, said):
    content = {k: v for k, v in (TEXT | change).items() if v is not None}
    with pytest.raises(BadConfig, match=said):
        command.read_recipe(content, minutes=None)


def test_refusals_are_sentences_on_stderr(root, capsys):
    assert legonn_train(root, TEXT | {"colour": 1}) == 1
    (root / "text.toml").write_text("kind = ")
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    for name in ("text.toml", "nowhere.toml"):
        assert command.run(parser.parse_args([str(root / name)])) == 1
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 3
    assert all(line.startswith("legonn train: ") for line in said)


def test_minutes_on_the_command_line_win():
    recipe, trainer, described = command.read_recipe(TEXT, minutes=3.0)
    assert recipe.minutes == 3.0
    assert trainer is TextTrainer
    assert [entry["name"] for entry in described] == ["text-de", "decoder-en"]
