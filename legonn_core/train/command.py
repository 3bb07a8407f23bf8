"""``legonn train RECIPE``: run a recipe, resume it, write what it trained into a module store."""

from __future__ import annotations

import argparse
import dataclasses
import sys
import tomllib
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import sentencepiece
import soundfile
from numpy.typing import NDArray

from legonn_core.decoders.decoder import DecoderShape
from legonn_core.encoders.speech import SpeechEncoderShape
from legonn_core.encoders.text import TextEncoderShape
from legonn_core.errors import BadConfig, LegonnError
from legonn_core.interface.card import Calibration, DataSource, DecodingDefaults, ModuleKind
from legonn_core.interface.reference import ModuleRef
from legonn_core.interface.tables import TableError, read_table
from legonn_core.train import recipe_file
from legonn_core.train.bands import write_bands
from legonn_core.train.calibrate import calibrated_module
from legonn_core.train.chain import ChainRecipe
from legonn_core.train.chain_trainer import ChainTrainer
from legonn_core.train.composition_trainer import CompositionRecipe, CompositionTrainer
from legonn_core.train.decoder_trainer import DecoderRecipe, DecoderTrainer
from legonn_core.train.dump_trainer import DumpRecipe, DumpTrainer
from legonn_core.train.loop import CHECKPOINT, averaged_checkpoints
from legonn_core.train.package import (
    Packaging,
    averaged_part,
    golden_source,
    minutes_of,
    part_of,
    write_module,
)
from legonn_core.train.packing import PackRecipe, PackTrainer
from legonn_core.train.phones_trainer import PhonesRecipe, PhonesTrainer
from legonn_core.train.pieces import PiecesRecipe, PiecesTrainer
from legonn_core.train.repackage import fine_tuned
from legonn_core.train.speech_trainer import SpeechRecipe, SpeechTrainer
from legonn_core.train.text_data import EnglishPieces
from legonn_core.train.text_trainer import TextRecipe, TextTrainer

HELP = "train modules from a recipe (needs legonn[train])"
EXAMPLES = """examples:
  legonn train recipes/text-de.toml                train; run again to resume
  legonn train recipes/text-de.toml --minutes 1    a short trial
  legonn train recipes/text-de.toml --package 2    write version 2 into modules/
  legonn train recipes/baseline-ro.toml --with seed=2 --with out=work/second
  legonn train recipes/decoder-en.toml             train the decoder alone, further
  legonn train recipes/tune-ro.toml                fine-tune text-ro with the shared decoder

Beside checkpoint.pt a run leaves recipe.toml (as it was changed), curves.jsonl and, at its end,
curves.svg. Keys steps, keep, device (cpu, cuda, auto) and precision (bf16, fp32) are in every
recipe that trains.
"""

TrainedRecipe = TextRecipe | SpeechRecipe | CompositionRecipe | DecoderRecipe
Experiment = ChainRecipe | PhonesRecipe
Preparation = PiecesRecipe | PackRecipe | DumpRecipe
Recipe = TrainedRecipe | Experiment | Preparation

KINDS = {
    "text": (TextRecipe, TextTrainer),
    "speech": (SpeechRecipe, SpeechTrainer),
    "vocabulary": (PiecesRecipe, PiecesTrainer),
    "pieces": (PiecesRecipe, PiecesTrainer),
    "decoder": (DecoderRecipe, DecoderTrainer),
    "composition": (CompositionRecipe, CompositionTrainer),
    "chain": (ChainRecipe, ChainTrainer),
    "phones": (PhonesRecipe, PhonesTrainer),
    "dump": (DumpRecipe, DumpTrainer),
    "pack": (PackRecipe, PackTrainer),
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("recipe", type=Path, help="a TOML file; recipes/ has those of the modules")
    parser.add_argument("--minutes", type=float, help="train this long in all, not the recipe's")
    parser.add_argument(
        "--with",
        metavar="KEY=VALUE",
        dest="changes",
        action="append",
        default=[],
        help="change the recipe, such as seed=2 or encoder.width=192; repeatable",
    )
    parser.add_argument(
        "--package", metavar="VERSION", help="do not train; write the checkpoint as this version"
    )
    parser.add_argument(
        "--average",
        metavar="N",
        type=int,
        help="with --package: the mean of the last N kept checkpoints, not the running average",
    )
    parser.add_argument("--store", type=Path, default=Path("modules"), help="module store")


def run(arguments: argparse.Namespace) -> int:
    """Run the command; the exit status."""
    try:
        content = recipe_file.read(arguments.recipe, arguments.changes)
        recipe, trainer, described = read_recipe(content, minutes=arguments.minutes)
        if arguments.package and isinstance(recipe, Experiment):
            raise BadConfig("a run of this kind is no module: legonn evaluate exchange reads it")
        if arguments.package and isinstance(recipe, TrainedRecipe):
            for entry in described:
                _package(entry, recipe, arguments)
            return 0
        job = trainer(recipe, root=Path.cwd())
        if not isinstance(recipe, Preparation):
            recipe_file.keep(Path(recipe.out), content)
        job.run()
        return 0
    except (LegonnError, OSError, TableError, tomllib.TOMLDecodeError) as error:
        print(f"legonn train: {arguments.recipe}: {error}", file=sys.stderr)
        return 1


def _package(
    entry: Mapping[str, object], recipe: TrainedRecipe, arguments: argparse.Namespace
) -> None:
    """Write one module of a recipe, and calibrate it where its table says on what."""
    if isinstance(recipe, CompositionRecipe | DecoderRecipe):
        packaging = fine_tuned(
            entry, recipe, version=arguments.package, recipe_path=arguments.recipe
        )
    else:
        packaging = _packaging(entry, recipe, arguments)
    changed = " ".join(f"With {change}." for change in arguments.changes)
    packaging = dataclasses.replace(
        packaging,
        notes=f"{packaging.notes} {changed}".strip(),
        minutes=minutes_of(Path(recipe.out) / CHECKPOINT),
    )
    part = str(entry.get("part", "encoder"))
    if arguments.average:
        mean = averaged_checkpoints(Path(recipe.out), arguments.average)
        parameters = part_of(mean, part)
    else:
        parameters = averaged_part(Path(recipe.out) / CHECKPOINT, part)
    card = write_module(arguments.store, packaging, parameters)
    size = sum(d.num_bytes for d in card.weights.values()) / 2**20
    print(f"{packaging.ref}: {card.num_parameters:,} parameters, {size:.1f} MiB")
    if isinstance(held_out := entry.get("calibrate"), dict):
        found, before, after = calibrated_module(arguments.store, packaging.ref, held_out)
        print(
            f"{packaging.ref}: temperature {found.temperature}, blank bias {found.blank_bias};"
            f" CTC {before:.3f} to {after:.3f} nats a token on {held_out['path']}"
        )
    if isinstance(held_out := entry.get("bands", held_out), dict):
        bands = write_bands(arguments.store, packaging.ref, held_out)
        print(f"{packaging.ref}: {bands.blank_low} to {bands.blank_high} of the rows blank")


def read_recipe(
    content: Mapping[str, object], *, minutes: float | None
) -> tuple[Recipe, type, list[dict[str, object]]]:
    """Split a recipe's TOML into settings, trainer and the modules it makes.

    Raises:
        BadConfig: Naming the key that is unknown or missing.
    """
    values = dict(content)
    kind, described = values.pop("kind", None), values.pop("modules", [])
    if kind not in KINDS:
        raise BadConfig(f"kind is {kind!r}; it must be one of {', '.join(KINDS)}")
    settings, trainer = KINDS[str(kind)]
    fields = {f.name for f in dataclasses.fields(settings)}
    if unknown := sorted(set(values) - fields):
        raise BadConfig(f"unknown key {unknown[0]!r}; known: {', '.join(sorted(fields))}")
    if minutes is not None and "minutes" in fields:
        values["minutes"] = minutes
    try:
        recipe = settings(**values)
    except TypeError as error:
        raise BadConfig(str(error)) from error
    assert isinstance(described, list)
    return recipe, trainer, described


def _packaging(
    entry: Mapping[str, object],
    recipe: TextRecipe | SpeechRecipe,
    arguments: argparse.Namespace,
) -> Packaging:
    kind = ModuleKind(entry["kind"])
    source = Path(recipe.source_model) if isinstance(recipe, TextRecipe) else None
    sizes = _architecture(kind, recipe, source)
    data = entry.get("data", [])
    assert isinstance(data, list)
    return Packaging(
        ref=ModuleRef(str(entry["name"]), arguments.package),
        kind=kind,
        source_language=str(entry.get("source_language", "en")),
        vocabulary=recipe.vocabulary.removeprefix("modules/"),
        recipe=arguments.recipe,
        data=tuple(DataSource(*row) for row in data),
        notes=str(entry.get("notes", "")),
        architecture=sizes,
        golden_input=_golden_input(kind, str(entry["golden"]), recipe, source),
        source_model=source if kind is ModuleKind.TEXT_ENCODER else None,
        calibration=read_table(Calibration, _table(entry, "calibration"), "calibration"),
        decoding=read_table(DecodingDefaults, _table(entry, "decoding"), "decoding"),
    )


def _architecture(
    kind: ModuleKind, recipe: TextRecipe | SpeechRecipe, source: Path | None
) -> dict[str, int | float | str | bool]:
    """Every size of the network, defaults included: a card must not lean on today's defaults."""
    shape: SpeechEncoderShape | DecoderShape | TextEncoderShape
    if isinstance(recipe, SpeechRecipe):
        shape = SpeechEncoderShape(num_classes=0, **recipe.encoder)
    elif kind is ModuleKind.DECODER:
        shape = DecoderShape(num_classes=0, **recipe.decoder)
    else:
        processor = sentencepiece.SentencePieceProcessor(model_file=str(source))
        shape = TextEncoderShape(processor.get_piece_size(), 0, **recipe.encoder)
    sizes = dataclasses.asdict(shape)
    return {name: value for name, value in sizes.items() if name not in ("num_classes", "dropout")}


def _golden_input(
    kind: ModuleKind, golden: str, recipe: TextRecipe | SpeechRecipe, source: Path | None
) -> NDArray[np.generic]:
    """A recording for speech (its first four chunks), a sentence for the others."""
    if kind is ModuleKind.SPEECH_ENCODER:
        samples, _ = soundfile.read(golden, dtype="int16")
        return np.asarray(samples[: 4 * 10240])
    if kind is ModuleKind.TEXT_ENCODER:
        assert source is not None
        return golden_source(source, golden)
    tokens = EnglishPieces(Path(recipe.vocabulary)).encode(golden)
    assert tokens is not None
    return np.asarray(tokens, dtype=np.int32)


def _table(entry: Mapping[str, object], key: str) -> Mapping[str, object]:
    """A table inside another; empty if it is not there."""
    found = entry.get(key, {})
    if not isinstance(found, Mapping):
        raise BadConfig(f"{key} is not a table")
    return found
