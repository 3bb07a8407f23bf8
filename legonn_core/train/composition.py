"""Any chain of modules as one network: CTC at every boundary, cross-entropy at the end.

LegoNN (arXiv 2206.03318, section 3.4): for M modules the loss is ``F_CE`` plus the sum of M - 1
CTC losses, one where each module hands on. Through marginals a composition is differentiable, so
one of modules trained apart can be fine-tuned end to end; the gate at a boundary scales or stops
what flows back.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum

import torch
from torch import Tensor, nn

from legonn_core.decoders.decoder import Decoder, Memory
from legonn_core.encoders.marginal import MarginalEncoder
from legonn_core.ingestors.ingestor import Ingestor
from legonn_core.train.contract_noise import ContractNoise, gated
from legonn_core.train.losses import cross_entropy, ctc_loss, decoder_inputs, feasible

Targets = list[tuple[int, ...]]


class Link(Enum):
    """What crosses a boundary.

    ``STATES`` leaves the softmax out: the reader sees a linear map of hidden states, as in a plain
    encoder-decoder, with exactly as many parameters. It is the baseline, ``ONE_HOT`` a control.
    """

    MARGINALS = "marginals"
    ONE_HOT = "one-hot"
    STATES = "states"


@dataclass(frozen=True, slots=True)
class Boundary:
    """How one module hands on to the next.

    Attributes:
        link: What crosses.
        gate: Factor on gradients that flow back through it.
        ctc_weight: Of the CTC loss here; 0 leaves the module ungrounded.
        noise: Of training; None hands on rows as they are.
    """

    link: Link = Link.MARGINALS
    gate: float = 1.0
    ctc_weight: float = 1.0
    noise: ContractNoise | None = None


@dataclass(frozen=True, slots=True)
class Handed:
    """What a module handed on: logits (B, U, V) and the number of rows (B,)."""

    logits: Tensor
    rows: Tensor

    @property
    def log_probs(self) -> Tensor:
        """(B, U, V) natural logarithms, float32 whatever the network computes in."""
        return self.logits.float().log_softmax(dim=-1)


@dataclass(slots=True)
class Losses:
    """One batch's losses in nats a token.

    Attributes:
        total: What to run backward on.
        parts: By name: ``ctc`` (``ctc_1`` … further on) and ``ce``.
        infeasible: Targets that CTC could not align, over all boundaries.
    """

    total: Tensor
    parts: dict[str, float] = field(default_factory=dict)
    infeasible: int = 0


class Composition(nn.Module):
    """An encoder, any number of modules in the middle, and at the end a decoder or none.

    Args:
        encoder: Inputs to (logits, rows).
        middle: In order.
        decoder: None trains encoders alone.
        boundaries: One behind the encoder and one behind each middle module.
    """

    def __init__(
        self,
        encoder: nn.Module,
        *,
        middle: Sequence[MarginalEncoder] = (),
        decoder: Decoder | None = None,
        boundaries: Sequence[Boundary],
    ) -> None:
        super().__init__()
        if len(boundaries) != 1 + len(middle):
            raise ValueError(f"{len(boundaries)} boundaries behind {1 + len(middle)} modules")
        self.encoder = encoder
        self.middle = nn.ModuleList(middle)
        self.decoder = decoder
        self.boundaries = tuple(boundaries)

    @property
    def readers(self) -> list[MarginalEncoder]:
        """The modules in the middle, in order."""
        return [one for one in self.middle if isinstance(one, MarginalEncoder)]

    def mixture(
        self, reader: Ingestor, handed: Handed, boundary: Boundary
    ) -> tuple[Tensor, Tensor]:
        """What a reader's first layer sees of a boundary: (B, U', mixed width) and rows (B,)."""
        kind = next(reader.parameters()).dtype
        rows = handed.rows
        if boundary.link is Link.STATES:
            seen = gated(handed.logits, boundary.gate).to(kind)
            return reader.mix_dense(seen, seen.new_zeros(seen.shape[:2])), rows
        log_probs = gated(handed.log_probs, boundary.gate)
        if boundary.link is Link.ONE_HOT:
            best = log_probs.argmax(dim=-1, keepdim=True)
            probs = torch.zeros_like(log_probs).scatter(-1, best, 1.0)
            tail = probs.new_zeros(probs.shape[:2])
        elif boundary.noise is not None and self.training:
            probs, tail, rows = boundary.noise(log_probs, rows)
        else:
            probs = log_probs.exp()
            tail = probs.new_zeros(probs.shape[:2])
        read = reader.read_dense(probs.to(kind), tail.to(kind), rows)
        return read.mixture, read.lengths

    def hand_on(self, *inputs: Tensor) -> list[Handed]:
        """What every module but the decoder hands on, in order."""
        handed = [Handed(*self.encoder(*inputs))]
        for module, boundary in zip(self.readers, self.boundaries, strict=False):
            mixed, rows = self.mixture(module.ingestor, handed[-1], boundary)
            handed.append(Handed(*module(mixed, rows)))
        return handed

    def remember(self, handed: Handed) -> Memory:
        """The decoder's memory of what the last module handed on."""
        assert self.decoder is not None
        mixed, rows = self.mixture(self.decoder.ingestor, handed, self.boundaries[-1])
        return self.decoder.remember(mixed, rows)

    def losses(
        self,
        inputs: Sequence[Tensor],
        targets: Sequence[Targets],
        *,
        is_reading: bool = True,
        input_drop: float = 0.0,
        smoothing: float = 0.0,
    ) -> Losses:
        """CTC at every boundary, and cross-entropy of the decoder.

        Args:
            inputs: Of the encoder.
            targets: For each boundary, in its vocabulary; the decoder's are the last.
            is_reading: False leaves the decoder out (CTC alone, at the start of a training).
            input_drop: Share of the decoder's known inputs that are hidden.
            smoothing: Label smoothing.
        """
        handed = self.hand_on(*inputs)
        found = Losses(handed[0].logits.new_zeros((), dtype=torch.float32))
        for index, (one, boundary, wanted) in enumerate(
            zip(handed, self.boundaries, targets, strict=True)
        ):
            if boundary.ctc_weight:
                found.infeasible += int((~feasible(wanted, one.rows)).sum())
                loss = ctc_loss(one.log_probs, one.rows, wanted)
                found.parts["ctc" if index == 0 else f"ctc_{index}"] = float(loss.detach())
                found.total = found.total + boundary.ctc_weight * loss
        if self.decoder is not None and is_reading:
            known = decoder_inputs(targets[-1], drop=input_drop).to(handed[-1].logits.device)
            logits = self.decoder(known, self.remember(handed[-1]))
            entropy = cross_entropy(logits, targets[-1], smoothing=smoothing)
            found.parts["ce"] = float(entropy.detach())
            found.total = found.total + entropy
        return found
