"""Train speech systems of any number of modules behind a trunk that stands still, in minutes.

One trainer for the experiments on speech: an encoder alone by CTC, over sub-words or phones; a
task-specific baseline with a decoder of its own; modules trained apart and fine-tuned as a chain.
Whisper's layers are run once (``trunk_features``); with full context, since they were made so.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from legonn_core.errors import BadConfig
from legonn_core.interface.tables import read_table
from legonn_core.train.chain import PIECES, ChainRecipe, chain_networks, is_trunk
from legonn_core.train.composition import Targets
from legonn_core.train.loop import Budget, TrainingLoop
from legonn_core.train.optimize import MasterOptimizer
from legonn_core.train.phones import PhoneSpeller
from legonn_core.train.placement import Placement
from legonn_core.train.spec_augment import SpecAugment
from legonn_core.train.speech_data import SpeechBatcher, SpeechSet, read_set
from legonn_core.train.text_data import EnglishPieces
from legonn_core.train.trunk_features import (
    FRAMES_PER_SECOND,
    FeatureBatcher,
    TrunkFeatures,
    read_features,
    write_features,
)


class ChainTrainer:
    """One run of a recipe; resumes from ``checkpoint.pt`` in the recipe's ``out`` folder."""

    def __init__(self, recipe: ChainRecipe, *, root: Path) -> None:
        torch.set_num_threads(recipe.threads)
        torch.manual_seed(recipe.seed)
        torch.set_flush_denormal(True)  # tiny probabilities slowed every pass over the classes
        self.recipe, self.root, self.out = recipe, root, root / recipe.out
        self.pieces = EnglishPieces(root / recipe.vocabulary)
        parts = chain_networks(recipe, root=root, num_pieces=len(self.pieces.vocabulary))
        self.parts, self.speech = parts.composition, parts.speech
        self.speller = PhoneSpeller.of(root / recipe.dictionary) if recipe.dictionary else None
        self.placement = Placement.of(recipe.device, recipe.precision)
        self.placement.put(self.parts)
        self.speech.log_mel.float()
        self.features = self._hear()
        self.optimizer = MasterOptimizer(self._learning(), rate=recipe.rate, clip_norm=2.0)
        count = sum(p.numel() for p in self.optimizer.parameters.values() if p.requires_grad)
        print(f"{count:,} parameters learn", flush=True)
        self.heard = 0.0
        self.infeasible = self.seen = 0
        self.draw_from(0)

    def _learning(self) -> list[tuple[str, nn.Parameter]]:
        """Every parameter but the trunk's; those that stand still are kept with the run too."""
        wanted = tuple(self.recipe.learns)
        found = []
        for name, parameter in self.parts.named_parameters():
            is_fixed = is_trunk(name)
            parameter.requires_grad_(not is_fixed and (not wanted or name.startswith(wanted)))
            if not is_fixed:
                found.append((name, parameter))
        if not any(parameter.requires_grad for _, parameter in found):
            raise BadConfig(f"learns = {list(wanted)}: no parameter's name begins so")
        return found

    def _hear(self) -> TrunkFeatures:
        """What the trunk gives, from the folder or computed now."""
        recipe = self.recipe
        key = hashlib.sha256(
            repr((recipe.sets, recipe.share, recipe.feature_hours, recipe.row_chunks)).encode()
        ).hexdigest()[:16]
        folder = self.root / recipe.features / key
        if (found := read_features(folder)) is not None:
            print(f"{len(found.rows)} rows heard before", flush=True)
            return found
        rng = np.random.default_rng(7)
        recordings, weights = [], []
        for entry in recipe.sets:
            chosen = read_table(SpeechSet, entry, "sets")
            read = read_set(self.root, chosen, self.pieces)
            kept = [one for one in read if rng.random() < recipe.share]
            print(f"{chosen.path}: {len(kept)} of {len(read)} utterances", flush=True)
            recordings += kept
            weights += [chosen.weight] * len(kept)
        shortest, longest = recipe.row_chunks
        batcher = SpeechBatcher(
            recordings,
            np.asarray(weights),
            chunk_samples=self.speech.shape.chunk_samples,
            min_chunks=shortest,
            max_chunks=longest,
            batch_seconds=60.0,
            seed=[7, 1],
        )
        print(f"the trunk hears {recipe.feature_hours:g} h once", flush=True)
        return write_features(folder, self.speech, batcher, hours=recipe.feature_hours, key=key)

    def draw_from(self, step: int) -> None:
        """Seed every draw by the step."""
        recipe = self.recipe
        torch.manual_seed(recipe.seed + step)
        batcher = FeatureBatcher(
            self.features,
            batch_seconds=recipe.batch_seconds,
            masks=SpecAugment() if recipe.masks else None,
            seed=[recipe.seed, step, 1],
        )
        self.batches: Iterator[tuple[Tensor, Tensor, Targets]] = iter(batcher)

    def _targets(self, said: Targets) -> tuple[list[int], list[Targets]]:
        """Which rows have targets at every boundary, and those targets."""
        if self.recipe.writes == PIECES:
            return list(range(len(said))), [said]
        assert self.speller is not None
        spelt = [self.speller.spell(self.pieces.vocabulary.text(tokens)) for tokens in said]
        kept = [index for index, phones in enumerate(spelt) if phones]
        phones = [spelt[index] or () for index in kept]
        if not len(self.parts.middle):
            return kept, [phones]
        return kept, [phones, [said[index] for index in kept]]

    def backward(self, progress: float) -> dict[str, float]:
        """Gradients of one batch."""
        self.parts.train()
        features, chunks, said = next(self.batches)
        kept, targets = self._targets(said)
        self.heard += features.shape[0] * features.shape[1] / FRAMES_PER_SECOND
        place = self.placement
        losses = self.parts.losses(
            (features[kept].to(place.device, place.dtype), chunks[kept].to(place.device)),
            targets,
            is_reading=self._is_warm,
            input_drop=self.recipe.input_drop,
            smoothing=self.recipe.smoothing,
        )
        losses.total.backward()
        self.seen += len(kept)
        self.infeasible += losses.infeasible
        return losses.parts

    @property
    def _is_warm(self) -> bool:
        """Whether CTC has had its head start; what was trained before needs none."""
        recipe = self.recipe
        started = bool(recipe.encoder_run) or not recipe.ctc_weight
        return started or self.optimizer.steps >= recipe.ctc_only_steps

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
