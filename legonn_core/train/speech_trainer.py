"""Train the streaming speech encoder by CTC against the frozen vocabulary; no decoder is used."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from legonn_core.encoders.speech import SpeechEncoder, SpeechEncoderShape
from legonn_core.train.losses import ctc_loss, feasible
from legonn_core.train.optimize import MasterOptimizer, cosine_rate
from legonn_core.train.speech_data import Recording, SpeechBatcher, SpeechSet, read_set
from legonn_core.train.text_data import EnglishPieces
from legonn_core.train.whisper import load_trunk


@dataclass(frozen=True, slots=True)
class SpeechRecipe:
    """What a speech recipe's TOML may say; see ``recipes/``."""

    sets: list[dict[str, object]]
    vocabulary: str
    whisper: str
    out: str
    minutes: float
    encoder: dict[str, int] = field(default_factory=dict)
    rate: float = 1e-3
    trunk_scale: float = 0.25
    frozen_steps: int = 150
    warmup_steps: int = 150
    batch_seconds: float = 160.0
    row_chunks: tuple[int, ...] = (8, 12, 16, 20, 26)
    dropout: float = 0.05
    full_context_share: float = 0.1
    seed: int = 1
    threads: int = 1


class SpeechTrainer:
    """One run of a recipe; resumes from ``checkpoint.pt`` in the recipe's ``out`` folder."""

    def __init__(self, recipe: SpeechRecipe, *, root: Path) -> None:
        torch.set_num_threads(recipe.threads)
        torch.manual_seed(recipe.seed)
        torch.set_flush_denormal(True)  # tiny probabilities slowed every pass over the classes
        self.recipe, self.out = recipe, root / recipe.out
        self.out.mkdir(parents=True, exist_ok=True)
        self.pieces = EnglishPieces(root / recipe.vocabulary)
        self.encoder = SpeechEncoder(
            SpeechEncoderShape(
                len(self.pieces.vocabulary), dropout=recipe.dropout, **recipe.encoder
            )
        )
        load_trunk(self.encoder, root / recipe.whisper)
        recordings: list[Recording] = []
        weights: list[float] = []
        for entry in recipe.sets:
            chosen = SpeechSet(**entry)  # type: ignore[arg-type]
            found = read_set(root, chosen, self.pieces)
            hours = sum(len(r.samples) for r in found) / 16000 / 3600
            print(f"{chosen.path}: {len(found)} utterances, {hours:.2f} h", flush=True)
            recordings += found
            weights += [chosen.weight] * len(found)
        self.batches = iter(
            SpeechBatcher(
                recordings,
                np.asarray(weights),
                chunk_samples=self.encoder.shape.chunk_samples,
                row_chunks=recipe.row_chunks,
                batch_seconds=recipe.batch_seconds,
                seed=recipe.seed,
            )
        )
        self.encoder.bfloat16()
        self.encoder.log_mel.float()
        self.optimizer = MasterOptimizer(
            self.encoder.named_parameters(),
            rate=recipe.rate,
            scales=dict.fromkeys(("conv1", "conv2", "layers", "trunk_norm"), recipe.trunk_scale),
            clip_norm=2.0,
        )
        self.rng = np.random.default_rng(recipe.seed)
        self.seconds = self.heard = 0.0
        self.started = time.monotonic()

    def loss(self) -> Tensor:
        """CTC on one batch under a random chunk size."""
        samples, chunks, targets = next(self.batches)
        self.heard += samples.numel() / 16000
        full = self.rng.random() < self.recipe.full_context_share
        sizes = [4, 8, 8, 8, 16]
        rows_a_chunk = 0 if full else int(self.rng.choice(sizes))
        logits, rows = self.encoder(samples, chunks, chunk_rows=rows_a_chunk)
        usable = feasible(targets, rows)
        if not usable.all():
            logits, rows = logits[usable], rows[usable]
            targets = [t for t, ok in zip(targets, usable, strict=True) if ok]
        return ctc_loss(logits.float().log_softmax(dim=-1), rows, targets)

    def run(self) -> None:
        """Train until the recipe's minutes are spent; checkpoint every three."""
        checkpoint, recipe = self.out / "checkpoint.pt", self.recipe
        if checkpoint.exists():
            saved = torch.load(checkpoint, weights_only=True)
            self.optimizer.restore(saved)
            self.seconds = saved["seconds"]
        budget, losses = recipe.minutes * 60, []
        last, saved_at = time.monotonic(), self.seconds
        self.encoder.train()
        while self.seconds < budget:
            frozen = self.optimizer.steps < recipe.frozen_steps
            for name, parameter in self.encoder.named_parameters():
                if name.startswith(("conv1", "conv2", "layers.", "trunk_norm")):
                    parameter.requires_grad_(not frozen)
            loss = self.loss()
            loss.backward()
            losses.append(float(loss.detach()))
            factor = cosine_rate(
                self.seconds / budget, self.optimizer.steps, warmup_steps=recipe.warmup_steps
            )
            norm = self.optimizer.step(factor)
            now = time.monotonic()
            self.seconds, last = self.seconds + now - last, now
            if self.optimizer.steps % 25 == 0:
                print(
                    f"step {self.optimizer.steps}  {self.seconds / 60:.1f}/{recipe.minutes} min"
                    f"  ctc {np.mean(losses):.3f}  norm {norm:.2f}"
                    f"  {self.heard / (time.monotonic() - self.started):.0f}x real time",
                    flush=True,
                )
                losses.clear()
            if self.seconds - saved_at > 180 or self.seconds >= budget:
                partial = checkpoint.with_suffix(".partial")
                torch.save(self.optimizer.state() | {"seconds": self.seconds}, partial)
                partial.replace(checkpoint)
                saved_at = self.seconds
