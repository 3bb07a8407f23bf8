"""Things done to rows between encoder and decoder, to learn what the decoder reads in them."""

from __future__ import annotations

from enum import Enum

import torch

from legonn_core.train.composition import Handed


class Condition(Enum):
    """``ONE_HOT`` keeps the best class alone; ``SHUFFLED`` loses the order, ``OTHER`` the item."""

    MARGINALS = "marginals"
    ONE_HOT = "one-hot"
    SHUFFLED = "shuffled"
    OTHER = "another item's"
    UNIFORM = "uniform"


SHARP = 30.0
"""Logit of the one class that is left; the others' share is below 1e-9."""


def applied(condition: Condition, handed: Handed, *, seed: int) -> Handed:
    """Rows after a control.

    Args:
        condition: Which.
        handed: Of at least two items.
        seed: Of the shuffle.
    """
    logits, rows = handed.logits, handed.rows
    match condition:
        case Condition.MARGINALS:
            return handed
        case Condition.ONE_HOT:
            best = logits.argmax(dim=-1, keepdim=True)
            return Handed(torch.zeros_like(logits).scatter(-1, best, SHARP), rows)
        case Condition.SHUFFLED:
            generator = torch.Generator().manual_seed(seed)
            shuffled = logits.clone()
            for item, count in enumerate(rows.tolist()):
                order = torch.randperm(count, generator=generator)
                shuffled[item, :count] = logits[item, order]
            return Handed(shuffled, rows)
        case Condition.OTHER:
            return Handed(logits.roll(1, dims=0), rows.roll(1))
        case Condition.UNIFORM:
            return Handed(torch.zeros_like(logits), rows)
