"""A decoder's weights laid out for token steps: packed, transposed, nothing left to look up.

The same function as ``Decoder.step``. What is different is how much is done a step: query, key and
value in one product, products with the bias inside, positions as a table made once.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Protocol

import torch
from torch import Tensor, nn

from legonn_core.decoders.decoder import Decoder
from legonn_core.nn.transformer import DecoderLayer

INT8_FROM = 150_000
"""Weights of the least matrix that 8 bits make faster; below, quantising the input costs more."""


class Product(Protocol):
    """An affine map of rows: (N, in) to (N, out)."""

    def __call__(self, x: Tensor) -> Tensor:
        """Apply it."""
        ...


class Float32Product:
    """As trained. On a CPU the transposed weight is read up to a third faster."""

    def __init__(self, weight: Tensor, bias: Tensor) -> None:
        self._weight, self._bias = weight.detach().t().contiguous(), bias.detach()

    def __call__(self, x: Tensor) -> Tensor:
        """(N, in) to (N, out)."""
        return torch.addmm(self._bias, x, self._weight)


class Int8Product:
    """Weights in 8 bits, one scale an output; inputs are quantised as they come, one scale a batch.

    So a row's result depends, in its last digits, on the rows beside it: what is found alone and in
    a batch may differ where two hypotheses are nearly equal.
    """

    def __init__(self, weight: Tensor, bias: Tensor) -> None:
        scales = weight.detach().abs().amax(dim=1).clamp(min=1e-8) / 127.0
        quantised = torch.quantize_per_channel(
            weight.detach(), scales.double(), torch.zeros(len(scales), dtype=torch.long), 0,
            torch.qint8,
        )  # fmt: skip
        self._packed = torch.ops.quantized.linear_prepack(quantised, bias.detach())

    def __call__(self, x: Tensor) -> Tensor:
        """(N, in) to (N, out)."""
        product: Tensor = torch.ops.quantized.linear_dynamic(x, self._packed, reduce_range=False)
        return product


class Precision(Enum):
    """In which numbers the products of token steps are done."""

    FLOAT32 = "float32"
    INT8 = "int8"


def product(precision: Precision, weight: Tensor, bias: Tensor) -> Product:
    """An affine map in this precision; small ones stay in float32, where they are faster."""
    if precision is Precision.INT8 and weight.numel() >= INT8_FROM:
        return Int8Product(weight, bias)
    return Float32Product(weight, bias)


@dataclass(frozen=True, slots=True)
class Norm:
    """A layer norm's two vectors."""

    weight: Tensor
    bias: Tensor

    @classmethod
    def of(cls, module: nn.Module) -> Norm:
        """Take them from a module."""
        assert isinstance(module, nn.LayerNorm)
        return cls(module.weight.detach(), module.bias.detach())

    def __call__(self, x: Tensor) -> Tensor:
        """(N, D) to (N, D)."""
        return torch.layer_norm(x, self.weight.shape, self.weight, self.bias)


@dataclass(frozen=True, slots=True)
class PreparedLayer:
    """One decoder layer."""

    self_norm: Norm
    query_key_value: Product
    self_output: Product
    cross_norm: Norm
    cross_query: Product
    cross_output: Product
    feed_forward_norm: Norm
    expand: Product
    contract: Product

    @classmethod
    def of(cls, layer: DecoderLayer, precision: Precision) -> PreparedLayer:
        """Pack a layer's weights."""
        attention, crossed, feed = layer.self_attention, layer.cross_attention, layer.feed_forward
        three = (attention.query, attention.key, attention.value)
        return cls(
            self_norm=Norm.of(layer.self_norm),
            query_key_value=product(
                precision,
                torch.cat([part.weight for part in three]),
                torch.cat([part.bias for part in three]),
            ),
            self_output=_product(precision, attention.output),
            cross_norm=Norm.of(layer.cross_norm),
            cross_query=_product(precision, crossed.query),
            cross_output=_product(precision, crossed.output),
            feed_forward_norm=Norm.of(layer.feed_forward_norm),
            expand=_product(precision, feed.expand),
            contract=_product(precision, feed.contract),
        )


class PreparedDecoder:
    """What token steps need of a decoder.

    Attributes:
        shape: Its sizes.
        layers: Packed.
        norm: Before the classes.
        classes: (N, D) to (N, V) logits.
        embedding: (V, D), scaled as the input wants it.
        distances: (L, H, reach + 1) score of a key 0, 1, 2 … positions back; the last one holds for
            all beyond.
    """

    def __init__(self, network: Decoder, precision: Precision = Precision.FLOAT32) -> None:
        self.shape = network.shape
        layers = [layer for layer in network.layers if isinstance(layer, DecoderLayer)]
        self.layers = tuple(PreparedLayer.of(layer, precision) for layer in layers)
        self.norm = Norm.of(network.norm)
        self.classes = product(precision, network.embedding.weight, network.output_bias)
        self.embedding = network.embedding.weight.detach() * network.shape.width**0.5
        self.distances = torch.stack(
            [layer.self_bias.table.detach()[:, : layer.self_bias.reach + 1] for layer in layers]
        ).flip(-1)

    @property
    def head_width(self) -> int:
        """Dh."""
        return self.shape.width // self.shape.num_heads


def _product(precision: Precision, linear: nn.Linear) -> Product:
    return product(precision, linear.weight, linear.bias)
