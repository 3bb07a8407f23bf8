"""Ways from rows to text: read off, searched with a decoder, by the decoder alone, in a cascade."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

import numpy as np
import torch

from legonn_core.decoders.decoder import Decoder
from legonn_core.evaluate.controls import Condition, applied
from legonn_core.evaluate.greedy import decode
from legonn_core.evaluate.pipeline import BATCH, Rows, Wire, memory_of
from legonn_core.interface.marginals import Marginals
from legonn_core.modules.registry import LoadedModule
from legonn_core.train.composition import Handed

CERTAIN = 12.0
"""Logit of a class in the rows that a cascade makes of a text; the others' share is below 2 %."""


def read_off(rows: Rows) -> tuple[int, ...]:
    """CTC's best path, collapsed."""
    return tuple(label for label, _ in groupby(rows.argmax(axis=1).tolist()) if label)


def said_again(tokens: Sequence[int], num_classes: int) -> Rows:
    """Rows as an encoder would make them that is sure of a text: a blank before each token.

    The best text alone crosses, as between a recogniser and a translator in a cascade.
    """
    path = [label for token in tokens for label in (0, token)] + [0]
    logits = np.zeros((len(path), num_classes), dtype=np.float32)
    logits[np.arange(len(path)), path] = CERTAIN
    return torch.from_numpy(logits).log_softmax(dim=-1).numpy()


def changed(condition: Condition, rows: Sequence[Rows], *, seed: int) -> list[Rows]:
    """Rows of all items after a control."""
    longest = max(len(item) for item in rows)
    logits = torch.zeros(len(rows), longest, rows[0].shape[1])
    for place, item in enumerate(rows):
        logits[place, : len(item)] = torch.from_numpy(item)
    handed = applied(condition, Handed(logits, torch.tensor([len(r) for r in rows])), seed=seed)
    counts = handed.rows.tolist()
    return [
        values[:count].log_softmax(dim=-1).numpy()
        for values, count in zip(handed.logits, counts, strict=True)
    ]


@torch.inference_mode()
def by_decoder_alone(
    module: LoadedModule, rows: Sequence[Rows], wire: Wire
) -> list[tuple[int, ...]]:
    """Greedy, without CTC scores: what the decoder gets out of the rows by itself."""
    assert isinstance(module.network, Decoder)
    sent = [carried(wire, item, module) for item in rows]
    order = sorted(range(len(sent)), key=lambda index: len(sent[index]))
    found: list[tuple[int, ...]] = [()] * len(sent)
    for start in range(0, len(order), BATCH):
        chosen = order[start : start + BATCH]
        memory = memory_of(module.network, [sent[i] for i in chosen])
        longest = max(len(sent[i]) for i in chosen)
        read = decode(module.network, memory, max_tokens=longest)
        for index, tokens in zip(chosen, read, strict=True):
            found[index] = tokens
    return found


def carried(wire: Wire, rows: Rows, module: LoadedModule) -> Marginals:
    """Rows as the decoder receives them."""
    return wire.carry(rows, fingerprint=module.card.contract.fingerprint)
