"""What a training left in its folder, as networks that can be run: also what is no module.

A baseline hands on hidden states, a control has no CTC: neither may be packaged, for neither keeps
the contract. They are built again from the recipe that lies beside their checkpoint.
"""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import sentencepiece
import torch
from torch import Tensor, nn

from legonn_core.decoders.decoder import Decoder
from legonn_core.encoders.text import TextEncoder
from legonn_core.errors import BadConfig
from legonn_core.evaluate.pipeline import BATCH
from legonn_core.interface.card import Calibration
from legonn_core.interface.reference import ModuleRef
from legonn_core.interface.vocabulary import Vocabulary
from legonn_core.modules.registry import load_module
from legonn_core.train import recipe_file
from legonn_core.train.command import read_recipe
from legonn_core.train.composition import Boundary, Composition, Link
from legonn_core.train.loop import CHECKPOINT
from legonn_core.train.package import averaged_part
from legonn_core.train.text_data import EnglishPieces
from legonn_core.train.text_trainer import TextRecipe, text_networks


@dataclass(frozen=True, slots=True)
class Writer:
    """What makes rows of inputs: an encoder, or a chain of modules that ends in one.

    Attributes:
        name: Of the run, or of the module.
        network: Encoder and middle modules; no decoder.
        vocabulary: Of the rows.
        is_grounded: Whether CTC says what the rows mean.
        source: Cuts source text; None hears speech.
        calibration: Of a packaged encoder, from its card; a run has none.
    """

    name: str
    network: Composition
    vocabulary: Vocabulary
    is_grounded: bool
    source: sentencepiece.SentencePieceProcessor | None = None
    calibration: Calibration = Calibration()

    @property
    def link(self) -> Link:
        """What its last boundary hands on."""
        return self.network.boundaries[-1].link

    @torch.inference_mode()
    def read(self, sentences: Sequence[str]) -> list[Tensor]:
        """Logits (U, V) of each sentence."""
        assert self.source is not None and isinstance(self.network.encoder, TextEncoder)
        limit = self.network.encoder.shape.max_tokens
        cut = [(self.source.encode(text) or [0])[:limit] for text in sentences]
        order = sorted(range(len(cut)), key=lambda index: len(cut[index]))
        found: list[Tensor] = [torch.empty(0)] * len(cut)
        for start in range(0, len(order), BATCH):
            chosen = order[start : start + BATCH]
            tokens = [torch.tensor(cut[index]) for index in chosen]
            lengths = torch.tensor([len(one) for one in tokens])
            padded = nn.utils.rnn.pad_sequence(tokens, batch_first=True)
            handed = self.network.hand_on(padded, lengths)[-1]
            for row, index in enumerate(chosen):
                found[index] = self._calibrated(handed.logits[row, : int(handed.rows[row])])
        return found

    def _calibrated(self, logits: Tensor) -> Tensor:
        found = logits.float() / self.calibration.temperature
        found[:, self.vocabulary.blank] += self.calibration.blank_bias
        return found


@dataclass(frozen=True, slots=True)
class Reader:
    """A decoder, and what it was trained to read.

    Attributes:
        name: Of the run, or of the module.
        network: A composition that has nothing but the decoder.
    """

    name: str
    network: Composition

    @property
    def link(self) -> Link:
        """What it reads."""
        return self.network.boundaries[-1].link

    @property
    def decoder(self) -> Decoder:
        """The network."""
        assert isinstance(self.network.decoder, Decoder)
        return self.network.decoder


def read_run(folder: Path, *, root: Path) -> tuple[Writer, Reader | None]:
    """Build what a run trained, with its averaged weights.

    Args:
        folder: Of the run: its recipe and its checkpoint.
        root: What the recipe's paths are relative to.

    Raises:
        BadConfig: If there is no run in the folder, or not one of a kind that is read here.
    """
    path = folder / recipe_file.KEPT
    if not path.is_file() or not (folder / CHECKPOINT).is_file():
        raise BadConfig(f"{folder}: no {recipe_file.KEPT} with a {CHECKPOINT}: train it first")
    recipe, _, _ = read_recipe(tomllib.loads(path.read_text("utf-8")), minutes=None)
    if not isinstance(recipe, TextRecipe):
        raise BadConfig(f"{folder}: a run of this kind is evaluated as modules: package it")
    return _text_run(folder, recipe, root)


def _text_run(folder: Path, recipe: TextRecipe, root: Path) -> tuple[Writer, Reader | None]:
    source = sentencepiece.SentencePieceProcessor(model_file=str(root / recipe.source_model))
    vocabulary = EnglishPieces(root / recipe.vocabulary).vocabulary
    encoder, decoder = text_networks(recipe, source.get_piece_size(), len(vocabulary))
    encoder.load_state_dict(averaged_part(folder / CHECKPOINT, "encoder"))
    boundary = Boundary(link=Link(recipe.link))
    network = Composition(encoder, boundaries=[boundary]).eval()
    writer = Writer(folder.name, network, vocabulary, recipe.ctc_weight > 0, source)
    if decoder is None:
        return writer, None
    decoder.load_state_dict(averaged_part(folder / CHECKPOINT, "decoder"))
    return writer, reader(folder.name, decoder, boundary)


def reader(name: str, decoder: Decoder, boundary: Boundary) -> Reader:
    """A decoder by itself."""
    alone = Composition(nn.Identity(), decoder=decoder, boundaries=[boundary])
    return Reader(name, alone.eval())


def module_writer(store: Path, ref: ModuleRef) -> Writer:
    """A packaged encoder."""
    module = load_module(store, ref)
    if isinstance(module.network, Decoder):
        raise BadConfig(f"{ref} is no encoder")
    network = Composition(module.network, boundaries=[Boundary()]).eval()
    calibration = module.card.calibration
    return Writer(str(ref), network, module.vocabulary, True, module.source, calibration)


def module_reader(store: Path, ref: ModuleRef) -> Reader:
    """A packaged decoder."""
    module = load_module(store, ref)
    if not isinstance(module.network, Decoder):
        raise BadConfig(f"{ref} is no decoder")
    return reader(str(ref), module.network, Boundary())
