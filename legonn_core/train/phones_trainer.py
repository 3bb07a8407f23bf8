"""Train the module from phones to sub-words on text alone: it hears nothing until it is plugged in.

Text is said by a dictionary, the phones become simulated marginals with the mistakes that a phone
recogniser makes, and CTC teaches the sub-words behind them (legonn.md, section 5). Neither the
recogniser before it nor the decoder behind it is known here.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from legonn_core.encoders.marginal import MarginalEncoder, MarginalEncoderShape
from legonn_core.train.composition import Targets
from legonn_core.train.loop import Budget, TrainingLoop
from legonn_core.train.losses import ctc_loss, feasible
from legonn_core.train.optimize import MasterOptimizer
from legonn_core.train.phones import PhoneSpeller, phone_confusions, phone_vocabulary
from legonn_core.train.placement import Placement
from legonn_core.train.simulate import SimulatedBatch, Simulator
from legonn_core.train.text_data import EnglishPieces, drawn_batches, read_plain

ROWS_A_PHONE = 0.62
"""Rows that speech has for a phone, by those that the simulator draws for a sub-word: at 25 rows a
second about 1.8, in place of 2.9."""


@dataclass(frozen=True, slots=True)
class PhonesRecipe:
    """What a recipe of kind ``phones`` may say.

    Attributes:
        plain: English ``sentence<TAB>origin`` lines.
        dictionary: CMUdict, or a file in its form.
        middle: Sizes of the module.
        max_target: Longest sentence in sub-words.
        easy_until: Share of the time in which mistakes grow from none to all.
    """

    plain: str
    dictionary: str
    vocabulary: str
    out: str
    minutes: float
    plain_weights: dict[str, float] = field(default_factory=dict)
    middle: dict[str, Any] = field(default_factory=dict)
    max_target: int = 45
    share: float = 1.0
    rate: float = 1e-3
    warmup_steps: int = 200
    batch_rows: int = 8000
    easy_until: float = 0.4
    repeats: float = 0.6
    dropout: float = 0.1
    seed: int = 1
    threads: int = 1
    steps: int = 0
    keep: int = 0
    device: str = "cpu"
    precision: str = "bf16"


class PhoneSimulator(Simulator):
    """Marginals over phones, which come twice as thick as sub-words."""

    def _path(self, heard: NDArray[np.int64], kappa: float) -> NDArray[np.int64]:
        return super()._path(heard, ROWS_A_PHONE * kappa)


class PhonesTrainer:
    """One run of a recipe; resumes from ``checkpoint.pt`` in the recipe's ``out`` folder."""

    def __init__(self, recipe: PhonesRecipe, *, root: Path) -> None:
        torch.set_num_threads(recipe.threads)
        torch.manual_seed(recipe.seed)
        torch.set_flush_denormal(True)  # tiny probabilities slowed every pass over the classes
        self.recipe, self.out = recipe, root / recipe.out
        self.pieces = EnglishPieces(root / recipe.vocabulary)
        self._read(root)
        self.network = middle_network(recipe, len(self.pieces.vocabulary))
        self.placement = Placement.of(recipe.device, recipe.precision)
        self.placement.put(self.network)
        named = [(f"middle.0.{name}", p) for name, p in self.network.named_parameters()]
        self.optimizer = MasterOptimizer(named, rate=recipe.rate)
        self.infeasible = self.seen = 0
        self.draw_from(0)

    def _read(self, root: Path) -> None:
        recipe = self.recipe
        texts, weights = read_plain(
            root / recipe.plain,
            self.pieces,
            origin_weights=recipe.plain_weights,
            max_target=recipe.max_target,
        )
        speller = PhoneSpeller.of(root / recipe.dictionary)
        said = [speller.spell(self.pieces.vocabulary.text(tokens)) for tokens in texts]
        kept = [index for index, phones in enumerate(said) if phones]
        rng = np.random.default_rng([recipe.seed, 7])
        if recipe.share < 1.0:
            kept = [index for index in kept if rng.random() < recipe.share]
        self.texts = [texts[index] for index in kept]
        self.said = [said[index] or () for index in kept]
        self.weights = weights[kept]
        print(f"{len(kept)} sentences; {len(texts) - len(kept)} left out", flush=True)

    def draw_from(self, step: int) -> None:
        """Seed every draw by the step."""
        recipe = self.recipe
        torch.manual_seed(recipe.seed + step)
        classes = len(phone_vocabulary())
        unigram = np.bincount(np.concatenate(self.said), minlength=classes).astype(np.float64)
        unigram[0] = 0.0
        self.simulator = PhoneSimulator(
            phone_confusions(), unigram, seed=recipe.seed + 1_000_003 * step
        )
        self.simulator.most_repeats = recipe.repeats
        self.batches = self._batches(step)

    def _batches(self, step: int) -> Iterator[tuple[SimulatedBatch, Targets]]:
        recipe = self.recipe
        lengths = np.array([1.8 * len(phones) for phones in self.said])
        for drawn in drawn_batches(
            lengths, self.weights, budget=recipe.batch_rows, seed=(recipe.seed, step)
        ):
            phones = [self.said[index] for index in drawn]
            yield (
                self.simulator(phones, max_rows=self.network.shape.max_rows),
                [self.texts[index] for index in drawn],
            )

    def backward(self, progress: float) -> dict[str, float]:
        """Gradients of one batch."""
        self.network.train()
        self.simulator.ease = max(0.0, 1.0 - progress / self.recipe.easy_until)
        batch, targets = next(self.batches)
        device, dtype = self.placement.device, self.placement.dtype
        mixture = self.network.ingestor.mix_sparse(
            torch.from_numpy(batch.ids).to(device),
            torch.from_numpy(batch.probs).to(device, dtype),
            torch.from_numpy(batch.tail).to(device, dtype),
        )
        logits, rows = self.network(mixture, torch.from_numpy(batch.lengths).to(device))
        loss = ctc_loss(logits.float().log_softmax(dim=-1), rows, targets)
        loss.backward()
        self.seen += len(targets)
        self.infeasible += int((~feasible(targets, rows)).sum())
        return {"ctc": float(loss.detach())}

    def work(self) -> tuple[float, str]:
        """Sentences so far."""
        return self.seen, "sentences"

    def remarks(self) -> str:
        """How many targets were too long for their rows."""
        return f"infeasible {self.infeasible} of {self.seen}"

    def extra(self) -> dict[str, object]:
        """Nothing beside the weights."""
        return {}

    def run(self) -> None:
        """Train until the recipe's budget is spent."""
        recipe = self.recipe
        budget = Budget(
            recipe.minutes, recipe.steps, warmup_steps=recipe.warmup_steps, keep=recipe.keep
        )
        TrainingLoop(self, budget, self.out).run()


def middle_network(recipe: PhonesRecipe, num_pieces: int) -> MarginalEncoder:
    """What a recipe trains, with random weights."""
    return MarginalEncoder(
        MarginalEncoderShape(
            len(phone_vocabulary()), num_pieces, dropout=recipe.dropout, **recipe.middle
        )
    )
