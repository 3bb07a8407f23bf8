"""A CTranslate2 ``model.bin`` of format 6 that holds the trunk of a speech encoder."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
from torch import Tensor, cat

from legonn_core.encoders.speech import SpeechEncoder


def trunk_tensors(encoder: SpeechEncoder) -> dict[str, np.ndarray]:
    """The trunk's parameters under the names that Whisper's converter gives them."""
    own = dict(encoder.named_parameters())
    found: dict[str, Tensor] = {}

    def put(theirs: str, ours: str, *, is_norm: bool = False) -> None:
        first, second = ("gamma", "beta") if is_norm else ("weight", "bias")
        found[f"{theirs}/{first}"] = own[f"{ours}.weight"]
        found[f"{theirs}/{second}"] = own[f"{ours}.bias"]

    put("conv1", "conv1")
    put("conv2", "conv2")
    put("layer_norm", "trunk_norm", is_norm=True)
    for i in range(encoder.shape.layers):
        theirs, ours = f"layer_{i}", f"layers.{i}"
        parts = [f"{ours}.attention.{name}" for name in ("query", "key", "value")]
        stacked = f"{theirs}/self_attention/linear_0"
        found[f"{stacked}/weight"] = cat([own[f"{part}.weight"] for part in parts])
        found[f"{stacked}/bias"] = cat([own[f"{part}.bias"] for part in parts])
        put(f"{theirs}/self_attention/linear_1", f"{ours}.attention.output")
        put(f"{theirs}/self_attention/layer_norm", f"{ours}.attention_norm", is_norm=True)
        put(f"{theirs}/ffn/linear_0", f"{ours}.feed_forward.expand")
        put(f"{theirs}/ffn/linear_1", f"{ours}.feed_forward.contract")
        put(f"{theirs}/ffn/layer_norm", f"{ours}.feed_forward_norm", is_norm=True)
    return {f"encoder/{name}": value.detach().numpy() for name, value in found.items()}


def write(path: Path, tensors: dict[str, np.ndarray], *, version: int = 6) -> None:
    """Write the file; tensors keep their types (float32, int8, int16, int32 or float16)."""
    kinds = {"float32": 0, "int8": 1, "int16": 2, "int32": 3, "float16": 4}

    def string(text: str) -> bytes:
        return struct.pack("<H", len(text) + 1) + text.encode() + b"\0"

    parts = [struct.pack("<I", version), string("WhisperSpec"), struct.pack("<I", 3)]
    parts.append(struct.pack("<I", len(tensors)))
    for name, values in tensors.items():
        parts += [string(name), struct.pack("<B", values.ndim)]
        parts += [struct.pack("<I", size) for size in values.shape]
        parts += [struct.pack("<BI", kinds[values.dtype.name], values.nbytes), values.tobytes()]
    path.write_bytes(b"".join(parts))
