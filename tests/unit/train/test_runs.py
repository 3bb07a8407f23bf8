"""From a recipe to a module that a server takes: both trainers, at the size of a toy."""

from __future__ import annotations

import argparse
import shutil
import tomllib
from dataclasses import asdict
from pathlib import Path

import pytest
import tomli_w
import torch

from legonn_core.errors import BadConfig
from legonn_core.interface.reference import ModuleRef
from legonn_core.modules.registry import load_module
from legonn_core.runtime.host import EngineHost
from legonn_core.runtime.messages import DecodeJob, EncodeResult, EncodeText
from legonn_core.train import command
from legonn_core.train.loop import Budget, TrainingLoop
from legonn_core.train.speech_trainer import SpeechRecipe, SpeechTrainer
from legonn_core.train.text_trainer import TextRecipe, TextTrainer
from legonn_core.train.whisper import read_tensors
from tests.support.tiny import (
    DECODER_SHAPE,
    ENGLISH,
    GERMAN_TEXT,
    SPEECH_SHAPE,
    TEXT_SHAPE,
)
from tests.support.training import write_training_data

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
    "masks": True,
    "encoder": {k: v for k, v in asdict(SPEECH_SHAPE).items() if k not in SKIPPED},
    "sets": [{"path": "set.tsv", "column": "pc"}],
    "modules": [{"name": "speech-en", "kind": "SPEECH_ENCODER", "golden": "golden.flac"}],
}


@pytest.fixture
def root(tiny_store, tmp_path, monkeypatch):
    """A folder with data to learn from, as the working directory."""
    write_training_data(tmp_path, tiny_store)
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
    torch.set_flush_denormal(False)  # a server is another process than the training
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


def test_a_speech_run_may_start_from_another_ones_upper_layers(root):
    assert legonn_train(root, SPEECH) == 0
    theirs = torch.load(root / "work/speech/checkpoint.pt", weights_only=True)["average"]
    recipe = {k: v for k, v in SPEECH.items() if k not in ("kind", "modules")}
    recipe |= {"start": "work/speech/checkpoint.pt", "out": "work/again"}
    started = SpeechTrainer(SpeechRecipe(**recipe), root=root).encoder.state_dict()  # type: ignore[arg-type]  # the recipe as TOML gives it
    whisper = read_tensors(root / "whisper.bin")
    assert torch.allclose(started["head.bias"].float(), theirs["encoder.head.bias"], atol=0.01)
    bias = torch.from_numpy(whisper["conv1/bias"])
    assert torch.allclose(started["conv1.bias"].float(), bias, atol=0.01)


def test_a_decoder_is_trained_further_alone(root, tiny_store):
    for name in ("text-de", "decoder-en"):
        shutil.copytree(tiny_store / name, root / "modules" / name)
    (root / "cmudict").write_text("there DH EH1 R\ntheir DH EH1 R\n", encoding="utf-8")
    recipe: dict[str, object] = {
        "kind": "decoder",
        "encoder": "text-de/1",
        "decoder": "decoder-en/1",
        "pairs": "pairs.tsv",
        "plain": "plain.tsv",
        "lexicon": "cmudict",
        "out": "work/decoder",
        "steps": 6,
        "batch_rows": 200,
        "batch_tokens": 100,
        "joining": {"longest": 40, "pool": 64},
        "modules": [{"name": "decoder-en", "part": "decoder"}],
    }
    assert legonn_train(root, recipe) == 0
    saved = torch.load(root / "work/decoder/checkpoint.pt", weights_only=True)
    assert saved["steps"] == 6
    assert not any(name.startswith("encoder") for name in saved["average"])
    assert legonn_train(root, recipe, "--package", "2") == 0
    card = load_module(root / "modules", ModuleRef("decoder-en", "2")).card
    assert card.training.notes.startswith("Fine-tuned from decoder-en/1.")
    before = load_module(root / "modules", ModuleRef("decoder-en", "1")).network.state_dict()
    after = load_module(root / "modules", ModuleRef("decoder-en", "2")).network.state_dict()
    assert any(not torch.equal(before[name], after[name]) for name in before)


def test_another_language_starts_from_an_encoder(root, capsys):
    assert legonn_train(root, TEXT) == 0
    recipe = {k: v for k, v in TEXT.items() if k not in ("kind", "modules", "decoder")}
    recipe |= {"initial": "work/text/checkpoint.pt", "out": "work/other", "plain": ""}
    trainer = TextTrainer(TextRecipe(**recipe), root=root)  # type: ignore[arg-type] # from TOML
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


COMPOSITION: dict[str, object] = {
    "kind": "composition",
    "encoder": "text-de/1",
    "decoder": "decoder-en/1",
    "out": "work/tuned",
    "steps": 3,
    "warmup_steps": 1,
    "pairs": "pairs.tsv",
    "batch_rows": 200,
    "modules": [{"name": "text-de", "part": "encoder", "data": [["more", "CC0"]]}],
}


@pytest.fixture
def with_modules(root, tiny_store):
    for name in ("text-de", "decoder-en", "speech-en"):
        shutil.copytree(tiny_store / name, root / "modules" / name)
    return root


def test_an_encoder_is_tuned_under_a_decoder_that_stands_still(with_modules, capsys):
    root = with_modules
    recipe = COMPOSITION | {"modules": [
        {**COMPOSITION["modules"][0], "calibrate": {"path": "pairs.tsv", "limit": 9}}  # type: ignore[index] # a list of tables
    ]}  # fmt: skip
    assert legonn_train(root, recipe) == 0
    saved = torch.load(root / "work/tuned/checkpoint.pt", weights_only=True)
    before = load_module(root / "modules", ModuleRef("decoder-en", "1")).network.state_dict()
    for name, values in before.items():
        assert torch.equal(saved["masters"][f"decoder.{name}"], values.bfloat16().float())
    moved = load_module(root / "modules", ModuleRef("text-de", "1")).network.state_dict()
    assert any(
        not torch.equal(saved["masters"][f"encoder.{k}"], v.bfloat16().float())
        for k, v in moved.items()
    )
    assert legonn_train(root, recipe, "--package", "2") == 0
    assert "text-de/2: temperature" in capsys.readouterr().out
    card = load_module(root / "modules", ModuleRef("text-de", "2")).card
    assert card.training.notes == "Fine-tuned from text-de/1."
    assert [source.name for source in card.training.data] == ["none", "more"]


def test_adapters_teach_a_frozen_decoder(with_modules):
    root = with_modules
    recipe = COMPOSITION | {
        "adapter_width": 4,
        "learns": ["decoder.ingestor.adapters"],
        "modules": [{"name": "decoder-en", "part": "decoder"}],
    }
    assert legonn_train(root, recipe) == 0
    assert legonn_train(root, recipe, "--package", "2") == 0
    old, new = (load_module(root / "modules", ModuleRef("decoder-en", v)) for v in "12")
    assert new.card.architecture["adapter_width"] == 4
    assert new.card.num_parameters > old.card.num_parameters
    assert {ref.version for ref in loaded(root / "modules").newest() if "decoder" in ref.name} == {
        "2"
    }


def test_speech_is_tuned_end_to_end(with_modules):
    root = with_modules
    recipe = COMPOSITION | {
        "encoder": "speech-en/1",
        "learns": ["encoder", "decoder"],
        "batch_seconds": 4.0,
        "row_chunks": [4, 8],
        "sets": [{"path": "set.tsv", "column": "pc"}],
    }
    assert legonn_train(root, recipe) == 0
    saved = torch.load(root / "work/tuned/checkpoint.pt", weights_only=True)
    assert saved["steps"] == 3


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"learns": ["nose"]}, "learns names 'nose'"),
        ({"pairs": ""}, "the recipe needs pairs"),
        ({"encoder": "text-de/9"}, "no module text-de/9"),
        ({"share": 0.0}, "leaves no pair"),
    ],
)
def test_a_composition_that_cannot_be_is_refused(with_modules, capsys, change, said):
    assert legonn_train(with_modules, COMPOSITION | change) == 1
    assert said in capsys.readouterr().err


def test_a_plain_baseline_and_a_fold_train_too(root, capsys):
    recipe = TEXT | {"link": "states", "ctc_weight": 0.0, "plain": "", "fold": "1/4", "steps": 2}
    assert legonn_train(root, recipe) == 0
    assert "pairs: 16 kept" in capsys.readouterr().out
    settings = {k: v for k, v in recipe.items() if k not in ("kind", "modules")}
    trainer = TextTrainer(TextRecipe(**settings), root=root)  # type: ignore[arg-type] # from TOML
    assert len(trainer.store.pairs) == 12
    assert set(trainer.backward(0.0)) == {"ce"}


def test_a_text_run_resumes_exactly(root):
    recipe = TEXT | {"steps": 6, "precision": "fp32", "seed": 3}
    settings = {k: v for k, v in recipe.items() if k not in ("kind", "modules")}
    found = []
    for broken in (False, True):
        out = f"work/run{broken}"
        trainer = TextTrainer(TextRecipe(**(settings | {"out": out})), root=root)  # type: ignore[arg-type] # from TOML # fmt: skip
        budget = Budget(0.0, steps=6, warmup_steps=2, save_steps=3)
        if broken:
            trainer.backward = stopped(trainer)  # type: ignore[method-assign] # the power fails
            with pytest.raises(KeyboardInterrupt):
                TrainingLoop(trainer, budget, trainer.out).run()
            trainer = TextTrainer(TextRecipe(**(settings | {"out": out})), root=root)  # type: ignore[arg-type] # from TOML # fmt: skip
        TrainingLoop(trainer, budget, trainer.out).run()
        found.append(trainer.optimizer.masters)
    for name, values in found[0].items():
        torch.testing.assert_close(values, found[1][name])


def stopped(trainer: TextTrainer):
    whole = trainer.backward

    def backward(progress: float) -> dict[str, float]:
        if trainer.optimizer.steps == 5:
            raise KeyboardInterrupt
        return whole(progress)

    return backward


RECIPES = Path(__file__).resolve().parents[3] / "recipes"


@pytest.mark.parametrize("path", sorted(RECIPES.glob("*.toml")), ids=lambda path: path.stem)
def test_every_recipe_is_understood(path):
    recipe, trainer, _ = command.read_recipe(tomllib.loads(path.read_text()), minutes=None)
    assert isinstance(recipe, command.KINDS[tomllib.loads(path.read_text())["kind"]][0])
    assert callable(trainer)


@pytest.mark.parametrize(
    ("recipe", "arguments", "told"),
    [
        (SPEECH | {"sets": [{"path": "set.tsv", "colum": "pc"}]}, (), "sets.colum is not a known"),
        (SPEECH | {"sets": [{"path": "set.tsv"}]}, (), "sets.column is missing"),
    ],
)
def test_a_set_that_cannot_be_is_told_by_its_key(root, capsys, recipe, arguments, told):
    assert legonn_train(root, recipe, *arguments) == 1
    assert told in capsys.readouterr().err
