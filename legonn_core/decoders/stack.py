"""A decoder's weights as compiled steps read them: arrays only, all layers on top of each other."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]


class Affine(NamedTuple):
    """Affine maps of L layers.

    Attributes:
        weight: (L, out, in) float32, or int8 to be scaled.
        scale: (L, out) of an output; ones for float32.
        bias: (L, out).
    """

    weight: Floats | NDArray[np.int8]
    scale: Floats
    bias: Floats


class Stack(NamedTuple):
    """A decoder's weights, its L layers on top of each other.

    Attributes:
        embedding: (V, D), scaled as the input wants it.
        norms: (L, 3, 2, D) weight and bias before self-attention, cross-attention, feed-forward.
        final_norm: (2, D).
        distances: (L, H, reach + 1) score of a key 0, 1, 2 … columns back.
        query_key_value: To 3 D.
        self_output: To D.
        cross_query: To D.
        cross_output: To D.
        expand: To the hidden width.
        contract: Back to D.
        classes: One layer, to V.
    """

    embedding: Floats
    norms: Floats
    final_norm: Floats
    distances: Floats
    query_key_value: Affine
    self_output: Affine
    cross_query: Affine
    cross_output: Affine
    expand: Affine
    contract: Affine
    classes: Affine
