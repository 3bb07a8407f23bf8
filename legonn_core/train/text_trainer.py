"""Train a text encoder, alone by CTC or with the decoder on real and simulated marginals."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import sentencepiece
import torch
from torch import Tensor

from legonn_core.decoders.decoder import Decoder, DecoderShape
from legonn_core.encoders.text import TextEncoder, TextEncoderShape
from legonn_core.train.composition import Boundary, Composition
from legonn_core.train.contract_noise import ContractNoise
from legonn_core.train.losses import cross_entropy, decoder_inputs
from legonn_core.train.optimize import MasterOptimizer, cosine_rate
from legonn_core.train.simulate import Simulator, confusion_table
from legonn_core.train.text_data import (
    EnglishPieces,
    PairStore,
    drawn_batches,
    read_pairs,
    read_plain,
)


@dataclass(frozen=True, slots=True)
class TextRecipe:
    """What a text recipe's TOML may say; see ``recipes/``."""

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
    easy_until: float = 0.4
    gradient_gate: float = 0.2
    row_jitter: float = 0.01
    smoothing: float = 0.1
    input_drop: float = 0.08
    source_dropout: float = 0.1
    dropout: float = 0.05
    seed: int = 1
    threads: int = 1


class TextBatcher:
    """Draws pairs and cuts their sources afresh each time (BPE dropout, arXiv 1910.13267)."""

    def __init__(self, store: PairStore, model: Path, recipe: TextRecipe, rows: int) -> None:
        self.store = store
        self.processor = sentencepiece.SentencePieceProcessor(model_file=str(model))
        self.dropout = recipe.source_dropout
        cost = np.array([max(len(p.source) / 4.5 * rows, 2 * len(p.target)) for p in store.pairs])
        self.batches = drawn_batches(
            cost, store.weights, budget=recipe.batch_rows, seed=recipe.seed
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


class TextTrainer:
    """One run of a recipe; resumes from ``checkpoint.pt`` in the recipe's ``out`` folder."""

    def __init__(self, recipe: TextRecipe, *, root: Path) -> None:
        torch.set_num_threads(recipe.threads)
        torch.manual_seed(recipe.seed)
        torch.set_flush_denormal(True)  # tiny probabilities slowed every pass over the classes
        self.recipe, self.out = recipe, root / recipe.out
        self.out.mkdir(parents=True, exist_ok=True)
        self.pieces = EnglishPieces(root / recipe.vocabulary)
        classes = len(self.pieces.vocabulary)
        store = read_pairs(root / recipe.pairs, self.pieces, origin_weights=recipe.origin_weights)
        print(f"pairs: {len(store.pairs)} kept, dropped {dict(store.dropped)}", flush=True)
        processor = sentencepiece.SentencePieceProcessor(model_file=str(root / recipe.source_model))
        self.encoder = TextEncoder(
            TextEncoderShape(
                processor.get_piece_size(), classes, dropout=recipe.dropout, **recipe.encoder
            )
        )
        self.decoder = (
            Decoder(DecoderShape(classes, dropout=recipe.dropout, **recipe.decoder))
            if recipe.decoder
            else None
        )
        rows = self.encoder.shape.rows_per_token
        self.batches = iter(TextBatcher(store, root / recipe.source_model, recipe, rows))
        self.simulated = self._simulated(root) if self.decoder is not None else None
        if recipe.initial:
            self._start_from(root / recipe.initial, processor)
        noise = ContractNoise(jitter=recipe.row_jitter)
        boundary = Boundary(gate=recipe.gradient_gate, noise=noise)
        self.parts = Composition(self.encoder, decoder=self.decoder, boundaries=[boundary])
        self.parts.bfloat16()
        self.optimizer = MasterOptimizer(self.parts.named_parameters(), rate=recipe.rate)
        self.seconds = 0.0
        self.infeasible = self.seen = 0
        self.started = time.monotonic()

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

    def _simulated(self, root: Path) -> Iterator[tuple[list[tuple[int, ...]], Simulator]]:
        recipe = self.recipe
        texts, weights = read_plain(
            root / recipe.plain, self.pieces, origin_weights=recipe.plain_weights, max_target=90
        )
        unigram = np.bincount(np.concatenate(texts), minlength=len(self.pieces.vocabulary)) + 1.0
        unigram[0] = 0.0
        simulator = Simulator(
            confusion_table(self.pieces.vocabulary), unigram.astype(np.float64), seed=recipe.seed
        )
        lengths = np.array([3.3 * len(text) for text in texts])
        for indices in drawn_batches(
            lengths, weights, budget=recipe.batch_rows, seed=recipe.seed + 1
        ):
            batch = [texts[i] for i in indices]
            if np.random.default_rng(int(indices[0])).random() < 0.25 and len(batch) > 3:
                half = len(batch) // 2
                batch = [a + b for a, b in zip(batch[:half], batch[half:], strict=False)]
            yield batch, simulator

    def joint_loss(self) -> tuple[Tensor, dict[str, float]]:
        """CTC, and with a decoder cross-entropy, on one batch of pairs."""
        tokens, lengths, targets = next(self.batches)
        losses = self.parts.losses(
            (tokens, lengths),
            [targets],
            is_reading=self.optimizer.steps >= self.recipe.ctc_only_steps,
            input_drop=self.recipe.input_drop,
            smoothing=self.recipe.smoothing,
        )
        self.seen += len(targets)
        self.infeasible += losses.infeasible
        return losses.total, losses.parts

    def simulated_loss(self) -> tuple[Tensor, dict[str, float]]:
        """Cross-entropy of the decoder on marginals made from plain text."""
        assert self.decoder is not None and self.simulated is not None
        texts, simulator = next(self.simulated)
        progress = self.seconds / (60 * self.recipe.minutes)
        simulator.ease = max(0.0, 1.0 - progress / self.recipe.easy_until)
        batch = simulator(texts, max_rows=self.decoder.shape.max_rows)
        probs = torch.from_numpy(batch.probs).bfloat16()
        mixture = self.decoder.ingestor.mix_sparse(
            torch.from_numpy(batch.ids), probs, torch.from_numpy(batch.tail).bfloat16()
        )
        memory = self.decoder.remember(mixture, torch.from_numpy(batch.lengths))
        inputs = decoder_inputs(batch.targets, drop=self.recipe.input_drop)
        loss = cross_entropy(
            self.decoder(inputs, memory), batch.targets, smoothing=self.recipe.smoothing
        )
        return loss, {"sim": float(loss.detach())}

    def run(self) -> None:
        """Train until the recipe's minutes are spent; checkpoint every three."""
        checkpoint = self.out / "checkpoint.pt"
        if checkpoint.exists():
            saved = torch.load(checkpoint, weights_only=True)
            self.optimizer.restore(saved)
            self.seconds = saved["seconds"]
        budget = self.recipe.minutes * 60
        totals: dict[str, list[float]] = {}
        rng = np.random.default_rng(self.recipe.seed)
        last, saved_at = time.monotonic(), self.seconds
        while self.seconds < budget:
            self.parts.train()
            loss, report = self.joint_loss()
            loss.backward()
            warm = self.optimizer.steps >= self.recipe.ctc_only_steps
            if self.simulated and warm and rng.random() < self.recipe.simulated_share:
                loss, extra = self.simulated_loss()
                loss.backward()
                report |= extra
            factor = cosine_rate(
                self.seconds / budget, self.optimizer.steps, warmup_steps=self.recipe.warmup_steps
            )
            report["norm"] = self.optimizer.step(factor)
            for name, value in report.items():
                totals.setdefault(name, []).append(value)
            now = time.monotonic()
            self.seconds, last = self.seconds + now - last, now
            if self.optimizer.steps % 50 == 0:
                means = "  ".join(f"{k} {np.mean(v):.3f}" for k, v in totals.items())
                print(
                    f"step {self.optimizer.steps}"
                    f"  {self.seconds / 60:.1f}/{self.recipe.minutes} min"
                    f"  {means}  {self.seen / (time.monotonic() - self.started):.0f} pairs/s"
                    f"  infeasible {self.infeasible / self.seen:.2%}",
                    flush=True,
                )
                totals.clear()
            if self.seconds - saved_at > 180 or self.seconds >= budget:
                self.save(checkpoint)
                saved_at = self.seconds

    def save(self, path: Path) -> None:
        """Write the checkpoint, whole or not at all."""
        partial = path.with_suffix(".partial")
        model = str(Path(self.recipe.source_model))
        torch.save(
            self.optimizer.state() | {"seconds": self.seconds, "source_model": model}, partial
        )
        partial.replace(path)
