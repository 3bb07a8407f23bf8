"""Marginals of pairs that their encoder never learned from, written for training decoders.

Rows of an encoder on its own training pairs are far too clean. So the pairs are cut into folds; an
encoder trained without a fold reads that fold (legonn.md, section 8.8), and its rows are kept as
they would cross the wire: top 16, 8 bits.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import sentencepiece
import torch
from numpy.typing import NDArray
from rapidfuzz.distance import Levenshtein

from legonn_core.encoders.text import TextEncoder
from legonn_core.errors import BadConfig
from legonn_core.interface import codec
from legonn_core.interface.marginals import Marginals
from legonn_core.train import recipe_file
from legonn_core.train.dumps import BLOCKS, INDEX, collapsed
from legonn_core.train.loop import CHECKPOINT
from legonn_core.train.package import TOP_K, averaged_part
from legonn_core.train.text_data import EnglishPieces, Pair, fold_of, read_pairs
from legonn_core.train.text_trainer import TextRecipe, text_networks

BATCH = 16


@dataclass(frozen=True, slots=True)
class DumpRecipe:
    """What a recipe of kind ``dump`` may say.

    Attributes:
        runs: Folders of text trainings, each with a ``fold`` of its own.
        limit: Pairs of each fold, drawn by ``seed``; 0 is all.
    """

    runs: list[str]
    out: str
    limit: int = 0
    seed: int = 1
    threads: int = 1


class DumpTrainer:
    """Runs each encoder over the fold that it was trained without."""

    def __init__(self, recipe: DumpRecipe, *, root: Path) -> None:
        torch.set_num_threads(recipe.threads)
        self.recipe, self.root, self.out = recipe, root, root / recipe.out

    def run(self) -> None:
        """Write the folder, and print how well the rows read the English by themselves."""
        self.out.mkdir(parents=True, exist_ok=True)
        entries: list[tuple[int, int, tuple[int, ...]]] = []
        start = 0
        with (self.out / BLOCKS).open("wb") as file:
            for run in self.recipe.runs:
                wrong = total = 0
                for block, target in self._dumped(self.root / run):
                    data = codec.encode(block)
                    file.write(data)
                    entries.append((start, len(data), target))
                    start += len(data)
                    wrong += Levenshtein.distance(collapsed(block), target)
                    total += len(target)
                share = wrong / max(total, 1)
                print(f"{run}: {share:.1%} token errors read off held-out rows", flush=True)
        (self.out / INDEX).write_text(json.dumps({"entries": entries}), encoding="utf-8")

    def _dumped(self, folder: Path) -> Iterator[tuple[Marginals, tuple[int, ...]]]:
        recipe = run_recipe(folder)
        pieces = EnglishPieces(self.root / recipe.vocabulary)
        pairs = self._held_out(recipe, pieces)
        source = sentencepiece.SentencePieceProcessor(
            model_file=str(self.root / recipe.source_model)
        )
        encoder, _ = text_networks(recipe, source.get_piece_size(), len(pieces.vocabulary))
        encoder.load_state_dict(averaged_part(folder / CHECKPOINT, "encoder"))
        encoder.eval()
        fingerprint = pieces.vocabulary.fingerprint
        for at in range(0, len(pairs), BATCH):
            chosen = pairs[at : at + BATCH]
            for rows, pair in zip(_rows(encoder, source, chosen), chosen, strict=True):
                times = np.arange(len(rows))
                block = Marginals.from_dense(rows, TOP_K, times_ms=times, fingerprint=fingerprint)
                yield block, pair.target

    def _held_out(self, recipe: TextRecipe, pieces: EnglishPieces) -> list[Pair]:
        store = read_pairs(self.root / recipe.pairs, pieces, origin_weights=recipe.origin_weights)
        first, count = fold_of(recipe.fold)
        pairs = list(store.pairs[first::count])
        if self.recipe.limit and self.recipe.limit < len(pairs):
            weights = store.weights[first::count]
            rng = np.random.default_rng(self.recipe.seed)
            keys = rng.random(len(pairs)) ** (1.0 / weights)  # the greatest: drawn by weight
            drawn = np.argsort(-keys, kind="stable")[: self.recipe.limit]
            pairs = [pairs[index] for index in sorted(drawn.tolist())]
        return sorted(pairs, key=lambda pair: len(pair.source))


def run_recipe(folder: Path) -> TextRecipe:
    """The recipe of a fold's training.

    Raises:
        BadConfig: If the folder holds no text training, or one that left no fold out.
    """
    path = folder / recipe_file.KEPT
    if not path.is_file() or not (folder / CHECKPOINT).is_file():
        raise BadConfig(f"{folder}: no {recipe_file.KEPT} with a {CHECKPOINT}: train it first")
    content = recipe_file.read(path)
    content = {key: value for key, value in content.items() if key not in ("kind", "modules")}
    recipe = TextRecipe(**content)  # type: ignore[arg-type]  # as TOML gave it to its training
    if not recipe.fold:
        raise BadConfig(f"{folder}: trained on all pairs; only a run with fold = i/n may be dumped")
    return recipe


@torch.inference_mode()
def _rows(
    encoder: TextEncoder, source: sentencepiece.SentencePieceProcessor, pairs: Sequence[Pair]
) -> list[NDArray[np.float32]]:
    """Natural logarithms (U, V) of each pair's source."""
    limit = encoder.shape.max_tokens
    cut = [torch.tensor((source.encode(pair.source) or [0])[:limit]) for pair in pairs]
    lengths = torch.tensor([len(tokens) for tokens in cut])
    padded = torch.nn.utils.rnn.pad_sequence(cut, batch_first=True)
    logits, rows = encoder(padded, lengths)
    values = logits.float().log_softmax(dim=-1).numpy()
    return [values[place, :count] for place, count in enumerate(rows.tolist())]
