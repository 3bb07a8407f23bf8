"""Make a vocabulary: English with its closed alphabet, or the pieces of a source language."""

from __future__ import annotations

import collections
import csv
import random
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import sentencepiece

from legonn_core.errors import BadConfig
from legonn_core.interface.tables import read_table
from legonn_core.interface.vocabulary import Vocabulary, normalize_english
from legonn_core.train.text_data import open_text

SIGNS = "€£°§©®"
"""Kept beside ASCII and Latin letters if the text uses them."""


@dataclass(frozen=True, slots=True)
class TextSource:
    """One file of text.

    Attributes:
        path: TSV, plain or xz.
        column: Its index, or its name where the file has a header.
        keep: Share of rows to draw.
        origin_column: Index of the column that names a row's origin; -1: there is none.
        origin_keep: Share by origin, in place of ``keep``.
    """

    path: str
    column: int | str
    keep: float = 1.0
    origin_column: int = -1
    origin_keep: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class PiecesRecipe:
    """What a recipe of kind ``vocabulary`` or ``pieces`` may say.

    Attributes:
        sources: Tables with the fields of ``TextSource``.
        out: A folder such as ``modules/en/2`` for a vocabulary, a ``.model`` file for pieces.
        name: Of the vocabulary, for example ``en/2``; empty makes source pieces.
        size: Pieces; a vocabulary's first is the blank.
        least: A character seen less often is not in a vocabulary's alphabet.
    """

    sources: list[dict[str, object]]
    out: str
    size: int
    name: str = ""
    least: int = 30
    seed: int = 1
    threads: int = 2


class PiecesTrainer:
    """Draws the text and trains SentencePiece on it."""

    def __init__(self, recipe: PiecesRecipe, *, root: Path) -> None:
        self.recipe, self.root, self.out = recipe, root, root / recipe.out
        if self.out.exists():
            raise BadConfig(f"{recipe.out} is there already; a vocabulary is never made anew")

    def run(self) -> None:
        """Write the pieces, and for a vocabulary its ``vocabulary.json``."""
        recipe, rng = self.recipe, random.Random(self.recipe.seed)
        lines = [
            line
            for entry in recipe.sources
            for line in _drawn(self.root, read_table(TextSource, entry, "sources"), rng)
        ]
        if recipe.name:
            lines = _in_alphabet([normalize_english(line) for line in lines], recipe.least)
        print(f"{len(lines)} lines of text", flush=True)
        with tempfile.TemporaryDirectory() as folder:
            text = Path(folder) / "text.txt"
            text.write_text("\n".join(lines), encoding="utf-8")
            self._train(text, Path(folder) / "pieces")
            model = (Path(folder) / "pieces.model").read_bytes()
        if not recipe.name:
            self.out.parent.mkdir(parents=True, exist_ok=True)
            self.out.write_bytes(model)
            return
        self.out.mkdir(parents=True)
        (self.out / "pieces.model").write_bytes(model)
        processor = sentencepiece.SentencePieceProcessor(model_proto=model)
        tokens = tuple(processor.id_to_piece(i) for i in range(processor.get_piece_size()))
        vocabulary = Vocabulary(recipe.name, tokens)
        (self.out / "vocabulary.json").write_text(vocabulary.to_json(), encoding="utf-8")
        print(f"{recipe.name}: {len(vocabulary)} classes, fingerprint {vocabulary.fingerprint}")

    def _train(self, text: Path, prefix: Path) -> None:
        recipe = self.recipe
        common: dict[str, Any] = {
            "input": str(text),
            "model_prefix": str(prefix),
            "vocab_size": recipe.size,
            "bos_id": -1,
            "eos_id": -1,
            "pad_id": -1,
            "unk_id": 0,
            "split_digits": True,
            "num_threads": recipe.threads,
            "max_sentence_length": 2000,
            "minloglevel": 1,
        }
        if recipe.name:
            # SentencePiece wants an unknown piece; the closed alphabet never needs it, so its
            # place is the blank's and piece ids are class ids.
            own: dict[str, Any] = {
                "model_type": "unigram",
                "unk_piece": "<blank>",
                "character_coverage": 1.0,
                "normalization_rule_name": "identity",
                "input_sentence_size": 400_000,
                "shuffle_input_sentence": True,
            }
        else:
            own = {
                "model_type": "bpe",
                "byte_fallback": True,
                "character_coverage": 0.9998,
                "normalization_rule_name": "nmt_nfkc",
            }
        sentencepiece.SentencePieceTrainer.train(**common, **own)


def _drawn(root: Path, source: TextSource, rng: random.Random) -> Iterator[str]:
    path = root / source.path
    if isinstance(source.column, str):
        with path.open(encoding="utf-8", newline="") as file:
            for row in csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE):
                if source.keep >= 1.0 or rng.random() < source.keep:
                    yield row[source.column]
        return
    for line in open_text(path):
        fields = line.split("\t")
        keep = source.keep
        if source.origin_column >= 0:
            keep = source.origin_keep.get(fields[source.origin_column], keep)
        if rng.random() < keep:
            yield fields[source.column]


def _in_alphabet(lines: list[str], least: int) -> list[str]:
    """The lines whose characters are all common: ASCII, Latin letters and a few signs."""
    counts = collections.Counter(character for line in lines for character in line)
    alphabet = {
        character
        for character, count in counts.items()
        if count >= least
        and (ord(character) < 127 or 0xC0 <= ord(character) <= 0x17F or character in SIGNS)
    }
    return [line for line in lines if line and set(line) <= alphabet]
