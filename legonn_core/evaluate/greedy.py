"""The plainest decoding, for experiments: the best next class, for a whole batch at once.

Serving searches with beams and CTC scores; controls must not, since a search that also reads the
rows would hide a decoder that does not.
"""

from __future__ import annotations

from itertools import groupby

import torch

from legonn_core.decoders.decoder import END, Decoder, Memory
from legonn_core.train.composition import Handed


@torch.no_grad()
def decode(decoder: Decoder, memory: Memory, *, max_tokens: int) -> list[tuple[int, ...]]:
    """Follow the decoder's best class until it ends.

    Args:
        decoder: In evaluation mode.
        memory: Of R requests.
        max_tokens: Where to stop if it does not end.
    """
    requests = memory.mask.shape[0]
    state = decoder.start(requests, 1)
    last = torch.full((requests,), END, device=memory.mask.device)
    chosen, open_rows = [], torch.ones_like(last, dtype=torch.bool)
    for _ in range(max_tokens):
        log_probs, state = decoder.step(last, memory, state)
        last = log_probs.argmax(dim=-1).masked_fill(~open_rows, END)
        open_rows = open_rows & (last != END)
        chosen.append(last)
        if not open_rows.any():
            break
    rows = torch.stack(chosen, dim=1).tolist()
    return [tuple(row[: row.index(END)] if END in row else row) for row in rows]


def read_off(handed: Handed) -> list[tuple[int, ...]]:
    """CTC's best path, collapsed: what the rows say without any decoder."""
    best = handed.logits.argmax(dim=-1).tolist()
    return [
        tuple(label for label, _ in groupby(path[:count]) if label)
        for path, count in zip(best, handed.rows.tolist(), strict=True)
    ]
