"""Weights on disk: safetensors, matrices as int8 with one scale an output channel.

A matrix of int8 takes half of bf16; what it costs in quality was not yet measured. A file is
checked against its card before one tensor is read, and the format cannot run code.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_safetensors
from safetensors.torch import save as save_safetensors
from torch import Tensor

from legonn_core.errors import BadModule
from legonn_core.interface.card import FileDigest
from legonn_core.modules.files import MAX_MODULE_BYTES, read_inside

SCALE = ".scale"
"""Suffix of the tensor that holds the scales of an int8 matrix."""


def quantize(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Turn matrices into int8 with scales; vectors and everything else into float32.

    Args:
        weights: Parameters by name.

    Returns:
        Tensors to store: for a matrix ``name`` int8 and ``name.scale`` float32 (rows, 1, ...).
    """
    stored: dict[str, Tensor] = {}
    for name, tensor in weights.items():
        values = tensor.detach().float()
        if values.ndim < 2:
            stored[name] = values.contiguous()
            continue
        peaks = values.abs().flatten(1).amax(dim=1).clamp(min=1e-8)
        scale = (peaks / 127.0).view(-1, *[1] * (values.ndim - 1))
        stored[name] = (values / scale).round().clamp(-127, 127).to(torch.int8).contiguous()
        stored[name + SCALE] = scale.contiguous()
    return stored


def dequantize(stored: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The float32 parameters that ``quantize`` stored."""
    weights = {}
    for name, tensor in stored.items():
        if name.endswith(SCALE):
            continue
        scale = stored.get(name + SCALE)
        weights[name] = tensor.float() if scale is None else tensor.float() * scale
    return weights


def digest(content: bytes) -> FileDigest:
    """sha256 and size of a file's content."""
    return FileDigest(hashlib.sha256(content).hexdigest(), len(content))


def save(path: Path, weights: Mapping[str, Tensor]) -> FileDigest:
    """Quantise and write; returns what the card must say of the file."""
    content = save_safetensors(quantize(weights), metadata={"format": "legonn-int8/1"})
    path.write_bytes(content)
    return digest(content)


def read_checked(folder: Path, name: str, expected: FileDigest) -> bytes:
    """Read a module's file and compare it with its card.

    Args:
        folder: The version's, inside its store: ``STORE/NAME/VERSION``.
        name: Of the file.
        expected: What the card says of it.

    Raises:
        BadModule: If the file is missing, outside the store, of another size, or of another
            content.
    """
    relative = f"{folder.parent.name}/{folder.name}/{name}"
    content = read_inside(
        folder.parent.parent,
        relative,
        max_bytes=MAX_MODULE_BYTES,
        num_bytes=expected.num_bytes,
    )
    if digest(content) != expected:
        raise BadModule(
            f"{folder.parent.name}/{folder.name}: {name} does not have the sha256 on its card;"
            " the file is damaged or was changed"
        )
    return content


def load(content: bytes, *, what: str) -> dict[str, Tensor]:
    """Parameters from the bytes of a safetensors file.

    Raises:
        BadModule: If the bytes are not such a file.
    """
    try:
        return dequantize(load_safetensors(content))
    except SafetensorError as error:
        raise BadModule(f"{what}: not a safetensors file ({error})") from error
