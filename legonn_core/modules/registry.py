"""Find modules in a folder and bring one to life, checked against its card.

A store is a folder: ``NAME/VERSION/card.toml`` with the files that the card lists beside it, and
vocabularies as ``NAME/VERSION/vocabulary.json``.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import sentencepiece
import torch
from torch import Tensor, nn

from legonn_core.decoders.decoder import Decoder, DecoderShape
from legonn_core.encoders.speech import SpeechEncoder, SpeechEncoderShape
from legonn_core.encoders.text import TextEncoder, TextEncoderShape
from legonn_core.errors import BadModule, UnknownModule, VocabularyMismatch
from legonn_core.features.log_mel import SAMPLE_RATE
from legonn_core.interface.card import ModuleCard, ModuleKind
from legonn_core.interface.reference import ModuleDescription, ModuleRef
from legonn_core.interface.vocabulary import Vocabulary
from legonn_core.modules import signatures
from legonn_core.modules import weights as weight_files
from legonn_core.modules.files import MAX_CARD_BYTES, MAX_VOCABULARY_BYTES, read_inside
from legonn_core.modules.signatures import ANYONE, Trust

CARD = "card.toml"
WEIGHTS = "weights.safetensors"
SOURCE_PIECES = "source.model"

MAX_SIZE = 1 << 17
"""Largest number in an architecture: a width, a count of pieces, classes or places."""

MATRICES = (
    ("width", "width", "layers"),
    ("width", "hidden", "layers"),
    ("width", "hidden", "layers_before"),
    ("width", "hidden", "layers_after"),
    ("width", "hidden", "ingestor_layers"),
    ("row_width", "row_hidden", "row_layers"),
    ("source_pieces", "width"),
)
"""Sizes whose product is a number of parameters, each of which takes a byte at least."""


@dataclass(frozen=True, slots=True)
class LoadedModule:
    """A module ready to run.

    Attributes:
        card: What it says of itself.
        vocabulary: The English side.
        network: In evaluation mode, float32.
        source: Cuts source text; text encoders only.
    """

    card: ModuleCard
    vocabulary: Vocabulary
    network: SpeechEncoder | TextEncoder | Decoder
    source: sentencepiece.SentencePieceProcessor | None = None

    @property
    def ref(self) -> ModuleRef:
        """Name and version."""
        return ModuleRef(self.card.name, self.card.version)

    @property
    def device(self) -> torch.device:
        """Where its network computes."""
        return next(self.network.parameters()).device


def describe(card: ModuleCard) -> ModuleDescription:
    """What a gateway needs to know."""
    return ModuleDescription(
        ref=ModuleRef(card.name, card.version),
        kind=card.kind.value,
        source_language=card.source_language,
        target_language=card.target_language,
        fingerprint=card.contract.fingerprint,
        vocabulary=card.vocabulary,
        weights_digest=card.weights_digest,
        num_parameters=card.num_parameters,
        sample_rate_hertz=card.chunk.sample_rate_hertz if card.chunk else 0,
        chunk_samples=card.chunk.chunk_samples if card.chunk else 0,
        row_ms=card.chunk.row_ms if card.chunk else 0.0,
        ctc_weight=card.decoding.ctc_weight,
        length_bonus=card.decoding.length_bonus,
        confidence_scale=card.calibration.confidence_scale,
        confidence_offset=card.calibration.confidence_offset,
        scores=dict(card.scores),
        blank_band=(card.bands.blank_low, card.bands.blank_high) if card.bands else None,
        contract=card.contract,
    )


def find_modules(store: Path) -> list[ModuleRef]:
    """Every module version in a store, by name and then version number."""
    refs = [ModuleRef(p.parent.parent.name, p.parent.name) for p in store.glob(f"*/*/{CARD}")]
    return sorted(refs, key=lambda ref: (ref.name, len(ref.version), ref.version))


def read_card(store: Path, ref: ModuleRef, trust: Trust = ANYONE) -> ModuleCard:
    """Read and check a card.

    Raises:
        UnknownModule: If the store has no such version.
        BadModule: If the card cannot be read, belongs to another module, or nobody vouches for it
            who is trusted.
    """
    found = find_modules(store)
    if ref not in found:  # so a name with ".." in it leads nowhere
        known = ", ".join(map(str, found)) or "none"
        raise UnknownModule(f"no module {ref} in the module store; it has: {known}")
    path = f"{ref.name}/{ref.version}/{CARD}"
    content = read_inside(store, path, max_bytes=MAX_CARD_BYTES)
    trust.check(ref, content, _signature(store, path))
    try:
        card = ModuleCard.parse(content.decode())
    except UnicodeDecodeError as error:
        raise BadModule(f"{ref}: {CARD} is not UTF-8 text") from error
    if (card.name, card.version) != (ref.name, ref.version):
        raise BadModule(f"{ref}: its card is that of {card.name}/{card.version}")
    return card


def _signature(store: Path, card: str) -> bytes | None:
    if not (store / (card + signatures.SUFFIX)).exists():
        return None
    return read_inside(store, card + signatures.SUFFIX, max_bytes=signatures.MAX_BYTES)


def read_vocabulary(store: Path, name: str) -> Vocabulary:
    """Read a vocabulary such as ``en/1``.

    Raises:
        BadModule: If it is missing or was changed.
    """
    try:
        content = read_inside(store, f"{name}/vocabulary.json", max_bytes=MAX_VOCABULARY_BYTES)
        return Vocabulary.from_json(content.decode())
    except (BadModule, ValueError) as error:
        raise BadModule(f"vocabulary {name} cannot be used: {error}") from error


def build(card: ModuleCard) -> SpeechEncoder | TextEncoder | Decoder:
    """The network that a card describes, with random weights.

    Raises:
        BadModule: If the card's architecture has unknown or missing values.
    """
    sizes: Mapping[str, Any] = card.architecture  # what a shape takes, the shape checks
    classes = card.contract.num_classes
    try:
        match card.kind:
            case ModuleKind.SPEECH_ENCODER:
                return SpeechEncoder(SpeechEncoderShape(num_classes=classes, **sizes))
            case ModuleKind.TEXT_ENCODER:
                return TextEncoder(TextEncoderShape(num_classes=classes, **sizes))
            case ModuleKind.DECODER:
                return Decoder(DecoderShape(num_classes=classes, **sizes))
    except (TypeError, ValueError) as error:
        raise BadModule(f"{card.name}/{card.version}: architecture: {error}") from error


def load_module(store: Path, ref: ModuleRef, trust: Trust = ANYONE) -> LoadedModule:
    """Read, check and build one module version.

    Nothing of a module is code: the card is TOML, weights are safetensors, the network is built
    here from the card's numbers, which are bounded before memory is taken for them.

    Raises:
        UnknownModule: If there is none.
        BadModule: If card, files and network do not fit together.
        VocabularyMismatch: If its contract names another vocabulary than the store holds.
    """
    card = read_card(store, ref, trust)
    folder = store / ref.name / ref.version
    _refuse_oversized(card, ref)
    vocabulary = _vocabulary(store, card, ref)
    contents = {
        name: weight_files.read_checked(folder, name, expected)
        for name, expected in card.weights.items()
    }
    network = build(card)
    _fill(network, weight_files.load(contents[WEIGHTS], what=str(ref)), ref)
    source = None
    if isinstance(network, TextEncoder):
        source = _source_pieces(contents, network.shape.source_pieces, ref)
    if isinstance(network, SpeechEncoder):
        _check_geometry(card, network, ref)
    return LoadedModule(card, vocabulary, network.eval(), source)


def _refuse_oversized(card: ModuleCard, ref: ModuleRef) -> None:
    """A card may not ask for memory that its weights cannot fill; nothing is built before this."""
    stored = card.weights.get(WEIGHTS)
    if stored is None:
        raise BadModule(f"{ref}: its card lists no {WEIGHTS}")
    sizes = {key: value for key, value in card.architecture.items() if isinstance(value, int)}
    for key, value in {**sizes, "num_classes": card.contract.num_classes}.items():
        if not -1 <= value <= MAX_SIZE:
            raise BadModule(f"{ref}: architecture: {key} is {value}; at most {MAX_SIZE}")
    for product in MATRICES:
        if math.prod(sizes.get(key, 0) for key in product) > stored.num_bytes:
            raise BadModule(
                f"{ref}: architecture: {' x '.join(product)} is more than the"
                f" {stored.num_bytes} bytes of its {WEIGHTS}"
            )


def _vocabulary(store: Path, card: ModuleCard, ref: ModuleRef) -> Vocabulary:
    """The vocabulary of a card, which must be the one that the module was trained on."""
    vocabulary, contract = read_vocabulary(store, card.vocabulary), card.contract
    if contract.fingerprint != vocabulary.fingerprint:
        raise VocabularyMismatch(
            f"{ref} was trained on vocabulary {contract.fingerprint}, but {card.vocabulary}"
            f" in this store is {vocabulary.fingerprint}"
        )
    if (contract.num_classes, contract.blank) != (len(vocabulary), vocabulary.blank):
        raise VocabularyMismatch(
            f"{ref}: its card says {contract.num_classes} classes with blank {contract.blank},"
            f" but {card.vocabulary} has {len(vocabulary)} with blank {vocabulary.blank}"
        )
    return vocabulary


def _source_pieces(
    contents: Mapping[str, bytes], expected: int, ref: ModuleRef
) -> sentencepiece.SentencePieceProcessor:
    """The source tokeniser; one with other pieces would index past the embedding."""
    if SOURCE_PIECES not in contents:
        raise BadModule(f"{ref}: its card lists no {SOURCE_PIECES}")
    try:
        source = sentencepiece.SentencePieceProcessor(model_proto=contents[SOURCE_PIECES])
    except RuntimeError as error:
        raise BadModule(f"{ref}: {SOURCE_PIECES} is no sentencepiece model") from error
    if source.get_piece_size() != expected:
        raise BadModule(
            f"{ref}: {SOURCE_PIECES} has {source.get_piece_size()} pieces, its card says {expected}"
        )
    return source


def _check_geometry(card: ModuleCard, network: SpeechEncoder, ref: ModuleRef) -> None:
    """Gateways cut audio by the card, engines by the network: they must agree."""
    assert card.chunk is not None
    ours = (
        SAMPLE_RATE,
        network.shape.chunk_samples,
        1000 * network.shape.row_samples / SAMPLE_RATE,
    )
    said = (card.chunk.sample_rate_hertz, card.chunk.chunk_samples, card.chunk.row_ms)
    if ours != said:
        raise BadModule(
            f"{ref}: its card says {said[1]} samples a chunk at {said[0]} Hz and {said[2]:g} ms a"
            f" row, its network reads {ours[1]} at {ours[0]} Hz and makes rows of {ours[2]:g} ms"
        )


def _fill(network: nn.Module, values: dict[str, Tensor], ref: ModuleRef) -> None:
    try:
        network.load_state_dict(values)
    except RuntimeError as error:
        lines = str(error).splitlines()
        raise BadModule(
            f"{ref}: weights do not fit the card's architecture: {lines[-1].strip()}"
        ) from error
    if not all(bool(torch.isfinite(p).all()) for p in network.parameters()):
        raise BadModule(f"{ref}: weights are not finite")
    for parameter in network.parameters():
        parameter.requires_grad_(False)
