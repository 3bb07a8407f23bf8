"""The memory of a stream between chunks: flat, named tensors whose row 0 axis is streams."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True)
class EncoderState:
    """Named tensors, each (B, ...); the only memory between chunks.

    A state is a value: steps return a new one, and rows never see one another.
    """

    tensors: Mapping[str, Tensor]

    def __post_init__(self) -> None:
        object.__setattr__(self, "tensors", MappingProxyType(dict(self.tensors)))

    def __getitem__(self, name: str) -> Tensor:
        return self.tensors[name]

    @property
    def num_rows(self) -> int:
        """B."""
        return next(iter(self.tensors.values())).shape[0]

    @property
    def size_bytes(self) -> int:
        """Memory of all rows."""
        return sum(t.numel() * t.element_size() for t in self.tensors.values())

    def layout(self) -> list[tuple[str, str, tuple[int, ...]]]:
        """Name, type and shape of one row of each tensor, for the module card."""
        return [
            (name, str(t.dtype).removeprefix("torch."), tuple(t.shape[1:]))
            for name, t in self.tensors.items()
        ]

    def rows(self, indices: Tensor) -> EncoderState:
        """The given rows, in that order."""
        return EncoderState({name: t.index_select(0, indices) for name, t in self.tensors.items()})

    def write(self, indices: Tensor, rows: EncoderState) -> None:
        """Overwrite the given rows in place; for the one owner of a slot table."""
        for name, tensor in self.tensors.items():
            tensor.index_copy_(0, indices, rows[name])

    def reset(self, indices: Tensor) -> None:
        """Zero the given rows in place: nothing of the last holder remains."""
        for tensor in self.tensors.values():
            tensor.index_fill_(0, indices, 0)

    @classmethod
    def stack(cls, states: Sequence[EncoderState]) -> EncoderState:
        """Join the rows of several states."""
        names = states[0].tensors.keys()
        return cls({name: torch.cat([s[name] for s in states]) for name in names})
