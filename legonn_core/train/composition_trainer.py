"""Fine-tune modules that were trained apart, end to end or in part, on text or on speech.

What learns is said by name prefixes: ``["encoder"]`` keeps the decoder that everybody shares
(legonn.md, section 6), ``["encoder", "decoder"]`` makes a new version of both, and
``["decoder.ingestor.adapters"]`` teaches a frozen decoder one more encoder.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import sentencepiece
import torch
from torch import Tensor

from legonn_core.decoders.decoder import Decoder
from legonn_core.encoders.speech import SpeechEncoder
from legonn_core.encoders.text import TextEncoder
from legonn_core.errors import BadConfig
from legonn_core.interface.contract import check
from legonn_core.interface.reference import ModuleRef
from legonn_core.interface.tables import read_table
from legonn_core.modules.registry import load_module
from legonn_core.train.composition import Boundary, Composition, Targets
from legonn_core.train.contract_noise import ContractNoise
from legonn_core.train.loop import Budget, TrainingLoop
from legonn_core.train.optimize import MasterOptimizer
from legonn_core.train.placement import Placement
from legonn_core.train.speech_data import SpeechBatcher, SpeechSet, read_set
from legonn_core.train.text_data import EnglishPieces, read_pairs, sampled
from legonn_core.train.text_trainer import TextBatcher

Batch = tuple[tuple[Tensor, ...], Targets]


@dataclass(frozen=True, slots=True)
class CompositionRecipe:
    """What a recipe of kind ``composition`` may say.

    Attributes:
        encoder: Module to start from, ``name/version`` in ``store``; so ``decoder``.
        learns: Name prefixes of what learns; everything else stands still.
        adapter_width: Of new adapters in the decoder's ingestor; 0: none.
        pairs: Text to learn from, for a text encoder; ``origin_weights`` as in a text recipe.
        sets: Recordings to learn from, for a speech encoder, as in a speech recipe.
        share: Of the data, drawn by ``seed``.
        gate: On gradients from the decoder into the encoder.
    """

    encoder: str
    decoder: str
    out: str
    minutes: float = 0.0
    steps: int = 0
    store: str = "modules"
    learns: list[str] = field(default_factory=lambda: ["encoder"])
    adapter_width: int = 0
    pairs: str = ""
    origin_weights: dict[str, float] = field(default_factory=dict)
    sets: list[dict[str, object]] = field(default_factory=list)
    share: float = 1.0
    batch_rows: int = 1600
    batch_seconds: float = 60.0
    row_chunks: tuple[int, int] = (10, 40)
    source_dropout: float = 0.1
    gate: float = 1.0
    ctc_weight: float = 1.0
    row_jitter: float = 0.01
    rate: float = 2e-4
    warmup_steps: int = 200
    input_drop: float = 0.08
    smoothing: float = 0.1
    keep: int = 0
    device: str = "cpu"
    precision: str = "bf16"
    seed: int = 1
    threads: int = 1


class CompositionTrainer:
    """One run of a recipe; resumes from ``checkpoint.pt`` in the recipe's ``out`` folder."""

    def __init__(self, recipe: CompositionRecipe, *, root: Path) -> None:
        torch.set_num_threads(recipe.threads)
        torch.manual_seed(recipe.seed)
        self.recipe, self.root, self.out = recipe, root, root / recipe.out
        self.placement = Placement.of(recipe.device, recipe.precision)
        store = root / recipe.store
        encoder = load_module(store, ModuleRef.parse(recipe.encoder))
        decoder = load_module(store, ModuleRef.parse(recipe.decoder))
        check(encoder.card.contract, decoder.card.contract)
        self.pieces = EnglishPieces(store / encoder.card.vocabulary)
        self.source_model = store / recipe.encoder / "source.model"
        assert not isinstance(encoder.network, Decoder)
        self.encoder: SpeechEncoder | TextEncoder = encoder.network
        assert isinstance(decoder.network, Decoder)
        boundary = Boundary(
            gate=recipe.gate,
            ctc_weight=recipe.ctc_weight,
            noise=ContractNoise(jitter=recipe.row_jitter),
        )
        reader = adapted(decoder.network, recipe.adapter_width)
        self.parts = Composition(self.encoder, decoder=reader, boundaries=[boundary])
        self.placement.put(self.parts)
        if isinstance(self.encoder, SpeechEncoder):
            self.encoder.log_mel.float()
        learning = choose(self.parts, recipe.learns)
        print(f"{sum(p.numel() for _, p in learning):,} parameters learn", flush=True)
        self.optimizer = MasterOptimizer(self.parts.named_parameters(), rate=recipe.rate)
        self.infeasible = self.seen = 0
        self._read()
        self.draw_from(0)

    def _read(self) -> None:
        recipe = self.recipe
        if isinstance(self.encoder, TextEncoder):
            if not recipe.pairs:
                raise BadConfig(f"{recipe.encoder} reads text: the recipe needs pairs")
            found = read_pairs(
                self.root / recipe.pairs, self.pieces, origin_weights=recipe.origin_weights
            )
            print(f"pairs: {len(found.pairs)} kept, dropped {dict(found.dropped)}", flush=True)
            self.store = sampled(found, share=recipe.share, fold="", seed=recipe.seed)
            return
        if not recipe.sets:
            raise BadConfig(f"{recipe.encoder} hears speech: the recipe needs sets")
        rng = np.random.default_rng([recipe.seed, 7])
        self.recordings, weights = [], []
        for entry in recipe.sets:
            chosen = read_table(SpeechSet, entry, "sets")
            read = read_set(self.root, chosen, self.pieces)
            kept = [one for one in read if rng.random() < recipe.share]
            print(f"{chosen.path}: {len(kept)} of {len(read)} utterances", flush=True)
            self.recordings += kept
            weights += [chosen.weight] * len(kept)
        self.weights = np.asarray(weights)

    def draw_from(self, step: int) -> None:
        """Seed every draw by the step."""
        recipe, encoder = self.recipe, self.encoder
        torch.manual_seed(recipe.seed + step)
        if isinstance(encoder, TextEncoder):
            sentencepiece.set_random_generator_seed(recipe.seed + step)
            rows = encoder.shape.rows_per_token / encoder.shape.rows_denominator
            batcher = TextBatcher(self.store, self.source_model, recipe, rows, step=step)
            self.batches: Iterator[Batch] = (((a, b), c) for a, b, c in batcher)
            return
        shortest, longest = recipe.row_chunks
        heard = SpeechBatcher(
            self.recordings,
            self.weights,
            chunk_samples=encoder.shape.chunk_samples,
            min_chunks=shortest,
            max_chunks=longest,
            batch_seconds=recipe.batch_seconds,
            seed=[recipe.seed, step, 1],
        )
        self.batches = (((a, b), c) for a, b, c in heard)

    def backward(self, progress: float) -> dict[str, float]:
        """Gradients of one batch."""
        self.parts.train()
        inputs, targets = next(self.batches)
        # Silence has nothing for a decoder to learn.
        spoken = [index for index, target in enumerate(targets) if target]
        inputs = tuple(one[spoken].to(self.placement.device) for one in inputs)
        targets = [targets[index] for index in spoken]
        losses = self.parts.losses(
            inputs, [targets], input_drop=self.recipe.input_drop, smoothing=self.recipe.smoothing
        )
        losses.total.backward()
        self.seen += len(targets)
        self.infeasible += losses.infeasible
        return losses.parts

    def work(self) -> tuple[float, str]:
        """Items so far."""
        return self.seen, "items"

    def remarks(self) -> str:
        """How many targets were too long for their rows."""
        return f"infeasible {self.infeasible} of {self.seen}"

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


def adapted(decoder: Decoder, width: int) -> Decoder:
    """The same decoder, with fresh adapters where ``width`` is positive and it has none."""
    if not width or decoder.shape.adapter_width:
        return decoder
    wider = Decoder(dataclasses.replace(decoder.shape, adapter_width=width))
    wider.load_state_dict(decoder.state_dict(), strict=False)
    return wider


def choose(parts: Composition, learns: list[str]) -> list[tuple[str, torch.nn.Parameter]]:
    """Let only some parameters learn.

    Raises:
        BadConfig: If a prefix names none.
    """
    names = [name for name, _ in parts.named_parameters()]
    for prefix in learns:
        if not any(name.startswith(prefix) for name in names):
            raise BadConfig(f"learns names {prefix!r}, and no parameter's name begins so")
    learning = []
    for name, parameter in parts.named_parameters():
        parameter.requires_grad_(name.startswith(tuple(learns)))
        if parameter.requires_grad:
            learning.append((name, parameter))
    return learning
