"""Train the streaming speech encoder by CTC against the frozen vocabulary; no decoder is used."""

from __future__ import annotations

import copy
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from legonn_core.encoders.speech import SpeechEncoder, SpeechEncoderShape
from legonn_core.interface.tables import read_table
from legonn_core.train.letters import LetterAlphabet
from legonn_core.train.loop import Budget, TrainingLoop
from legonn_core.train.losses import ctc_loss, feasible
from legonn_core.train.optimize import MasterOptimizer
from legonn_core.train.package import averaged_part
from legonn_core.train.placement import Placement
from legonn_core.train.spec_augment import SpecAugment
from legonn_core.train.speech_data import Recording, SpeechBatcher, SpeechSet, read_set
from legonn_core.train.text_data import EnglishPieces
from legonn_core.train.whisper import load_trunk

TRUNK = ("conv1", "conv2", "layers", "trunk_norm")
"""The parts of the encoder that Whisper's weights fill."""

LETTERS_A_PIECE = 3.4
"""About so many letters are in a piece of ``en/1``: it puts both losses on one scale."""


@dataclass(frozen=True, slots=True)
class SpeechRecipe:
    """What a speech recipe's TOML may say; see ``recipes/``.

    Attributes:
        row_chunks: Shortest and longest training row.
        character_weight: Of a second CTC loss over letters, read off the trunk (InterCTC, arXiv
            2102.03216, with the classes of hierarchical CTC): a few hours of speech show each
            letter often and each sub-word seldom. Its head is not part of the module.
        trunk_scale: Of the trunk's rate; at a quarter it forgot what it knew.
        frozen_share: Of the time that the trunk stands still and reads with full context, while
            the new layers settle on features as they were made.
        imitation_weight: Of the distance between the trunk's output under chunk masks and what
            the untouched trunk gives with full context (normalised mean square).
        masks: SpecAugment on the mel frames, once the trunk learns.
        start: A checkpoint whose layers behind the trunk are the start of this run's; the trunk is
            always Whisper's.
    """

    sets: list[dict[str, object]]
    vocabulary: str
    whisper: str
    out: str
    minutes: float
    encoder: dict[str, int] = field(default_factory=dict)
    rate: float = 1e-3
    trunk_scale: float = 0.08
    frozen_share: float = 0.25
    imitation_weight: float = 1.0
    start: str = ""
    warmup_steps: int = 150
    batch_seconds: float = 160.0
    row_chunks: tuple[int, int] = (10, 40)
    character_weight: float = 0.3
    masks: bool = False
    dropout: float = 0.05
    full_context_share: float = 0.1
    seed: int = 1
    threads: int = 1
    steps: int = 0
    keep: int = 0
    device: str = "cpu"
    precision: str = "bf16"


class SpeechTrainer:
    """One run of a recipe; resumes from ``checkpoint.pt`` in the recipe's ``out`` folder."""

    def __init__(self, recipe: SpeechRecipe, *, root: Path) -> None:
        torch.set_num_threads(recipe.threads)
        torch.manual_seed(recipe.seed)
        torch.set_flush_denormal(True)  # tiny probabilities slowed every pass over the classes
        self.recipe, self.out = recipe, root / recipe.out
        self.pieces = EnglishPieces(root / recipe.vocabulary)
        self.encoder = SpeechEncoder(
            SpeechEncoderShape(
                len(self.pieces.vocabulary), dropout=recipe.dropout, **recipe.encoder
            )
        )
        if recipe.start:
            self.encoder.load_state_dict(averaged_part(root / recipe.start, "encoder"))
        load_trunk(self.encoder, root / recipe.whisper)
        recordings: list[Recording] = []
        weights: list[float] = []
        for entry in recipe.sets:
            chosen = read_table(SpeechSet, entry, "sets")
            found = read_set(root, chosen, self.pieces)
            hours = sum(len(r.samples) for r in found) / 16000 / 3600
            print(f"{chosen.path}: {len(found)} utterances, {hours:.2f} h", flush=True)
            recordings += found
            weights += [chosen.weight] * len(found)
        self.recordings, self.weights = recordings, np.asarray(weights)
        self.alphabet = LetterAlphabet(self.pieces.vocabulary)
        self.letters = nn.Linear(self.encoder.shape.width, self.alphabet.num_classes)
        self.placement = Placement.of(recipe.device, recipe.precision)
        self.placement.put(self.encoder)
        self.encoder.log_mel.float()
        self.teacher = copy.deepcopy(self.encoder).requires_grad_(False)
        self.placement.put(self.letters)
        self.optimizer = MasterOptimizer(
            [
                *((f"encoder.{name}", p) for name, p in self.encoder.named_parameters()),
                *((f"letters.{name}", p) for name, p in self.letters.named_parameters()),
            ],
            rate=recipe.rate,
            scales=dict.fromkeys((f"encoder.{name}" for name in TRUNK), recipe.trunk_scale),
            clip_norm=2.0,
        )
        self.draw_from(0)
        self.heard = 0.0
        self.is_frozen = False
        self.masks = SpecAugment()
        self.infeasible = self.seen = 0

    def draw_from(self, step: int) -> None:
        """Seed the draws: a resumed run goes on to batches that it has not had."""
        recipe = self.recipe
        self.rng = np.random.default_rng([recipe.seed, step])
        torch.manual_seed(recipe.seed + step)
        shortest, longest = recipe.row_chunks
        self.batches = iter(
            SpeechBatcher(
                self.recordings,
                self.weights,
                chunk_samples=self.encoder.shape.chunk_samples,
                min_chunks=shortest,
                max_chunks=longest,
                batch_seconds=recipe.batch_seconds,
                seed=[recipe.seed, step, 1],
            )
        )

    def loss(self) -> tuple[Tensor, dict[str, float]]:
        """One batch: CTC at the interface and over letters, and imitation of the teacher.

        While the trunk is frozen everything is seen; later chunks of a random size.
        """
        recipe = self.recipe
        samples, chunks, targets = next(self.batches)
        samples, chunks = samples.to(self.placement.device), chunks.to(self.placement.device)
        self.heard += samples.numel() / 16000
        full = self.is_frozen or self.rng.random() < recipe.full_context_share
        rows_a_chunk = 0 if full else int(self.rng.choice([4, 8, 8, 8, 16]))
        masks = self.masks if recipe.masks and not self.is_frozen else None
        trunk = self.encoder.trunk(samples, chunks, chunk_rows=rows_a_chunk, masks=masks)
        logits, rows = self.encoder.read(trunk, chunks, chunk_rows=rows_a_chunk)
        parts = {"ctc": _feasible_ctc(logits, rows, targets)}
        if recipe.character_weight:
            spelt = [self.alphabet.spell(target) for target in targets]
            frames = rows.new_full((len(rows),), trunk.shape[1])
            parts["letters"] = _feasible_ctc(self.letters(trunk), frames, spelt)
        if recipe.imitation_weight and not self.is_frozen:
            with torch.no_grad():
                wanted = self.teacher.trunk(samples, chunks, chunk_rows=0)
            parts["imitation"] = imitation(trunk, wanted)
        self.seen += len(targets)
        self.infeasible += int((~feasible(targets, rows)).sum())
        weights = {
            "ctc": 1.0,
            "letters": recipe.character_weight * LETTERS_A_PIECE,
            "imitation": recipe.imitation_weight,
        }
        loss = torch.stack([weights[name] * part for name, part in parts.items()]).sum()
        return loss, {name: float(part.detach()) for name, part in parts.items()}

    def backward(self, progress: float) -> dict[str, float]:
        """Gradients of one batch; the trunk stands still in the recipe's first share of time."""
        self.encoder.train()
        self.is_frozen = progress < self.recipe.frozen_share
        for name, parameter in self.encoder.named_parameters():
            if name.startswith(TRUNK):
                parameter.requires_grad_(not self.is_frozen)
        loss, parts = self.loss()
        loss.backward()
        return parts

    def work(self) -> tuple[float, str]:
        """Seconds of audio so far."""
        return self.heard, "seconds of audio"

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


def _feasible_ctc(logits: Tensor, rows: Tensor, targets: list[tuple[int, ...]]) -> Tensor:
    """CTC in nats a token over the rows that it can align."""
    usable = feasible(targets, rows)
    if not usable.all():
        logits, rows = logits[usable], rows[usable]
        targets = [t for t, ok in zip(targets, usable, strict=True) if ok]
    return ctc_loss(logits.float().log_softmax(dim=-1), rows, targets)


def imitation(heard: Tensor, wanted: Tensor) -> Tensor:
    """Mean square distance of (B, S, D) features, each row of D normalised first."""
    width = heard.shape[-1:]
    return F.mse_loss(F.layer_norm(heard.float(), width), F.layer_norm(wanted.float(), width))
