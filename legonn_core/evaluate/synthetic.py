"""The swap matrix on a made-up language: LegoNN's claims, trained from seeds in a minute or two.

One decoder is trained with one written source and with simulated rows. Three encoders then drive it
that it has never met: the same source from another seed and of another shape, another script, and a
voice. Beside them two pairs without CTC, whose modules are exchanged, and the controls.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from legonn_core.decoders.decoder import Decoder, DecoderShape
from legonn_core.encoders.length import OutputLengthController
from legonn_core.encoders.text import TextEncoder, TextEncoderShape
from legonn_core.evaluate.controls import Condition, applied
from legonn_core.evaluate.greedy import decode, read_off
from legonn_core.evaluate.result import Cell, Claim, Result, mean
from legonn_core.evaluate.synthetic_language import (
    FRAME_WIDTH,
    NUM_CLASSES,
    Grammar,
    Sentence,
    SourceBatch,
    Spelling,
    Voice,
)
from legonn_core.nn.transformer import TransformerLayer
from legonn_core.scoring.scores import Score, word_error_rate
from legonn_core.train.composition import Boundary, Composition, Handed, Link
from legonn_core.train.contract_noise import ContractNoise
from legonn_core.train.optimize import MasterOptimizer, cosine_rate
from legonn_core.train.placement import Placement
from legonn_core.train.simulate import Simulator
from legonn_core.train.simulated_loss import simulated_loss

BATCH = 32
TEST_SENTENCES = 300
Writer = Callable[[list[Sentence], np.random.Generator], SourceBatch]


class FrameEncoder(nn.Module):
    """Frames to logits at half their rate, each row looking at a band of frames."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.read = nn.Linear(FRAME_WIDTH, width)
        self.before = TransformerLayer(width, 2, 2 * width)
        self.length = OutputLengthController(
            width, 2, numerator=1, denominator=2, left=6, right=6, is_band=True
        )
        self.after = TransformerLayer(width, 2, 2 * width)
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, NUM_CLASSES)

    def forward(self, frames: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Logits (B, U, V) and rows (B,) of frames (B, T, F)."""
        steps = torch.arange(frames.shape[1])
        inside = (steps < lengths[:, None])[:, None, None]
        x = self.before(self.read(frames), mask=inside, positions=steps)
        rows, positions = self.length.num_positions(lengths), torch.arange(-(-len(steps) // 2))
        x = self.length(x, positions, start=0, stop=lengths)
        x = self.after(x, mask=(positions < rows[:, None])[:, None, None], positions=positions)
        return self.head(self.norm(x)), rows


@dataclass(frozen=True, slots=True)
class Effort:
    """Optimiser steps of each kind of training; the defaults are those of ``make``."""

    joint: int = 600
    encoder: int = 300
    ungrounded: int = 350


class SyntheticExperiment:
    """Trains the systems and fills the matrix.

    Args:
        effort: How long to train.
        report: Called with a line whenever a system is trained.
    """

    def __init__(self, effort: Effort, *, report: Callable[[str], None]) -> None:
        self.effort, self.report = effort, report
        self.grammar = Grammar(seed=1)
        self.first = Spelling(letters=14, longest=2, swaps=True, misprints=0.02, seed=2)
        self.second = Spelling(letters=18, longest=2, swaps=False, misprints=0.04, seed=3)
        self.voice = Voice(noise=1.4, seed=4)
        self.test = self.grammar.sentences(TEST_SENTENCES, seed=99)
        self.cells: list[Cell] = []

    def run(self) -> Result:
        """Train everything and measure it; the same figures on the same machine every time."""
        decoder = self._decoder(seed=1)
        known = self._text(self.first, seed=1, width=32, layers=2)
        boundary = Boundary(gate=0.0, noise=ContractNoise())
        joint = Composition(known, decoder=decoder, boundaries=[boundary])
        self._train(joint, self.first.write, self.effort.joint, seed=1)
        self.report("trained a decoder with the first script")
        strangers: list[tuple[str, nn.Module, Writer]] = [
            ("first script, other shape", self._text(self.first, seed=2, width=40, layers=1),
             self.first.write),
            ("second script", self._text(self.second, seed=3, width=40, layers=1),
             self.second.write),
            ("voice", self._voice(seed=4), self.voice.say),
        ]  # fmt: skip
        for place, (name, encoder, write) in enumerate(strangers):
            alone = Composition(encoder, boundaries=[Boundary()])
            self._train(alone, write, self.effort.encoder, seed=10 + place)
            self.report(f"trained an encoder of the {name} by CTC alone")
        for name, encoder, write in [("first script", known, self.first.write), *strangers]:
            self._measure(name, encoder, decoder, write)
        self._without_ctc()
        return Result(
            title="swap matrix of a made-up language",
            command="legonn evaluate swap --synthetic",
            cells=tuple(self.cells),
            claims=self._claims(),
        )

    def _decoder(self, *, seed: int) -> Decoder:
        torch.manual_seed(seed)
        sizes = DecoderShape(
            NUM_CLASSES, width=32, hidden=64, num_heads=2, ingestor_layers=1, layers=2, max_rows=128
        )
        return Decoder(sizes)

    def _text(self, source: Spelling, *, seed: int, width: int, layers: int) -> TextEncoder:
        torch.manual_seed(seed)
        sizes = TextEncoderShape(
            source.letters,
            NUM_CLASSES,
            width=width,
            hidden=2 * width,
            num_heads=2,
            layers_before=layers,
            layers_after=1,
            rows_per_token=2,
            window=6,
        )
        return TextEncoder(sizes)

    def _voice(self, *, seed: int) -> FrameEncoder:
        torch.manual_seed(seed)
        return FrameEncoder(32)

    def _train(self, system: Composition, write: Writer, steps: int, *, seed: int) -> None:
        """Steps on fresh sentences; a grounded decoder also reads simulated rows at each."""
        torch.manual_seed(seed)
        rng = np.random.default_rng(seed)
        grounded = bool(system.boundaries[0].ctc_weight)
        simulated = None
        if system.decoder is not None and grounded:
            simulated = self._simulated(system.decoder, steps, seed=seed)
        optimizer = MasterOptimizer(system.named_parameters(), rate=4e-3, average_decay=0.98)
        sentences = self.grammar.sentences(steps * BATCH, seed=1000 + seed)
        system.train()
        for step in range(steps):
            targets = sentences[step * BATCH : (step + 1) * BATCH]
            source = write(targets, rng)
            warm = not grounded or step >= steps // 2
            losses = system.losses((source.values, source.lengths), [targets], is_reading=warm)
            losses.total.backward()
            if simulated is not None:
                next(simulated).backward()
            optimizer.step(cosine_rate(step / steps, step, warmup_steps=30))
        with torch.no_grad():
            for name, parameter in system.named_parameters():
                parameter.copy_(optimizer.average[name])
        system.eval()

    def _simulated(self, decoder: Decoder, steps: int, *, seed: int) -> Iterator[Tensor]:
        """The decoder's loss on rows made from sentences alone."""
        rng = np.random.default_rng(seed)
        others = np.stack(
            [rng.permutation(np.arange(1, NUM_CLASSES))[:12] for _ in range(NUM_CLASSES)]
        )
        unigram = np.ones(NUM_CLASSES)
        unigram[0] = 0.0
        simulator = Simulator(others, unigram, seed=seed)
        simulator.ease, simulator.most_repeats = 0.5, 0.95
        placement = Placement.of("cpu", "fp32")
        sentences = self.grammar.sentences(steps * BATCH, seed=2000 + seed)
        for step in range(steps):
            made = simulator(sentences[step * BATCH : (step + 1) * BATCH], max_rows=64)
            loss, _ = simulated_loss(
                decoder, made, placement=placement, input_drop=0.1, smoothing=0.0
            )
            yield loss

    @torch.no_grad()
    def _rows(self, encoder: nn.Module, write: Writer) -> Handed:
        source = write(self.test, np.random.default_rng(5))
        return Handed(*encoder(source.values, source.lengths))

    def _score(self, found: list[Sentence]) -> Score:
        wanted, said = (
            [" ".join(f"w{word}" for word in sentence) for sentence in sentences]
            for sentences in (self.test, found)
        )
        return word_error_rate(wanted, said)

    def _add(self, encoder: str, decoder: str, condition: str, found: list[Sentence]) -> None:
        score = self._score(found)
        self.cells.append(Cell(encoder, decoder, condition, "made-up", len(found), score))

    @torch.no_grad()
    def _measure(self, name: str, encoder: nn.Module, decoder: Decoder, write: Writer) -> None:
        handed = self._rows(encoder, write)
        self._add(name, "–", "greedy", read_off(handed))
        for condition in Condition:
            changed = applied(condition, handed, seed=7)
            link = Link.ONE_HOT if condition is Condition.ONE_HOT else Link.MARGINALS
            self._add(name, "first script's", condition.value, self._read(decoder, changed, link))

    @torch.no_grad()
    def _read(self, decoder: Decoder, handed: Handed, link: Link) -> list[Sentence]:
        system = Composition(nn.Identity(), decoder=decoder, boundaries=[Boundary(link=link)])
        return decode(decoder, system.eval().remember(handed), max_tokens=16)

    def _without_ctc(self) -> None:
        """Two systems of one script and one shape, with no CTC: their modules don't fit."""
        pairs = []
        for seed in (4, 5):
            encoder = self._text(self.second, seed=seed, width=40, layers=1)
            decoder = self._decoder(seed=seed)
            boundary = Boundary(ctc_weight=0.0)
            system = Composition(encoder, decoder=decoder, boundaries=[boundary])
            self._train(system, self.second.write, self.effort.ungrounded, seed=seed)
            self.report("trained a pair without CTC")
            pairs.append((encoder, decoder))
        for i, (encoder, _) in enumerate(pairs):
            handed = self._rows(encoder, self.second.write)
            for j, (_, decoder) in enumerate(pairs):
                condition = "no CTC, own" if i == j else "no CTC, swapped"
                found = self._read(decoder, handed, Link.MARGINALS)
                self._add(f"ungrounded {i + 1}", f"ungrounded {j + 1}", condition, found)

    def _values(self, condition: str) -> list[float]:
        return [cell.score.value for cell in self.cells if cell.condition == condition]

    def _claims(self) -> tuple[Claim, ...]:
        own, *strangers = self._values(Condition.MARGINALS.value)
        greedy = self._values("greedy")
        one_hot, shuffled, other = (
            self._values(c.value) for c in (Condition.ONE_HOT, Condition.SHUFFLED, Condition.OTHER)
        )
        matched_cost = own - greedy[0]
        costs = [seen - read for seen, read in zip(strangers, greedy[1:], strict=True)]
        kept, swapped = self._values("no CTC, own"), self._values("no CTC, swapped")
        return (
            Claim(
                "with CTC a decoder reads three encoders it never met about as well as its own:"
                f" over what the rows say it errs {max(costs):+.1f} points at most (own"
                f" {matched_cost:+.1f}; allowed 8 more)",
                max(costs) <= matched_cost + 8.0,
            ),
            Claim(
                f"without CTC exchanged modules collapse: {min(swapped):.0f} % errors at least,"
                f" {max(kept):.0f} % with their own partners",
                min(swapped) >= 85.0 and max(kept) <= 50.0,
            ),
            Claim(
                f"shuffled rows or another sentence's: {min(shuffled):.0f} and {min(other):.0f} %"
                f" at least, so the decoder reads the rows",
                min(shuffled + other) >= own + 25.0,
            ),
            Claim(
                f"one-hot rows are worse than marginals: {mean(one_hot):.1f} % to"
                f" {mean([own, *strangers]):.1f} % on average",
                mean(one_hot) >= mean([own, *strangers]),
            ),
        )
