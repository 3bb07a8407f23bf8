"""Take the encoder of a Whisper model in CTranslate2's ``model.bin`` as a start for speech."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from legonn_core.encoders.speech import SpeechEncoder

_TYPES = {0: np.float32, 1: np.int8, 2: np.int16, 3: np.int32, 4: np.float16}


def read_tensors(path: Path, *, prefix: str = "encoder/") -> dict[str, NDArray[np.float32]]:
    """Read the float tensors below a prefix (format version 6).

    Raises:
        ValueError: If the file has another version.
    """
    with path.open("rb") as file:

        def number(form: str) -> int:
            return int(struct.unpack("<" + form, file.read(struct.calcsize(form)))[0])

        def string() -> str:
            return file.read(number("H"))[:-1].decode()

        version = number("I")
        if version != 6:
            raise ValueError(f"{path.name} is of format version {version}; this reads version 6")
        string()
        number("I")
        tensors = {}
        for _ in range(number("I")):
            name = string()
            shape = [number("I") for _ in range(number("B"))]
            kind, size = number("B"), number("I")
            raw = file.read(size)
            if name.startswith(prefix) and kind in (0, 4):
                values = np.frombuffer(raw, dtype=_TYPES[kind]).reshape(shape)
                tensors[name.removeprefix(prefix)] = values.astype(np.float32)
        return tensors


def load_trunk(encoder: SpeechEncoder, path: Path) -> None:
    """Copy convolutions and Transformer layers into ``encoder``; the rest keeps its start."""
    tensors = {name: torch.from_numpy(values) for name, values in read_tensors(path).items()}

    def linear(name: str) -> dict[str, torch.Tensor]:
        return {"weight": tensors[f"{name}/weight"], "bias": tensors[f"{name}/bias"]}

    def norm(name: str) -> dict[str, torch.Tensor]:
        return {"weight": tensors[f"{name}/gamma"], "bias": tensors[f"{name}/beta"]}

    state: dict[str, torch.Tensor] = {}

    def put(prefix: str, values: dict[str, torch.Tensor]) -> None:
        state.update({f"{prefix}.{name}": value for name, value in values.items()})

    put("conv1", linear("conv1"))
    put("conv2", linear("conv2"))
    put("trunk_norm", norm("layer_norm"))
    for i in range(encoder.shape.layers):
        source, target = f"layer_{i}", f"layers.{i}"
        stacked = linear(f"{source}/self_attention/linear_0")
        for part, name in enumerate(("query", "key", "value")):
            put(
                f"{target}.attention.{name}",
                {kind: value.chunk(3)[part] for kind, value in stacked.items()},
            )
        put(f"{target}.attention.output", linear(f"{source}/self_attention/linear_1"))
        put(f"{target}.attention_norm", norm(f"{source}/self_attention/layer_norm"))
        put(f"{target}.feed_forward.expand", linear(f"{source}/ffn/linear_0"))
        put(f"{target}.feed_forward.contract", linear(f"{source}/ffn/linear_1"))
        put(f"{target}.feed_forward_norm", norm(f"{source}/ffn/layer_norm"))
    missing, unexpected = encoder.load_state_dict(state, strict=False)
    if unexpected:
        raise ValueError(f"{path.name} does not fit: {unexpected[:3]}")
    trunk = [name for name in missing if name.startswith(("conv", "layers.", "trunk_norm"))]
    if trunk:
        raise ValueError(f"{path.name} lacks {trunk[:3]}")
