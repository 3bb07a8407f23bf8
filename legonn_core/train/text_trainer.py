"""Train a text encoder, alone by CTC or with the decoder on real and simulated marginals."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import sentencepiece
import torch
from numpy.typing import NDArray
from torch import Tensor

from legonn_core.decoders.decoder import Decoder, DecoderShape
from legonn_core.encoders.text import TextEncoder, TextEncoderShape
from legonn_core.train.composition import Boundary, Composition, Link
from legonn_core.train.contract_noise import ContractNoise
from legonn_core.train.dumps import DumpedRows
from legonn_core.train.loop import Budget, TrainingLoop
from legonn_core.train.optimize import MasterOptimizer
from legonn_core.train.placement import Placement
from legonn_core.train.simulate import SimulatedBatch, Simulator, confusion_table
from legonn_core.train.simulated_loss import simulated_loss
from legonn_core.train.text_data import (
    EnglishPieces,
    PairStore,
    drawn_batches,
    read_pairs,
    read_plain,
    sampled,
)


@dataclass(frozen=True, slots=True)
class TextRecipe:
    """What a text recipe's TOML may say; see ``recipes/``.

    Attributes:
        steps: Optimiser steps in place of minutes; such a run resumes exactly.
        keep: Older checkpoints kept for averaging.
        device: cpu, cuda or auto; ``precision`` bf16 or fp32, CTC and masters always fp32.
        pairs_share: Of the pairs, drawn by ``seed``: for low-resource experiments.
        dumps: Folders of dumped marginals that the decoder learns from too; ``dumped_share`` of the
            steps has a batch of them.
        simulated_repeats: Most of a simulated sequence's spare rows that go on with a token; wide
            ranges (0.9) suit encoders of steady sounds.
        ctc_weight: At the interface; 0 is the ungrounded control.
        link: What crosses: ``marginals``, ``one-hot``, or ``states`` for a plain encoder-decoder.
        fold: ``i/n`` leaves every n-th pair out, from the i-th on, for dumping their marginals.
    """

    pairs: str
    vocabulary: str
    source_model: str
    out: str
    minutes: float
    plain: str = ""
    origin_weights: dict[str, float] = field(default_factory=dict)
    plain_weights: dict[str, float] = field(default_factory=dict)
    encoder: dict[str, Any] = field(default_factory=dict)
    decoder: dict[str, Any] = field(default_factory=dict)
    initial: str = ""
    rate: float = 1.5e-3
    warmup_steps: int = 300
    batch_rows: int = 6000
    ctc_only_steps: int = 200
    simulated_share: float = 0.5
    simulated_repeats: float = 0.3
    easy_until: float = 0.4
    gradient_gate: float = 0.2
    row_jitter: float = 0.01
    smoothing: float = 0.1
    input_drop: float = 0.08
    source_dropout: float = 0.1
    dropout: float = 0.05
    seed: int = 1
    threads: int = 1
    steps: int = 0
    keep: int = 0
    device: str = "cpu"
    precision: str = "bf16"
    pairs_share: float = 1.0
    ctc_weight: float = 1.0
    link: str = Link.MARGINALS.value
    fold: str = ""
    dumps: list[str] = field(default_factory=list)
    dumped_share: float = 0.5


class Drawing(Protocol):
    """What a recipe says of drawing text."""

    @property
    def source_dropout(self) -> float:
        """Of BPE merges."""

    @property
    def batch_rows(self) -> int:
        """Longest length times batch size."""

    @property
    def seed(self) -> int:
        """Of the draws."""


class TextBatcher:
    """Draws pairs and cuts their sources afresh each time (BPE dropout, arXiv 1910.13267)."""

    def __init__(
        self, store: PairStore, model: Path, recipe: Drawing, rows: float, *, step: int = 0
    ) -> None:
        self.store = store
        self.processor = sentencepiece.SentencePieceProcessor(model_file=str(model))
        self.dropout = recipe.source_dropout
        cost = np.array([max(len(p.source) / 4.5 * rows, 2 * len(p.target)) for p in store.pairs])
        self.batches = drawn_batches(
            cost, store.weights, budget=recipe.batch_rows, seed=(recipe.seed, step)
        )

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor, list[tuple[int, ...]]]]:
        """Yield source tokens (B, S), lengths (B,) and targets."""
        for indices in self.batches:
            pairs = [self.store.pairs[i] for i in indices]
            cut = [
                self.processor.encode(
                    p.source, enable_sampling=True, alpha=self.dropout, nbest_size=-1
                )
                or [0]
                for p in pairs
            ]
            cut = [tokens[:180] for tokens in cut]
            lengths = torch.tensor([len(tokens) for tokens in cut])
            padded = torch.zeros(len(cut), -(-int(lengths.max()) // 4) * 4, dtype=torch.long)
            for row, tokens in enumerate(cut):
                padded[row, : len(tokens)] = torch.tensor(tokens)
            yield padded, lengths, [p.target for p in pairs]


def text_networks(
    recipe: TextRecipe, source_pieces: int, classes: int
) -> tuple[TextEncoder, Decoder | None]:
    """What a recipe trains, with random weights."""
    shape = TextEncoderShape(source_pieces, classes, dropout=recipe.dropout, **recipe.encoder)
    decoder = (
        Decoder(DecoderShape(classes, dropout=recipe.dropout, **recipe.decoder))
        if recipe.decoder
        else None
    )
    return TextEncoder(shape), decoder


class TextTrainer:
    """One run of a recipe; resumes from ``checkpoint.pt`` in the recipe's ``out`` folder."""

    def __init__(self, recipe: TextRecipe, *, root: Path) -> None:
        torch.set_num_threads(recipe.threads)
        torch.manual_seed(recipe.seed)
        torch.set_flush_denormal(True)  # tiny probabilities slowed every pass over the classes
        self.recipe, self.root, self.out = recipe, root, root / recipe.out
        self.placement = Placement.of(recipe.device, recipe.precision)
        self.pieces = EnglishPieces(root / recipe.vocabulary)
        store = read_pairs(root / recipe.pairs, self.pieces, origin_weights=recipe.origin_weights)
        print(f"pairs: {len(store.pairs)} kept, dropped {dict(store.dropped)}", flush=True)
        self.store = sampled(store, share=recipe.pairs_share, fold=recipe.fold, seed=recipe.seed)
        processor = sentencepiece.SentencePieceProcessor(model_file=str(root / recipe.source_model))
        self.encoder, self.decoder = text_networks(
            recipe, processor.get_piece_size(), len(self.pieces.vocabulary)
        )
        self.plain = self._read_plain() if self.decoder is not None and recipe.plain else None
        self.dumps = DumpedRows.read([root / one for one in recipe.dumps]) if recipe.dumps else None
        if recipe.initial:
            self._start_from(root / recipe.initial, processor)
        boundary = Boundary(
            link=Link(recipe.link),
            gate=recipe.gradient_gate,
            ctc_weight=recipe.ctc_weight,
            noise=ContractNoise(jitter=recipe.row_jitter),
        )
        self.parts = Composition(self.encoder, decoder=self.decoder, boundaries=[boundary])
        self.placement.put(self.parts)
        self.optimizer = MasterOptimizer(self.parts.named_parameters(), rate=recipe.rate)
        self.infeasible = self.seen = 0
        self.draw_from(0)

    def draw_from(self, step: int) -> None:
        """Seed every draw by the step: a resumed run goes on to batches that it has not had."""
        recipe, shape = self.recipe, self.encoder.shape
        torch.manual_seed(recipe.seed + step)
        sentencepiece.set_random_generator_seed(recipe.seed + step)
        self.rng = np.random.default_rng([recipe.seed, step])
        rows = shape.rows_per_token / shape.rows_denominator
        model = self.root / recipe.source_model
        self.batches = iter(TextBatcher(self.store, model, recipe, rows, step=step))
        self.simulated = None if self.plain is None else self._simulated(step)
        self.dumped = (
            self.dumps.batches(budget=recipe.batch_rows, seed=(recipe.seed + 2, step))
            if self.dumps is not None
            else None
        )

    def _start_from(self, path: Path, processor: sentencepiece.SentencePieceProcessor) -> None:
        """Take another language's encoder; embeddings only of pieces that both tokenisers have."""
        saved = torch.load(path, weights_only=True)
        other = sentencepiece.SentencePieceProcessor(model_file=saved["source_model"])
        weights = {k.removeprefix("encoder."): v for k, v in saved["average"].items()}
        theirs = weights.pop("embedding.weight")
        weights = {k: v for k, v in weights.items() if not k.startswith("decoder.")}
        self.encoder.load_state_dict(weights, strict=False)
        shared = 0
        index = {other.id_to_piece(i): i for i in range(other.get_piece_size())}
        with torch.no_grad():
            for i in range(processor.get_piece_size()):
                at = index.get(processor.id_to_piece(i))
                if at is not None:
                    self.encoder.embedding.weight[i] = theirs[at]
                    shared += 1
        print(f"started from {path.parent.name}: {shared} source pieces shared", flush=True)

    def _read_plain(self) -> tuple[list[tuple[int, ...]], NDArray[np.float64], NDArray[np.int64]]:
        recipe = self.recipe
        texts, weights = read_plain(
            self.root / recipe.plain,
            self.pieces,
            origin_weights=recipe.plain_weights,
            max_target=90,
        )
        return texts, weights, confusion_table(self.pieces.vocabulary)

    def _simulated(self, step: int) -> Iterator[tuple[list[tuple[int, ...]], Simulator]]:
        assert self.plain is not None
        recipe, (texts, weights, confusions) = self.recipe, self.plain
        unigram = np.bincount(np.concatenate(texts), minlength=len(self.pieces.vocabulary)) + 1.0
        unigram[0] = 0.0
        simulator = Simulator(
            confusions, unigram.astype(np.float64), seed=recipe.seed + 1_000_003 * step
        )
        simulator.most_repeats = recipe.simulated_repeats
        lengths = np.array([3.3 * len(text) for text in texts])
        for indices in drawn_batches(
            lengths, weights, budget=recipe.batch_rows, seed=(recipe.seed + 1, step)
        ):
            batch = [texts[i] for i in indices]
            if np.random.default_rng(int(indices[0])).random() < 0.25 and len(batch) > 3:
                half = len(batch) // 2
                batch = [a + b for a, b in zip(batch[:half], batch[half:], strict=False)]
            yield batch, simulator

    def joint_loss(self) -> tuple[Tensor, dict[str, float]]:
        """CTC, and with a decoder cross-entropy, on one batch of pairs."""
        tokens, lengths, targets = next(self.batches)
        device = self.placement.device
        losses = self.parts.losses(
            (tokens.to(device), lengths.to(device)),
            [targets],
            is_reading=self._is_warm,
            input_drop=self.recipe.input_drop,
            smoothing=self.recipe.smoothing,
        )
        self.seen += len(targets)
        self.infeasible += losses.infeasible
        return losses.total, losses.parts

    @property
    def _is_warm(self) -> bool:
        """Whether CTC has had its head start; without CTC there is none."""
        steps = self.optimizer.steps
        return not self.recipe.ctc_weight or steps >= self.recipe.ctc_only_steps

    def _simulated_loss(self, progress: float) -> tuple[Tensor, dict[str, float]]:
        """Cross-entropy of the decoder on marginals made from plain text."""
        assert self.decoder is not None and self.simulated is not None
        texts, simulator = next(self.simulated)
        simulator.ease = max(0.0, 1.0 - progress / self.recipe.easy_until)
        return self._read(simulator(texts, max_rows=self.decoder.shape.max_rows), "sim")

    def _dumped_loss(self) -> tuple[Tensor, dict[str, float]]:
        """Cross-entropy of the decoder on an encoder's rows of pairs that it had not seen."""
        assert self.dumped is not None
        return self._read(next(self.dumped), "dump")

    def _read(self, batch: SimulatedBatch, name: str) -> tuple[Tensor, dict[str, float]]:
        assert self.decoder is not None
        loss, _ = simulated_loss(
            self.decoder,
            batch,
            placement=self.placement,
            input_drop=self.recipe.input_drop,
            smoothing=self.recipe.smoothing,
        )
        return loss, {name: float(loss.detach())}

    def backward(self, progress: float) -> dict[str, float]:
        """Gradients of one batch of pairs, at times also of simulated and of dumped rows."""
        self.parts.train()
        loss, report = self.joint_loss()
        loss.backward()
        share = self.recipe.simulated_share
        if self.simulated is not None and self._is_warm and self.rng.random() < share:
            loss, extra = self._simulated_loss(progress)
            loss.backward()
            report |= extra
        share = self.recipe.dumped_share
        if self.dumped is not None and self._is_warm and self.rng.random() < share:
            loss, extra = self._dumped_loss()
            loss.backward()
            report |= extra
        return report

    def work(self) -> tuple[float, str]:
        """Pairs so far."""
        return self.seen, "pairs"

    def remarks(self) -> str:
        """How many targets were too long for their rows (fewer rows than tokens and repeats)."""
        share = self.infeasible / max(self.seen, 1)
        return f"infeasible {self.infeasible} of {self.seen} ({share:.2%})"

    def extra(self) -> dict[str, object]:
        """The tokeniser, without which an encoder's embedding means nothing."""
        return {"source_model": str(Path(self.recipe.source_model))}

    def run(self) -> None:
        """Train until the recipe's budget is spent."""
        recipe = self.recipe
        budget = Budget(
            recipe.minutes, recipe.steps, warmup_steps=recipe.warmup_steps, keep=recipe.keep
        )
        TrainingLoop(self, budget, self.out).run()
