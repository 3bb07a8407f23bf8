"""Cross-entropy of a decoder on rows that were made from text."""

from __future__ import annotations

import torch
from torch import Tensor

from legonn_core.decoders.decoder import Decoder
from legonn_core.train.guided_attention import GuidedHead
from legonn_core.train.losses import cross_entropy, decoder_inputs
from legonn_core.train.placement import Placement
from legonn_core.train.simulate import SimulatedBatch


def simulated_loss(
    decoder: Decoder,
    batch: SimulatedBatch,
    *,
    placement: Placement,
    input_drop: float,
    smoothing: float,
    guided: GuidedHead | None = None,
) -> tuple[Tensor, Tensor]:
    """Nats a token of the clean text, read from simulated rows; and the guided head's surprise.

    Args:
        decoder: In training.
        batch: Rows and targets.
        placement: Where the decoder is.
        input_drop: Share of known inputs that are hidden.
        smoothing: Label smoothing.
        guided: Whose surprise is wanted; 0 without.
    """
    device, dtype = placement.device, placement.dtype
    read = decoder.ingestor.read_sparse(
        torch.from_numpy(batch.ids).to(device),
        torch.from_numpy(batch.probs).to(device, dtype),
        torch.from_numpy(batch.tail).to(device, dtype),
        torch.from_numpy(batch.lengths).to(device),
    )
    memory = decoder.remember(read.mixture, read.lengths)
    known = decoder_inputs(batch.targets, drop=input_drop).to(device)
    if guided is None:
        logits, surprise = decoder(known, memory), torch.zeros((), device=device)
    else:
        with guided.listening():
            logits = decoder(known, memory)
        surprise = guided.loss(torch.from_numpy(batch.said).to(device).gather(1, read.rows))
    return cross_entropy(logits, batch.targets, smoothing=smoothing), surprise
