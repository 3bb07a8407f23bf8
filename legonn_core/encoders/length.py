"""Output length control: how many positions an encoder hands on, and where each one looks.

Cross-attention between two groups of encoder layers (LegoNN, arXiv 2206.03318, section 3.2): K
queries over T states give exactly K = ceil(T * a / b) states. Here query k looks around its own
centre, which does not depend on T, so that a stream and a whole recording give the same rows.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from legonn_core.nn.attention import attend


class OutputLengthController(nn.Module):
    """Change the rate of a sequence by the fraction a/b.

    The query of position k is a learned vector for its phase ``k mod a`` plus the state at its
    centre; keys carry a learned bias by distance from the centre, one a head.

    Args:
        width: Model width D.
        num_heads: H.
        numerator: a, output positions for every ``denominator`` inputs.
        denominator: b.
        left: How many states before the centre have a bias of their own.
        right: How many after it; in a band also the look-ahead.
        is_band: True hides what lies outside ``[centre - left, centre + right]`` (streaming);
            False shows everything, the outermost bias serving all that is farther (text).
    """

    def __init__(
        self,
        width: int,
        num_heads: int,
        *,
        numerator: int,
        denominator: int,
        left: int,
        right: int,
        is_band: bool,
    ) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.numerator, self.denominator = numerator, denominator
        self.left, self.right, self.is_band = left, right, is_band
        self.phase = nn.Parameter(torch.randn(numerator, width) * 0.1)
        self.distance_bias = nn.Parameter(torch.zeros(num_heads, left + right + 1))
        self.norm = nn.LayerNorm(width)
        self.query = nn.Linear(width, width)
        self.key = nn.Linear(width, width)
        self.value = nn.Linear(width, width)
        self.output = nn.Linear(width, width)

    def num_positions(self, num_states: Tensor) -> Tensor:
        """K = ceil(T * a / b), element-wise."""
        return -(-num_states * self.numerator // self.denominator)

    def centres(self, positions: Tensor) -> Tensor:
        """State index at the centre of each position: floor((2k + 1) * b / (2a))."""
        return (2 * positions + 1) * self.denominator // (2 * self.numerator)

    def forward(
        self,
        states: Tensor,
        positions: Tensor,
        *,
        start: int,
        stop: Tensor,
        first: Tensor | None = None,
    ) -> Tensor:
        """Compute some positions from a window of states.

        Indices may be counted from any origin that is a whole number of ``b`` states and ``a``
        positions, so that streams at different places share one call.

        Args:
            states: (B, S, D), the states ``start .. start + S`` of each row.
            positions: (K,) which outputs to compute; one before the row's beginning is
                meaningless, and the caller drops it.
            start: Index of ``states[:, 0]``.
            stop: (B,) index behind each row's last state.
            first: (B,) index of each row's first state; None means 0.

        Returns:
            (B, K, D).
        """
        _, num_states, width = states.shape
        indices = torch.arange(start, start + num_states, device=states.device)
        centres = self.centres(positions)
        distance = indices[None, :] - centres[:, None]
        bias = self.distance_bias[:, (distance.clamp(-self.left, self.right) + self.left)]
        begin = torch.zeros_like(stop) if first is None else first
        visible = (indices >= begin[:, None, None]) & (indices < stop[:, None, None])
        if self.is_band:
            visible = visible & (distance >= -self.left)[None] & (distance <= self.right)[None]
        mask = bias[None].masked_fill(~visible[:, None], -1e9)
        last = (stop - 1)[:, None] - start
        own = (centres[None, :] - start).minimum(last).clamp(0, num_states - 1)
        centre_states = states.gather(1, own[:, :, None].expand(-1, -1, width))
        normed = self.norm(states)
        query = self.query(
            self.norm(centre_states) + self.phase[positions % self.numerator].to(states.dtype)
        )
        mixed = attend(
            self._heads(query),
            self._heads(self.key(normed)),
            self._heads(self.value(normed)),
            mask=mask.to(query.dtype),
        )
        phase = self.phase[positions % self.numerator].to(states.dtype)
        result: Tensor = centre_states + phase + self.output(mixed.transpose(1, 2).flatten(2))
        return result

    def _heads(self, x: Tensor) -> Tensor:
        batch, length, width = x.shape
        return x.view(batch, length, self.num_heads, width // self.num_heads).transpose(1, 2)
