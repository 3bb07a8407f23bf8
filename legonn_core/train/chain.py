"""Chains of modules behind a trunk that stands still: what a recipe may say, and its networks."""

from __future__ import annotations

import dataclasses
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from legonn_core.decoders.decoder import Decoder, DecoderShape
from legonn_core.encoders.marginal import MarginalEncoder, MarginalEncoderShape
from legonn_core.encoders.speech import SpeechEncoder, SpeechEncoderShape
from legonn_core.errors import BadConfig
from legonn_core.interface.reference import ModuleRef
from legonn_core.modules.registry import load_module
from legonn_core.train import recipe_file
from legonn_core.train.composition import Boundary, Composition, Link
from legonn_core.train.contract_noise import ContractNoise
from legonn_core.train.loop import CHECKPOINT
from legonn_core.train.package import averaged_part
from legonn_core.train.phones import phone_vocabulary
from legonn_core.train.whisper import load_trunk

TRUNK = ("conv1", "conv2", "layers", "trunk_norm")
"""Parts of the speech encoder that stand still."""
PIECES, PHONES = "pieces", "phones"


@dataclass(frozen=True, slots=True)
class ChainRecipe:
    """What a recipe of kind ``chain`` may say.

    Attributes:
        whisper: Weights of the trunk.
        features: Folder for what the trunk heard; made if it is not there.
        feature_hours: How much is kept.
        share: Of the recordings, drawn by ``seed``: for low-resource experiments.
        writes: What the encoder's rows range over: ``pieces``, or ``phones`` for the first module
            of a chain.
        dictionary: CMUdict, where there are phones.
        encoder: Sizes; ``encoder_run`` is a folder to begin with instead of nothing.
        middle: Sizes of a phone reader behind the encoder; ``middle_run`` likewise.
        decoder: Sizes of a decoder from nothing; ``decoder_module`` is a packaged one. Without
            either, CTC alone.
        learns: Name prefixes of what learns; everything but the trunk where it is empty.
        link: Between the last encoder and the decoder, as in a text recipe.
        gate: On gradients that flow back through a boundary.
        masks: SpecAugment on the features.
    """

    sets: list[dict[str, object]]
    vocabulary: str
    whisper: str
    out: str
    minutes: float
    features: str = "work/features"
    feature_hours: float = 10.0
    share: float = 1.0
    writes: str = PIECES
    dictionary: str = ""
    encoder: dict[str, int] = field(default_factory=dict)
    encoder_run: str = ""
    middle: dict[str, Any] = field(default_factory=dict)
    middle_run: str = ""
    decoder: dict[str, Any] = field(default_factory=dict)
    decoder_module: str = ""
    store: str = "modules"
    learns: list[str] = field(default_factory=list)
    link: str = Link.MARGINALS.value
    ctc_weight: float = 1.0
    gate: float = 1.0
    masks: bool = True
    ctc_only_steps: int = 200
    row_jitter: float = 0.01
    rate: float = 1e-3
    warmup_steps: int = 150
    batch_seconds: float = 200.0
    row_chunks: tuple[int, int] = (10, 40)
    input_drop: float = 0.08
    smoothing: float = 0.1
    dropout: float = 0.1
    seed: int = 1
    threads: int = 1
    steps: int = 0
    keep: int = 0
    device: str = "cpu"
    precision: str = "bf16"


class BehindTrunk(nn.Module):
    """A speech encoder that is fed what its trunk gave."""

    def __init__(self, speech: SpeechEncoder) -> None:
        super().__init__()
        self.speech = speech

    def forward(self, features: Tensor, chunks: Tensor) -> tuple[Tensor, Tensor]:
        """Features (B, frames, D) and chunks (B,) to logits (B, U, V) and rows (B,)."""
        return self.speech.read(features, chunks, chunk_rows=0)


@dataclass(frozen=True, slots=True)
class ChainParts:
    """The networks of a chain, and what their rows range over."""

    composition: Composition
    classes: tuple[int, ...]

    @property
    def speech(self) -> SpeechEncoder:
        """The encoder with its trunk."""
        assert isinstance(self.composition.encoder, BehindTrunk)
        return self.composition.encoder.speech


def chain_networks(recipe: ChainRecipe, *, root: Path, num_pieces: int) -> ChainParts:
    """Build what a recipe trains: new, or from the runs and modules that it names.

    Raises:
        BadConfig: If the modules named do not follow one another.
    """
    _check(recipe)
    num_phones = len(phone_vocabulary())
    written = num_phones if recipe.writes == PHONES else num_pieces
    sizes = _sizes(recipe.encoder, recipe.encoder_run, "encoder", root)
    speech = SpeechEncoder(SpeechEncoderShape(written, dropout=recipe.dropout, **sizes))
    load_trunk(speech, root / recipe.whisper)
    _begin(BehindTrunk(speech), recipe.encoder_run, "encoder", root)
    middle: list[MarginalEncoder] = []
    if sizes := _sizes(recipe.middle, recipe.middle_run, "middle", root):
        shape = MarginalEncoderShape(num_phones, num_pieces, dropout=recipe.dropout, **sizes)
        middle.append(MarginalEncoder(shape))
        _begin(middle[0], recipe.middle_run, "middle.0", root)
    decoder = None
    if recipe.decoder_module:
        found = load_module(root / recipe.store, ModuleRef.parse(recipe.decoder_module)).network
        assert isinstance(found, Decoder)
        decoder = found
    elif recipe.decoder:
        decoder = Decoder(DecoderShape(num_pieces, dropout=recipe.dropout, **recipe.decoder))
    first = Boundary(gate=recipe.gate, ctc_weight=recipe.ctc_weight)
    noise = ContractNoise(jitter=recipe.row_jitter)
    last = dataclasses.replace(first, link=Link(recipe.link), noise=noise)
    composition = Composition(
        BehindTrunk(speech),
        middle=middle,
        decoder=decoder,
        boundaries=[dataclasses.replace(first, noise=noise)] * len(middle) + [last],
    )
    classes = (written, num_pieces) if middle else (written,)
    return ChainParts(composition, classes)


def _check(recipe: ChainRecipe) -> None:
    has_middle = bool(recipe.middle or recipe.middle_run)
    if recipe.writes not in (PIECES, PHONES):
        raise BadConfig(f"writes is {recipe.writes!r}; it must be {PIECES} or {PHONES}")
    if has_middle != (recipe.writes == PHONES) and (has_middle or _reads(recipe)):
        raise BadConfig('a middle module reads phones: writes = "phones" goes with it')
    if recipe.writes == PHONES and not recipe.dictionary:
        raise BadConfig("phones need a dictionary: CMUdict or a file in its form")


def _reads(recipe: ChainRecipe) -> bool:
    return bool(recipe.decoder or recipe.decoder_module)


def _sizes(own: dict[str, Any], run: str, part: str, root: Path) -> dict[str, Any]:
    """Sizes in the recipe, or in that of the run to begin with."""
    if own or not run:
        return own
    kept = tomllib.loads((root / run / recipe_file.KEPT).read_text("utf-8"))
    found = kept.get(part, {})
    return dict(found) if isinstance(found, dict) else {}


def _begin(network: nn.Module, run: str, part: str, root: Path) -> None:
    """Take the averaged weights of a run; its trunk is not among them."""
    if run:
        load_run(network, averaged_part(root / run / CHECKPOINT, part), run)


def load_run(network: nn.Module, saved: dict[str, Tensor], what: str) -> None:
    """Take a run's weights; the trunk is not among them and stays.

    Raises:
        BadConfig: If they are of another shape.
    """
    missing, unexpected = network.load_state_dict(saved, strict=False)
    if unexpected or any(not is_trunk(name) for name in missing):
        raise BadConfig(f"{what}: its weights are of another shape")


def is_trunk(name: str) -> bool:
    """Whether a parameter stands still."""
    return name.partition("speech.")[2].startswith(TRUNK)
