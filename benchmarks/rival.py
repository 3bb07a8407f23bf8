"""A CTranslate2 Transformer with the dimensions of one of our decoders, and random weights.

Our ingestor is a Transformer encoder over rows, so the rival gets an encoder of the same layers;
it reads token ids where ours mixes embeddings. Positions are sinusoids added to its inputs, ours
are a learned bias a distance; the work of both is small.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator

import ctranslate2
import numpy as np
from ctranslate2.specs import Activation, LayerSpec, TransformerSpec
from numpy.typing import NDArray

from legonn_core.decoders.decoder import DecoderShape

VERSION: str = ctranslate2.__version__
FIRST_WORD = 4
"""Ids before it are CTranslate2's own marks."""


def build(shape: DecoderShape, *, compute_type: str, seed: int = 0) -> ctranslate2.Translator:
    """Make the rival on disk and load it, one thread.

    Args:
        shape: Whose dimensions it gets.
        compute_type: CTranslate2's name: ``float32`` or ``int8``.
        seed: Of the weights.
    """
    spec = TransformerSpec.from_config(
        (shape.ingestor_layers, shape.layers),
        shape.num_heads,
        pre_norm=True,
        activation=Activation.GELU,
    )
    rng = np.random.default_rng(seed)
    _fill_side(spec.encoder, shape, rng)
    _fill_side(spec.decoder, shape, rng)
    words = ["<blank>", "<unk>", "<s>", "</s>"]
    words += [f"w{i}" for i in range(FIRST_WORD, shape.num_classes)]
    spec.register_source_vocabulary(words)
    spec.register_target_vocabulary(words)
    spec.validate()
    with tempfile.TemporaryDirectory() as folder:
        spec.optimize(quantization=None if compute_type == "float32" else compute_type)
        spec.save(folder)
        return ctranslate2.Translator(
            folder, device="cpu", compute_type=compute_type, inter_threads=1, intra_threads=1
        )


def decode(
    translator: ctranslate2.Translator, sources: list[list[str]], *, beam: int, tokens: int
) -> int:
    """Translate all sources at once, exactly ``tokens`` steps each.

    Returns:
        Tokens in the best hypotheses.
    """
    found = translator.translate_batch(
        sources,
        beam_size=beam,
        min_decoding_length=tokens,
        max_decoding_length=tokens,
        max_batch_size=0,
    )
    return sum(len(result.hypotheses[0]) for result in found)


def sources(count: int, rows: int, num_classes: int, *, seed: int = 0) -> list[list[str]]:
    """``count`` inputs of ``rows`` ids each."""
    ids = np.random.default_rng(seed).integers(FIRST_WORD, num_classes, (count, rows))
    return [[f"w{i}" for i in row] for row in ids.tolist()]


def _fill_side(side: LayerSpec, shape: DecoderShape, rng: np.random.Generator) -> None:
    """Random values in an encoder's or decoder's specification."""
    embeddings = side.embeddings[0] if isinstance(side.embeddings, list) else side.embeddings
    embeddings.weight = _matrix(rng, shape.num_classes, shape.width)
    side.scale_embeddings = np.dtype("int8").type(1)
    side.position_encodings.encodings = np.zeros((shape.max_rows, shape.width), np.float32)
    _fill_norm(side.layer_norm, shape.width)
    for layer in side.layer:
        for attention in _attentions(layer):
            _fill_norm(attention.layer_norm, shape.width)
            for linear, size in zip(
                attention.linear, _outputs(len(attention.linear), shape.width), strict=True
            ):
                _fill_linear(linear, rng, size, shape.width)
        _fill_norm(layer.ffn.layer_norm, shape.width)
        _fill_linear(layer.ffn.linear_0, rng, shape.hidden, shape.width)
        _fill_linear(layer.ffn.linear_1, rng, shape.width, shape.hidden)
    if hasattr(side, "projection"):
        _fill_linear(side.projection, rng, shape.num_classes, shape.width)


def _attentions(layer: LayerSpec) -> Iterator[LayerSpec]:
    yield layer.self_attention
    if hasattr(layer, "attention"):
        yield layer.attention


def _outputs(parts: int, width: int) -> list[int]:
    """Packed projections: query, key and value in one, or query and then key with value."""
    return [3 * width, width] if parts == 2 else [width, 2 * width, width]


def _fill_linear(linear: LayerSpec, rng: np.random.Generator, rows: int, columns: int) -> None:
    linear.weight = _matrix(rng, rows, columns)
    linear.bias = np.zeros(rows, np.float32)


def _fill_norm(norm: LayerSpec, width: int) -> None:
    norm.gamma, norm.beta = np.ones(width, np.float32), np.zeros(width, np.float32)


def _matrix(rng: np.random.Generator, rows: int, columns: int) -> NDArray[np.float32]:
    return rng.standard_normal((rows, columns), dtype=np.float32) * np.float32(columns**-0.5)
