"""Train a decoder further, behind an encoder that stands still and on English that was misheard.

The decoder is trained once and every encoder lives with it (legonn.md, section 8): what it has not
met here it will not read there. Pairs keep it at home in real marginals; misheard text of the
length of speech teaches it to hold its place and to read through wrong words.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import sentencepiece
import torch
from torch import Tensor

from legonn_core.decoders.decoder import Decoder
from legonn_core.encoders.text import TextEncoder
from legonn_core.errors import BadConfig
from legonn_core.interface.contract import check
from legonn_core.interface.reference import ModuleRef
from legonn_core.interface.tables import read_table
from legonn_core.modules.registry import load_module
from legonn_core.train.composition import Boundary, Composition
from legonn_core.train.composition_trainer import choose
from legonn_core.train.contract_noise import ContractNoise
from legonn_core.train.guided_attention import GuidedHead
from legonn_core.train.loop import Budget, TrainingLoop
from legonn_core.train.misheard_text import JoiningRule, MisheardText
from legonn_core.train.mishearing import Mishearing, read_lexicon, sound_alikes, word_counts
from legonn_core.train.optimize import MasterOptimizer
from legonn_core.train.placement import Placement
from legonn_core.train.simulate import SimulatedBatch, Simulator, confusion_table
from legonn_core.train.simulated_loss import simulated_loss
from legonn_core.train.text_data import EnglishPieces, read_pairs, read_plain_text
from legonn_core.train.text_trainer import TextBatcher


@dataclass(frozen=True, slots=True)
class DecoderRecipe:
    """What a recipe of kind ``decoder`` may say.

    Attributes:
        encoder: A text encoder, ``name/version`` in ``store``, whose marginals are read; it stands
            still. So ``decoder``, the start.
        plain: English sentences with their origin; ``plain_weights`` as in a text recipe.
        lexicon: A CMUdict file: which words sound alike.
        misheard_share: Of the steps that read misheard text; the others read pairs.
        reads: How the decoder's ingestor reads rows where it is to differ from the start's:
            ``receptive_field`` and ``blank_limit``, see ``DecoderShape``.
        guidance: Weight of the guided head's surprise; 0: none.
        guided_layer: Whose first head of cross-attention is guided.
        joining: How long misheard inputs are, and how badly heard; see ``JoiningRule``.
        simulated_repeats: Most of an input's spare rows that go on with a token.
        batch_tokens: Longest misheard target times batch size.
    """

    encoder: str
    decoder: str
    pairs: str
    plain: str
    lexicon: str
    out: str
    minutes: float = 0.0
    steps: int = 0
    store: str = "modules"
    origin_weights: dict[str, float] = field(default_factory=dict)
    plain_weights: dict[str, float] = field(default_factory=dict)
    misheard_share: float = 0.6
    joining: dict[str, float | int] = field(default_factory=dict)
    reads: dict[str, float | int] = field(default_factory=dict)
    guidance: float = 1.0
    guided_layer: int = 1
    simulated_repeats: float = 0.9
    batch_rows: int = 1600
    batch_tokens: int = 800
    source_dropout: float = 0.1
    row_jitter: float = 0.01
    rate: float = 5e-4
    warmup_steps: int = 200
    input_drop: float = 0.12
    smoothing: float = 0.1
    keep: int = 0
    device: str = "cpu"
    precision: str = "bf16"
    seed: int = 1
    threads: int = 1

    @property
    def adapter_width(self) -> int:
        """The decoder's layers are its own: it gets no adapters here."""
        return 0


class DecoderTrainer:
    """One run of a recipe; resumes from ``checkpoint.pt`` in the recipe's ``out`` folder."""

    def __init__(self, recipe: DecoderRecipe, *, root: Path) -> None:
        torch.set_num_threads(recipe.threads)
        torch.manual_seed(recipe.seed)
        torch.set_flush_denormal(True)  # tiny probabilities slowed every pass over the classes
        self.recipe, self.root, self.out = recipe, root, root / recipe.out
        self.placement = Placement.of(recipe.device, recipe.precision)
        store = root / recipe.store
        encoder = load_module(store, ModuleRef.parse(recipe.encoder))
        decoder = load_module(store, ModuleRef.parse(recipe.decoder))
        check(encoder.card.contract, decoder.card.contract)
        if not isinstance(encoder.network, TextEncoder):
            raise BadConfig(f"{recipe.encoder} is no text encoder")
        if not isinstance(decoder.network, Decoder):
            raise BadConfig(f"{recipe.decoder} is no decoder")
        self.encoder = encoder.network
        self.decoder = reading(decoder.network, recipe.reads)
        self.guided = (
            GuidedHead(self.decoder, layer=recipe.guided_layer) if recipe.guidance else None
        )
        self.pieces = EnglishPieces(store / encoder.card.vocabulary)
        self.pairs = read_pairs(
            root / recipe.pairs, self.pieces, origin_weights=recipe.origin_weights
        )
        self.texts, self.weights = read_plain_text(
            root / recipe.plain, origin_weights=recipe.plain_weights
        )
        print(f"{len(self.pairs.pairs)} pairs, {len(self.texts)} sentences", flush=True)
        counts = word_counts(self.texts)
        self.alikes = sound_alikes(counts, read_lexicon(root / recipe.lexicon))
        self.confusions = confusion_table(self.pieces.vocabulary)
        self.unigram = self._unigram()
        boundary = Boundary(gate=0.0, ctc_weight=0.0, noise=ContractNoise(jitter=recipe.row_jitter))
        self.parts = Composition(self.encoder, decoder=self.decoder, boundaries=[boundary])
        self.placement.put(self.parts)
        choose(self.parts, ["decoder"])
        self.optimizer = MasterOptimizer(
            ((f"decoder.{name}", p) for name, p in self.decoder.named_parameters()),
            rate=recipe.rate,
        )
        self.seen = 0
        self.draw_from(0)

    def _unigram(self) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
        counts = np.ones(len(self.pieces.vocabulary))
        for pair in self.pairs.pairs[:50_000]:
            np.add.at(counts, np.asarray(pair.target), 1.0)
        counts[0] = 0.0
        return counts

    def draw_from(self, step: int) -> None:
        """Seed every draw by the step."""
        recipe, shape = self.recipe, self.encoder.shape
        torch.manual_seed(recipe.seed + step)
        sentencepiece.set_random_generator_seed(recipe.seed + step)
        self.rng = np.random.default_rng([recipe.seed, step])
        rows = shape.rows_per_token / shape.rows_denominator
        model = self.root / recipe.store / recipe.encoder / "source.model"
        self.batches = iter(TextBatcher(self.pairs, model, recipe, rows, step=step))
        self.misheard = self._misheard(step)

    def _misheard(self, step: int) -> Iterator[SimulatedBatch]:
        recipe = self.recipe
        rng = np.random.default_rng([recipe.seed, step, 2])
        simulator = Simulator(self.confusions, self.unigram, seed=recipe.seed + 1_000_003 * step)
        simulator.most_repeats = recipe.simulated_repeats
        drawn = MisheardText(
            self.texts,
            self.weights,
            pieces=self.pieces,
            mishearing=Mishearing(self.alikes, rng),
            rule=read_table(JoiningRule, recipe.joining, "joining"),
            batch_tokens=recipe.batch_tokens,
            rng=rng,
        )
        for batch in drawn:
            yield simulator.misheard(batch, max_rows=self.decoder.shape.max_rows)

    def _paired_loss(self) -> Tensor:
        tokens, lengths, targets = next(self.batches)
        device = self.placement.device
        losses = self.parts.losses(
            (tokens.to(device), lengths.to(device)),
            [targets],
            input_drop=self.recipe.input_drop,
            smoothing=self.recipe.smoothing,
        )
        self.seen += len(targets)
        return losses.total

    def _misheard_loss(self) -> tuple[Tensor, Tensor]:
        batch = next(self.misheard)
        self.seen += len(batch.targets)
        return simulated_loss(
            self.decoder,
            batch,
            placement=self.placement,
            input_drop=self.recipe.input_drop,
            smoothing=self.recipe.smoothing,
            guided=self.guided,
        )

    def backward(self, progress: float) -> dict[str, float]:
        """Gradients of one batch, of pairs or of misheard text."""
        self.parts.train()
        self.encoder.eval()
        if self.rng.random() >= self.recipe.misheard_share:
            loss = self._paired_loss()
            loss.backward()
            return {"pairs": float(loss.detach())}
        loss, surprise = self._misheard_loss()
        (loss + self.recipe.guidance * surprise).backward()
        return {"misheard": float(loss.detach()), "guided": float(surprise.detach())}

    def work(self) -> tuple[float, str]:
        """Items so far."""
        return self.seen, "items"

    def remarks(self) -> str:
        """Nothing more."""
        return ""

    def extra(self) -> dict[str, object]:
        """Where the modules came from."""
        return {"encoder": self.recipe.encoder, "decoder": self.recipe.decoder}

    def run(self) -> None:
        """Train until the recipe's budget is spent."""
        recipe = self.recipe
        budget = Budget(
            recipe.minutes, recipe.steps, warmup_steps=recipe.warmup_steps, keep=recipe.keep
        )
        TrainingLoop(self, budget, self.out).run()


@dataclass(frozen=True, slots=True)
class Reading:
    """How an ingestor reads rows; see ``IngestorShape``."""

    receptive_field: int
    blank_limit: float

    def __post_init__(self) -> None:
        if self.receptive_field < 1 or self.receptive_field % 2 == 0:
            raise ValueError(f"receptive_field is {self.receptive_field}, not odd and positive")


def reading(decoder: Decoder, changes: Mapping[str, float | int]) -> Decoder:
    """The same decoder with an ingestor that reads rows otherwise.

    A wider receptive field begins as what it was: its middle is the old projection.

    Raises:
        TableError: If a change is no matter of reading, or nonsense.
    """
    if not changes:
        return decoder
    before = Reading(decoder.shape.receptive_field, decoder.shape.blank_limit)
    wanted = read_table(Reading, dataclasses.asdict(before) | dict(changes), "reads")
    shape = dataclasses.replace(
        decoder.shape, receptive_field=wanted.receptive_field, blank_limit=wanted.blank_limit
    )
    changed, weights = Decoder(shape), dict(decoder.state_dict())
    old, name = weights["ingestor.project.weight"], "ingestor.project.weight"
    field = shape.receptive_field
    if field > 1 and old.ndim == 2:
        weights[name] = torch.randn(*old.shape, field) * 0.02
        weights[name][:, :, field // 2] = old
    changed.load_state_dict(weights)
    return changed
