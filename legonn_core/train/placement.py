"""Where a training computes, and in which numbers."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn

from legonn_core.errors import BadConfig

PRECISIONS = {"bf16": torch.bfloat16, "fp32": torch.float32}


@dataclass(frozen=True, slots=True)
class Placement:
    """A device and the type of a network's parameters; masters and CTC stay in float32."""

    device: torch.device
    dtype: torch.dtype

    @classmethod
    def of(cls, device: str, precision: str) -> Placement:
        """Read a recipe's ``device`` (auto, cpu, cuda, cuda:1 …) and ``precision``.

        Raises:
            BadConfig: If there is no such device here, or no such precision.
        """
        if precision not in PRECISIONS:
            raise BadConfig(f"precision is {precision!r}; it must be {' or '.join(PRECISIONS)}")
        name = ("cuda" if torch.cuda.is_available() else "cpu") if device == "auto" else device
        try:
            found = torch.device(name)
        except RuntimeError as error:
            raise BadConfig(f"device is {device!r}; it must be auto, cpu or cuda") from error
        if found.type == "cuda" and not torch.cuda.is_available():
            raise BadConfig("device is cuda, but torch sees no GPU here; use auto or cpu")
        return cls(found, PRECISIONS[precision])

    def put(self, network: nn.Module) -> None:
        """Move a network there."""
        network.to(self.device, self.dtype)
