"""The two losses of LegoNN: CTC at the interface, cross-entropy at the decoder's output."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from legonn_core.train.text_data import repeats


def pad_targets(targets: list[tuple[int, ...]]) -> tuple[Tensor, Tensor]:
    """Targets as (B, S) int64 padded with 0 to a multiple of 4 less 1, and their lengths (B,)."""
    lengths = torch.tensor([len(target) for target in targets])
    padded = torch.zeros(len(targets), int(lengths.max()) // 4 * 4 + 3, dtype=torch.long)
    for row, target in enumerate(targets):
        padded[row, : len(target)] = torch.tensor(target)
    return padded, lengths


def feasible(targets: list[tuple[int, ...]], rows: Tensor) -> Tensor:
    """Which rows CTC can align: as many positions as tokens and repeats (B,) bool."""
    need = torch.tensor([len(target) + repeats(target) for target in targets])
    return rows.cpu() >= need


def ctc_loss(log_probs: Tensor, rows: Tensor, targets: list[tuple[int, ...]]) -> Tensor:
    """Summed CTC loss over the feasible rows, divided by all target tokens (nats a token).

    Args:
        log_probs: (B, U, V) float32, normalised.
        rows: (B,) positions of each row.
        targets: Blank-free classes; an empty one asks for blanks only.

    Returns:
        A scalar; 0 where there are no rows.
    """
    if not targets:
        return log_probs.sum()
    padded, lengths = pad_targets(targets)
    # cuDNN's CTC has had its own ideas of infinite and empty rows; PyTorch's is one everywhere.
    with torch.backends.cudnn.flags(enabled=False):
        losses = F.ctc_loss(
            log_probs.transpose(0, 1),
            padded.to(log_probs.device),
            rows,
            lengths,
            blank=0,
            reduction="none",
            zero_infinity=True,
        )
    return losses.sum() / lengths.sum().clamp(min=1).item()


def cross_entropy(logits: Tensor, targets: list[tuple[int, ...]], *, smoothing: float) -> Tensor:
    """Mean over tokens and one end each (nats a token).

    Args:
        logits: (B, S + 1, V).
        targets: Without beginning or end.
        smoothing: Label smoothing.
    """
    padded, lengths = pad_targets(targets)
    batch, width = padded.shape
    # The end is class 0 and so is padding: only the first 0 of a row counts.
    expected = torch.cat([padded, torch.zeros(batch, 1, dtype=torch.long)], dim=1)
    steps = torch.arange(width + 1)
    expected = expected.masked_fill(steps[None, :] > lengths[:, None], -100)
    return F.cross_entropy(
        logits.float().flatten(0, 1),
        expected.flatten().to(logits.device),
        ignore_index=-100,
        label_smoothing=smoothing,
    )


def decoder_inputs(targets: list[tuple[int, ...]], *, drop: float) -> Tensor:
    """Targets shifted right behind the beginning, some replaced by it.

    Dropped inputs make the decoder lean on the marginals instead of its own past.

    Args:
        targets: Without beginning or end.
        drop: Probability of hiding an input token.

    Returns:
        (B, S + 1) int64.
    """
    padded, _ = pad_targets(targets)
    if drop:
        padded = padded.masked_fill(torch.rand(padded.shape) < drop, 0)
    return torch.cat([torch.zeros(len(targets), 1, dtype=torch.long), padded], dim=1)
