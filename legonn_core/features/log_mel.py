"""Streaming log-mel frames: the same frames however the samples are cut.

Whisper's front end (25 ms window, 10 ms hop, 80 Slaney bins, log10, scaled by (x + 4) / 4), made
causal: a frame ends with its hop instead of being centred on it, and the floor is a constant
instead of the loudest frame of the clip less 80 dB, which a stream cannot know.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torchaudio.functional import melscale_fbanks

SAMPLE_RATE = 16000
"""Hz."""
HOP = 160
"""Samples from frame to frame: 10 ms."""
WINDOW = 400
"""Samples under a frame: 25 ms."""
NUM_MELS = 80
HISTORY = WINDOW - HOP
"""Samples before a frame's own hop that its window covers: the whole state."""
FLOOR = -6.0
"""log10 power below which everything is silence; speech peaks near 0 to 2."""


class LogMel(nn.Module):
    """Samples to log-mel frames; holds constants only."""

    window: Tensor
    filters: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("window", torch.hann_window(WINDOW), persistent=False)
        filters = melscale_fbanks(
            WINDOW // 2 + 1, 0.0, SAMPLE_RATE / 2, NUM_MELS, SAMPLE_RATE, "slaney", "slaney"
        )
        self.register_buffer("filters", filters, persistent=False)

    def forward(self, samples: Tensor, history: Tensor) -> tuple[Tensor, Tensor]:
        """Frames of the next samples.

        Args:
            samples: (B, N) float32 in [-1, 1], N a multiple of ``HOP``.
            history: (B, HISTORY) the samples just before; zeros at the start of a stream.

        Returns:
            Frames (B, N / HOP, NUM_MELS) and the new history (B, HISTORY).
        """
        if samples.shape[1] % HOP:
            raise ValueError(f"{samples.shape[1]} samples are not whole hops of {HOP}")
        joined = torch.cat([history, samples], dim=1)
        windows = joined.unfold(1, WINDOW, HOP) * self.window
        power = torch.fft.rfft(windows).abs().square()
        log_mel = (power @ self.filters).clamp(min=1e-10).log10().clamp(min=FLOOR)
        return (log_mel + 4.0) / 4.0, joined[:, -HISTORY:]
