"""Cross-entropy of a decoder on rows that were made from text."""

from __future__ import annotations

import torch
from torch import Tensor

from legonn_core.decoders.decoder import Decoder
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
) -> Tensor:
    """Nats a token of the clean text, read from simulated rows.

    Args:
        decoder: In training.
        batch: Rows and targets.
        placement: Where the decoder is.
        input_drop: Share of known inputs that are hidden.
        smoothing: Label smoothing.
    """
    device, dtype = placement.device, placement.dtype
    mixture = decoder.ingestor.mix_sparse(
        torch.from_numpy(batch.ids).to(device),
        torch.from_numpy(batch.probs).to(device, dtype),
        torch.from_numpy(batch.tail).to(device, dtype),
    )
    memory = decoder.remember(mixture, torch.from_numpy(batch.lengths).to(device))
    known = decoder_inputs(batch.targets, drop=input_drop).to(device)
    return cross_entropy(decoder(known, memory), batch.targets, smoothing=smoothing)
