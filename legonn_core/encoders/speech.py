"""The streaming speech encoder: chunks of samples in, English marginals out, memory as a value.

Whisper's convolutions and Transformer trunk (arXiv 2212.04356) made chunk-causal, length control
to 12.5 rows a second (25 for phones), conformer layers, and a CTC head. Everything before a chunk's
end is visible up to a fixed left context, nothing after it; the length controller alone waits for a
few frames more, so a step emits the rows whose right context is complete.

Frames are counted at three rates: mel (100 Hz), trunk (50 Hz), stacked pairs (25 Hz).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from legonn_core.encoders.length import OutputLengthController
from legonn_core.features.log_mel import HISTORY, HOP, NUM_MELS, SAMPLE_RATE, LogMel
from legonn_core.nn.conformer import ConformerLayer
from legonn_core.nn.positions import sinusoids
from legonn_core.nn.state import EncoderState
from legonn_core.nn.transformer import KeysValues, TransformerLayer

PAIR_SAMPLES = 4 * HOP
"""Samples of a stacked pair of trunk frames: 40 ms."""


@dataclass(frozen=True, slots=True)
class SpeechEncoderShape:
    """Sizes and geometry of a speech encoder.

    Attributes:
        num_classes: V, interface classes with blank.
        width: Of Whisper's trunk.
        row_width: Of everything after length control.
        chunk_rows: Rows a chunk; a chunk lasts ``chunk_rows * pairs_per_row * 40`` ms.
        left_chunks: How many earlier chunks every layer sees.
        right_pairs: Look-ahead of the length controller in 40 ms pairs; whole rows.
        max_chunks: Longest segment.
        pairs_per_row: 40 ms pairs that a row stands for: 2 makes 12.5 rows a second, 1 makes 25.
    """

    num_classes: int
    width: int = 384
    hidden: int = 1536
    num_heads: int = 6
    layers: int = 4
    row_width: int = 256
    row_hidden: int = 768
    row_heads: int = 4
    row_layers: int = 2
    row_kernel: int = 9
    chunk_rows: int = 8
    left_chunks: int = 8
    left_pairs: int = 12
    right_pairs: int = 4
    max_chunks: int = 46
    dropout: float = 0.0
    pairs_per_row: int = 2

    def __post_init__(self) -> None:
        if self.pairs_per_row < 1:
            raise ValueError(f"pairs_per_row is {self.pairs_per_row}, not positive")
        if self.right_pairs % self.pairs_per_row or not 0 <= self.held_rows < self.chunk_rows:
            raise ValueError(
                f"right_pairs is {self.right_pairs}, not whole rows or not less than a chunk"
            )
        if self.left_pairs + self.right_pairs > self.chunk_pairs + 1:
            raise ValueError(
                f"left_pairs and right_pairs are {self.left_pairs} and {self.right_pairs}:"
                f" a stream keeps one chunk of {self.chunk_pairs} pairs"
            )

    @property
    def row_samples(self) -> int:
        """Samples a row stands for."""
        return self.pairs_per_row * PAIR_SAMPLES

    @property
    def row_frames(self) -> int:
        """Trunk frames a row stands for."""
        return 2 * self.pairs_per_row

    @property
    def chunk_pairs(self) -> int:
        """Pairs of one step."""
        return self.chunk_rows * self.pairs_per_row

    @property
    def chunk_samples(self) -> int:
        """Samples of one step."""
        return self.chunk_rows * self.row_samples

    @property
    def held_rows(self) -> int:
        """Rows at the newest edge that wait for their right context."""
        return self.right_pairs // self.pairs_per_row


class SpeechEncoder(nn.Module):
    """Samples to logits over the interface classes."""

    positions: Tensor

    def __init__(self, shape: SpeechEncoderShape) -> None:
        super().__init__()
        self.shape = shape
        self.log_mel = LogMel()
        self.conv1 = nn.Conv1d(NUM_MELS, shape.width, 3)
        self.conv2 = nn.Conv1d(shape.width, shape.width, 3, stride=2)
        frames = shape.max_chunks * shape.chunk_rows * shape.row_frames
        self.register_buffer("positions", sinusoids(frames, shape.width), persistent=False)
        self.layers = nn.ModuleList(
            TransformerLayer(
                shape.width, shape.num_heads, shape.hidden, dropout=shape.dropout, is_relative=False
            )
            for _ in range(shape.layers)
        )
        self.trunk_norm = nn.LayerNorm(shape.width)
        self.pair = nn.Linear(2 * shape.width, shape.row_width)
        self.length = OutputLengthController(
            shape.row_width,
            shape.row_heads,
            numerator=1,
            denominator=shape.pairs_per_row,
            left=shape.left_pairs,
            right=shape.right_pairs,
            is_band=True,
        )
        self.row_layers = nn.ModuleList(
            ConformerLayer(
                shape.row_width,
                shape.row_heads,
                shape.row_hidden,
                shape.row_kernel,
                dropout=shape.dropout,
            )
            for _ in range(shape.row_layers)
        )
        self.head = nn.Linear(shape.row_width, shape.num_classes)

    def start(self, num_rows: int) -> EncoderState:
        """Memory of ``num_rows`` streams that have heard nothing."""
        shape, weight = self.shape, self.head.weight

        def zeros(*size: int) -> Tensor:
            return weight.new_zeros(num_rows, *size)

        past = shape.left_chunks * shape.chunk_rows
        frames = past * shape.row_frames
        head = shape.width // shape.num_heads
        row_head = shape.row_width // shape.row_heads
        tensors = {
            "chunks": torch.zeros(num_rows, dtype=torch.int64, device=weight.device),
            "samples": zeros(HISTORY),
            "mels": zeros(2, NUM_MELS),
            "frames": zeros(1, shape.width),
            "pairs": zeros(shape.chunk_pairs, shape.row_width),
        }
        for i in range(shape.layers):
            tensors[f"keys_{i}"] = zeros(shape.num_heads, frames, head)
            tensors[f"values_{i}"] = zeros(shape.num_heads, frames, head)
        for i in range(shape.row_layers):
            tensors[f"row_keys_{i}"] = zeros(shape.row_heads, past, row_head)
            tensors[f"row_values_{i}"] = zeros(shape.row_heads, past, row_head)
            tensors[f"row_convolved_{i}"] = zeros(shape.row_kernel - 1, shape.row_width)
        return EncoderState(tensors)

    def step(self, samples: Tensor, state: EncoderState) -> tuple[Tensor, EncoderState]:
        """Read one chunk of every stream.

        Args:
            samples: (B, chunk_samples) float32 at 16 kHz.
            state: Of B streams, each at its own place.

        Returns:
            Logits (B, chunk_rows, V) of the rows ``chunks * chunk_rows - held_rows`` and on (a
            stream's first step begins with ``held_rows`` meaningless ones), and the new state.
        """
        shape, chunks = self.shape, state["chunks"]
        if samples.shape[1] != shape.chunk_samples:
            raise ValueError(
                f"a chunk is {shape.chunk_samples} samples at {SAMPLE_RATE} Hz,"
                f" not {samples.shape[1]}"
            )
        new: dict[str, Tensor] = {"chunks": chunks + 1}
        mels, new["samples"] = self.log_mel(samples, state["samples"])
        x, new["mels"], new["frames"] = self._convolve(mels, state["mels"], state["frames"])
        frames = x.shape[1]
        at = chunks[:, None] * frames + torch.arange(frames, device=x.device)
        x = x + self.positions[at.clamp(max=len(self.positions) - 1)]
        mask = self._visible(chunks * frames, shape.left_chunks * frames, frames)
        for i, layer in enumerate(self.layers):
            assert isinstance(layer, TransformerLayer)
            past = KeysValues(state[f"keys_{i}"], state[f"values_{i}"])
            x, joined = layer.step(x, past, mask=mask)
            new[f"keys_{i}"] = joined.keys[:, :, frames:]
            new[f"values_{i}"] = joined.values[:, :, frames:]
        pairs = torch.cat([state["pairs"], self._pairs(self.trunk_norm(x))], dim=1)
        size = shape.chunk_pairs
        new["pairs"] = pairs[:, size:]
        x = self.length(
            pairs,
            torch.arange(shape.chunk_rows, device=x.device) - shape.held_rows,
            start=-size,
            stop=torch.full_like(chunks, size),
            first=-chunks * size,
        )
        return self._rows_step(x, state, new), EncoderState(new)

    def _rows_step(self, x: Tensor, state: EncoderState, new: dict[str, Tensor]) -> Tensor:
        shape, rows = self.shape, self.shape.chunk_rows
        heard = state["chunks"] * rows - shape.held_rows
        at = heard[:, None] + torch.arange(rows, device=x.device)
        mask = self._visible(heard, shape.left_chunks * rows, rows)
        for i, layer in enumerate(self.row_layers):
            x, joined, new[f"row_convolved_{i}"] = layer(
                x,
                mask=mask,
                positions=at[:, None],
                past=KeysValues(state[f"row_keys_{i}"], state[f"row_values_{i}"]),
                convolved=state[f"row_convolved_{i}"],
                valid=at >= 0,
            )
            new[f"row_keys_{i}"] = joined.keys[:, :, rows:]
            new[f"row_values_{i}"] = joined.values[:, :, rows:]
        result: Tensor = self.head(x)
        return result

    @staticmethod
    def _visible(heard: Tensor, past: int, new: int) -> Tensor:
        """(B, 1, 1, past + new) bool: which cached and new positions lie in the stream."""
        index = torch.arange(-past, new, device=heard.device)
        return (index[None, :] + heard[:, None] >= 0)[:, None, None, :]

    def _convolve(
        self, mels: Tensor, earlier: Tensor, frames: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Whisper's two convolutions, looking back only: (B, 2n, 80) to (B, n, D)."""
        mels = torch.cat([earlier, mels.to(self.conv1.weight.dtype)], dim=1)
        once = F.gelu(self.conv1(mels.transpose(1, 2)))
        joined = torch.cat([frames.transpose(1, 2), once], dim=2)
        twice = F.gelu(self.conv2(joined)).transpose(1, 2)
        return twice, mels[:, -2:], joined[:, :, -1:].transpose(1, 2)

    def _pairs(self, x: Tensor) -> Tensor:
        batch, frames, width = x.shape
        result: Tensor = self.pair(x.reshape(batch, frames // 2, 2 * width))
        return result

    def forward(
        self, samples: Tensor, chunks: Tensor, *, chunk_rows: int | None = None
    ) -> tuple[Tensor, Tensor]:
        """Read whole recordings at once, seeing what a stream would see.

        Args:
            samples: (B, N) float32, N a whole number of chunks.
            chunks: (B,) int64, how many ``chunk_rows`` chunks of each row are recording; what
                follows is padding.
            chunk_rows: Rows a chunk for the masks; None takes the module's own, 0 shows
                everything (full context).

        Returns:
            Logits (B, U, V), and the number of rows (B,).
        """
        return self.read(
            self.trunk(samples, chunks, chunk_rows=chunk_rows), chunks, chunk_rows=chunk_rows
        )

    def trunk(
        self,
        samples: Tensor,
        chunks: Tensor,
        *,
        chunk_rows: int | None = None,
        masks: Callable[[Tensor], Tensor] | None = None,
    ) -> Tensor:
        """The part that Whisper's weights fill.

        Args:
            samples: As of ``forward``; so are ``chunks`` and ``chunk_rows``.
            chunks: See there.
            chunk_rows: See there.
            masks: Applied to mel frames (B, T, 80) in training.

        Returns:
            Features (B, frames, D).
        """
        shape = self.shape
        size = shape.chunk_rows if chunk_rows is None else chunk_rows
        empty = self.start(samples.shape[0])
        mels, _ = self.log_mel(samples, samples.new_zeros(samples.shape[0], HISTORY))
        mels = mels if masks is None else masks(mels)
        x, _, _ = self._convolve(mels, empty["mels"], empty["frames"])
        x = x + self.positions[: x.shape[1]]
        own = chunks * shape.chunk_rows
        left = shape.left_chunks * shape.chunk_rows
        each = shape.row_frames
        mask = self._chunk_mask(x.shape[1], own * each, size * each, left * each, shift=0)
        for layer in self.layers:
            x = layer(x, mask=mask, positions=None)
        result: Tensor = self.trunk_norm(x)
        return result

    def read(
        self, features: Tensor, chunks: Tensor, *, chunk_rows: int | None = None
    ) -> tuple[Tensor, Tensor]:
        """What follows the trunk; arguments and result as of ``forward``."""
        shape, batch = self.shape, len(features)
        size = shape.chunk_rows if chunk_rows is None else chunk_rows
        own = chunks * shape.chunk_rows
        left = shape.left_chunks * shape.chunk_rows
        x = self._pairs(features)
        rows = torch.arange(x.shape[1] // shape.pairs_per_row, device=x.device)
        x = self.length(x, rows, start=0, stop=own * shape.pairs_per_row)
        mask = self._chunk_mask(len(rows), own, size, left, shift=shape.held_rows)
        for layer in self.row_layers:
            past = KeysValues(
                *[x.new_zeros(batch, shape.row_heads, 0, shape.row_width // shape.row_heads)] * 2
            )
            convolved = x.new_zeros(batch, shape.row_kernel - 1, shape.row_width)
            x, _, _ = layer(x, mask=mask, positions=rows, past=past, convolved=convolved)
        return self.head(x), (own - shape.held_rows)

    @staticmethod
    def _chunk_mask(length: int, own: Tensor, size: int, left: int, *, shift: int) -> Tensor:
        """(B, 1, S, S) bool: inside the recording, and in the same or a near earlier chunk."""
        steps = torch.arange(length, device=own.device)
        inside = (steps[None, :] < own[:, None])[:, None, None, :]
        if size == 0:
            return inside
        chunk = (steps + shift) // size
        apart = chunk[:, None] - chunk[None, :]
        near = (apart >= 0) & (apart <= left // size)
        return inside & near[None, None] | torch.eye(length, dtype=torch.bool, device=own.device)
