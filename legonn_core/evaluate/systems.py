"""What a training left in its folder, as networks that can be run: also what is no module.

A baseline hands on hidden states, a control has no CTC: neither may be packaged, for neither keeps
the contract. They are built again from the recipe that lies beside their checkpoint.
"""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import sentencepiece
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from legonn_core.decoders.decoder import Decoder
from legonn_core.encoders.speech import SpeechEncoder
from legonn_core.encoders.text import TextEncoder
from legonn_core.errors import BadAudio, BadConfig
from legonn_core.evaluate.pipeline import BATCH
from legonn_core.features.log_mel import SAMPLE_RATE
from legonn_core.interface.card import Calibration
from legonn_core.interface.reference import ModuleRef
from legonn_core.interface.vocabulary import Vocabulary
from legonn_core.modules.registry import load_module
from legonn_core.runtime.encoder_engine import SILENCE_AFTER_SECONDS
from legonn_core.train import recipe_file
from legonn_core.train.chain import PHONES, BehindTrunk, ChainRecipe, chain_networks, load_run
from legonn_core.train.command import read_recipe
from legonn_core.train.composition import Boundary, Composition, Link
from legonn_core.train.loop import CHECKPOINT
from legonn_core.train.package import averaged_part
from legonn_core.train.phones import phone_vocabulary
from legonn_core.train.phones_trainer import PhonesRecipe, middle_network
from legonn_core.train.text_data import EnglishPieces
from legonn_core.train.text_trainer import TextRecipe, text_networks

SILENCE_BEHIND = int(SILENCE_AFTER_SECONDS * SAMPLE_RATE)
"""Samples of silence that follow a recording, as in service."""


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
    def hear(self, recordings: Sequence[NDArray[np.float32]]) -> list[Tensor]:
        """Logits (U, V) of each recording, (N,) samples in [-1, 1] at 16 kHz.

        Behind a trunk that stands still everything is seen at once; a packaged encoder sees the
        chunks of its card.

        Raises:
            BadAudio: If one is longer than a segment may be.
        """
        encoder = self.network.encoder
        speech = encoder.speech if isinstance(encoder, BehindTrunk) else encoder
        assert isinstance(speech, SpeechEncoder)
        size, found = speech.shape.chunk_samples, []
        for samples in recordings:
            count = -(-(len(samples) + SILENCE_BEHIND) // size)
            if count > speech.shape.max_chunks:
                raise BadAudio(f"a recording of {count} chunks; {self.name} reads at most"
                               f" {speech.shape.max_chunks}")  # fmt: skip
            padded = torch.zeros(1, count * size)
            padded[0, : len(samples)] = torch.from_numpy(samples)
            chunks = torch.tensor([count])
            heard = padded if speech is encoder else speech.trunk(padded, chunks, chunk_rows=0)
            handed = self.network.hand_on(heard, chunks)[-1]
            found.append(self._calibrated(handed.logits[0, : int(handed.rows[0])]))
        return found

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


def read_run(folders: str, *, root: Path) -> tuple[Writer, Reader | None]:
    """Build what a run trained, with its averaged weights.

    Args:
        folders: Of the run, with its recipe and its checkpoint; ``A+B`` plugs the phone reader of
            B behind the encoder of A.
        root: What the recipe's paths are relative to.

    Raises:
        BadConfig: If there is no run in the folder, or not one of a kind that is read here.
    """
    first, _, second = folders.partition("+")
    folder, recipe = Path(first), recipe_of(Path(first))
    if isinstance(recipe, TextRecipe) and not second:
        return _text_run(folder, recipe, root)
    if isinstance(recipe, ChainRecipe):
        return _chain_run(folder, recipe, root, Path(second) if second else None)
    raise BadConfig(f"{folders}: a run of this kind is evaluated as modules: package it")


def recipe_of(folder: Path) -> object:
    """The recipe that a run's folder kept.

    Raises:
        BadConfig: If there is none, or no checkpoint beside it.
    """
    path = folder / recipe_file.KEPT
    if not path.is_file() or not (folder / CHECKPOINT).is_file():
        raise BadConfig(f"{folder}: no {recipe_file.KEPT} with a {CHECKPOINT}: train it first")
    recipe, _, _ = read_recipe(tomllib.loads(path.read_text("utf-8")), minutes=None)
    return recipe


def _chain_run(
    folder: Path, recipe: ChainRecipe, root: Path, second: Path | None
) -> tuple[Writer, Reader | None]:
    vocabulary = EnglishPieces(root / recipe.vocabulary).vocabulary
    parts = chain_networks(recipe, root=root, num_pieces=len(vocabulary)).composition
    load_run(parts, averaged_part(folder / CHECKPOINT, ""), str(folder))
    boundary, middle = parts.boundaries[-1], parts.readers
    name = folder.name
    if second is not None:
        wanted = recipe_of(second)
        if middle or recipe.writes != PHONES or not isinstance(wanted, PhonesRecipe):
            raise BadConfig(f"{folder}+{second}: not an encoder over phones and a reader of them")
        middle = [middle_network(wanted, len(vocabulary))]
        middle[0].load_state_dict(averaged_part(second / CHECKPOINT, "middle.0"))
        name = f"{folder.name}+{second.name}"
    elif recipe.writes == PHONES and not middle:
        vocabulary = phone_vocabulary()
    alone = Composition(
        parts.encoder, middle=middle, boundaries=[Boundary()] * len(middle) + [boundary]
    )
    writer = Writer(name, alone.eval(), vocabulary, recipe.ctc_weight > 0)
    if parts.decoder is None:
        return writer, None
    return writer, reader(folder.name, parts.decoder, boundary)


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
