"""A decoder's weights laid out for token steps: packed, transposed, nothing left to look up.

The same function as ``Decoder.step``, laid out twice: on top of each other for steps of few rows,
which are compiled whole (``kernels.py``), and as products of a tuned library for many.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from legonn_core.decoders.decoder import Decoder
from legonn_core.decoders.stack import Affine, Stack
from legonn_core.nn.transformer import DecoderLayer

INT8_FROM = 150_000
"""Weights of the least matrix that 8 bits make faster; below, quantising the input costs more."""

ONEDNN_FROM = 24
"""Rows from which oneDNN's 8-bit products, which use matrix units, are faster than FBGEMM's."""


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
        quantised = torch.quantize_per_channel(
            weight.detach(), _scales(weight).double(), torch.zeros(len(weight), dtype=torch.long),
            0, torch.qint8,
        )  # fmt: skip
        before = torch.backends.quantized.engine
        packed = []
        for engine in ("fbgemm", "onednn"):
            torch.backends.quantized.engine = engine
            packed.append(torch.ops.quantized.linear_prepack(quantised, bias.detach()))
        torch.backends.quantized.engine = before
        self._few, self._many = packed

    def __call__(self, x: Tensor) -> Tensor:
        """(N, in) to (N, out)."""
        packed = self._many if len(x) >= ONEDNN_FROM else self._few
        product: Tensor = torch.ops.quantized.linear_dynamic(x, packed, reduce_range=False)
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
        layers: For many rows.
        norm: Before the classes.
        classes: (N, D) to (N, V) logits.
        stack: The same for few rows.
    """

    def __init__(self, network: Decoder, precision: Precision = Precision.FLOAT32) -> None:
        self.shape = network.shape
        layers = [layer for layer in network.layers if isinstance(layer, DecoderLayer)]
        self.layers = tuple(PreparedLayer.of(layer, precision) for layer in layers)
        self.norm = Norm.of(network.norm)
        self.classes = product(precision, network.embedding.weight, network.output_bias)
        self.embedding = network.embedding.weight.detach() * network.shape.width**0.5
        self.stack = _stack(network, layers, self.embedding, precision)


def _stack(
    network: Decoder, layers: Sequence[DecoderLayer], embedding: Tensor, precision: Precision
) -> Stack:
    """A decoder's weights for compiled steps."""

    def norm(module: nn.LayerNorm) -> Tensor:
        return torch.stack([module.weight, module.bias])

    def affine(*linears: nn.Linear) -> Affine:
        return _affine(precision, [one.weight for one in linears], [one.bias for one in linears])

    three = [(one.query, one.key, one.value) for one in (x.self_attention for x in layers)]
    tables = [layer.self_bias.table[:, : layer.self_bias.reach + 1] for layer in layers]
    norms = [
        torch.stack([norm(x.self_norm), norm(x.cross_norm), norm(x.feed_forward_norm)])
        for x in layers
    ]
    return Stack(
        embedding=_array(embedding),
        norms=_array(torch.stack(norms)),
        final_norm=_array(norm(network.norm)),
        distances=_array(torch.stack(tables).flip(-1)),
        query_key_value=_affine(
            precision,
            [torch.cat([part.weight for part in parts]) for parts in three],
            [torch.cat([part.bias for part in parts]) for parts in three],
        ),
        self_output=affine(*(x.self_attention.output for x in layers)),
        cross_query=affine(*(x.cross_attention.query for x in layers)),
        cross_output=affine(*(x.cross_attention.output for x in layers)),
        expand=affine(*(x.feed_forward.expand for x in layers)),
        contract=affine(*(x.feed_forward.contract for x in layers)),
        classes=_affine(precision, [network.embedding.weight], [network.output_bias]),
    )


def _affine(precision: Precision, weights: Sequence[Tensor], biases: Sequence[Tensor]) -> Affine:
    """The same map of all layers; in 8 bits the weights only, so rows do not touch each other."""
    weight, bias = torch.stack(list(weights)).detach(), torch.stack(list(biases))
    if precision is Precision.FLOAT32:
        return Affine(_array(weight), np.ones(bias.shape, np.float32), _array(bias))
    scales = torch.stack([_scales(one) for one in weights])
    rounded = (weight / scales[..., None]).round().clamp(-127, 127).to(torch.int8)
    return Affine(rounded.numpy(), _array(scales), _array(bias))


def _scales(weight: Tensor) -> Tensor:
    """(out,) what one step of 8 bits is worth in each row of a matrix."""
    return weight.detach().abs().amax(dim=1).clamp(min=1e-8) / 127.0


def _array(tensor: Tensor) -> NDArray[np.float32]:
    array: NDArray[np.float32] = np.ascontiguousarray(tensor.detach().float().numpy())
    return array


def _product(precision: Precision, linear: nn.Linear) -> Product:
    return product(precision, linear.weight, linear.bias)
