"""The inner loops of a token step: attention over shared columns, and whole steps of a few rows.

N = R * K rows are R requests of K beams. What a row has written lies in column s of its request; a
beam that goes on from another one finds that one's columns through ``ancestors``, so nothing is
copied and nothing is masked.

Whole steps are compiled for few rows only: there a product is bound by reading its weights once,
and what costs is the number of operations. For many rows a tuned matrix product is faster.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from legonn_core.compiled import compiled_loosely
from legonn_core.decoders.stack import Affine, Floats, Stack

Ids = NDArray[np.int64]

_EPSILON = np.float32(1e-5)
_LOG2_E = np.float32(math.log2(math.e))
_LN_2 = np.float32(math.log(2.0))
_HALF, _ONE = np.float32(0.5), np.float32(1.0)
_ROOT_HALF = np.float32(math.sqrt(0.5))


@compiled_loosely
def _exponential(x: np.float32) -> np.float32:
    """e^x for x ≤ 0 to six digits, in a form that is done for many x at once (Cephes' expf)."""
    x = x if x > np.float32(-87.0) else np.float32(-87.0)
    whole = np.floor(x * _LOG2_E + _HALF)
    part = x - whole * _LN_2
    series = np.float32(1.9875691500e-4) * part + np.float32(1.3981999507e-3)
    series = series * part + np.float32(8.3334519073e-3)
    series = series * part + np.float32(4.1665795894e-2)
    series = series * part + np.float32(1.6666665459e-1)
    series = series * part + np.float32(5.0000001201e-1)
    power = np.int32((np.int32(whole) + np.int32(127)) << np.int32(23)).view(np.float32)
    result: np.float32 = (series * part * part + part + _ONE) * power
    return result


@compiled_loosely
def _gelu(x: np.float32) -> np.float32:
    """Exact GELU; the error function is a quotient of polynomials (Eigen's, some 1e-7 off)."""
    z = x * _ROOT_HALF
    z = z if z > np.float32(-4.0) else np.float32(-4.0)
    z = z if z < np.float32(4.0) else np.float32(4.0)
    s = z * z
    above = np.float32(-2.72614225801306e-10) * s + np.float32(2.77068142495902e-08)
    above = above * s + np.float32(-2.10102402082508e-06)
    above = above * s + np.float32(-5.69250639462346e-05)
    above = above * s + np.float32(-7.34990630326855e-04)
    above = above * s + np.float32(-2.95459980854025e-03)
    above = above * s + np.float32(-1.60960333262415e-02)
    below = np.float32(-1.45660718464996e-05) * s + np.float32(-2.13374055278905e-04)
    below = below * s + np.float32(-1.68282697438203e-03)
    below = below * s + np.float32(-7.37332916720468e-03)
    below = below * s + np.float32(-1.42647390514189e-02)
    return _HALF * x * (_ONE + z * above / below)


@compiled_loosely
def _softmax(scores: Floats, count: int) -> None:
    """Turn the first ``count`` scores into probabilities."""
    top = scores[0]
    for i in range(1, count):
        top = scores[i] if scores[i] > top else top
    total = np.float32(0.0)
    for i in range(count):
        scores[i] = _exponential(scores[i] - top)
        total += scores[i]
    share = _ONE / total
    for i in range(count):
        scores[i] *= share


@compiled_loosely
def _attend(
    query: Floats,
    keys: Floats,
    values: Floats,
    columns: Ids,
    beams: Ids,
    scores: Floats,
    mixed: Floats,
) -> None:
    """One query of one head over n places, four of them at a time.

    Args:
        query: (dh,).
        keys: (S, K, dh).
        values: (S, K, dh).
        columns: (n,) where each place is among the first S.
        beams: (n,) and among the K.
        scores: (n,) what is added to each place's score; becomes the probabilities.
        mixed: (dh,) the result.
    """
    count, size = len(columns), len(query)
    shrink, last = _ONE / np.sqrt(np.float32(size)), count - 1
    for i in range(0, count, 4):
        j, k, m = min(i + 1, last), min(i + 2, last), min(i + 3, last)
        one, two = keys[columns[i], beams[i]], keys[columns[j], beams[j]]
        three, four = keys[columns[k], beams[k]], keys[columns[m], beams[m]]
        a, b, c, d = np.float32(0), np.float32(0), np.float32(0), np.float32(0)
        for x in range(size):
            a += query[x] * one[x]
            b += query[x] * two[x]
            c += query[x] * three[x]
            d += query[x] * four[x]
        scores[i] += a * shrink
        if j > i:
            scores[j] += b * shrink
        if k > j:
            scores[k] += c * shrink
        if m > k:
            scores[m] += d * shrink
    _softmax(scores, count)
    for x in range(size):
        mixed[x] = np.float32(0)
    for i in range(0, count, 4):
        j, k, m = min(i + 1, last), min(i + 2, last), min(i + 3, last)
        one, two = values[columns[i], beams[i]], values[columns[j], beams[j]]
        three, four = values[columns[k], beams[k]], values[columns[m], beams[m]]
        a, b = scores[i], scores[j] if j > i else np.float32(0)
        c, d = scores[k] if k > j else np.float32(0), scores[m] if m > k else np.float32(0)
        for x in range(size):
            mixed[x] += a * one[x] + b * two[x] + c * three[x] + d * four[x]


@compiled_loosely
def follow(ancestors: NDArray[np.int16], first: Ids, parents: Ids, cursor: int) -> None:
    """Let every row see what its parent saw, and itself in the newest column.

    Args:
        ancestors: (R, S, K) which beam's entry of a column each beam sees; changed.
        first: (R,) first column of each request.
        parents: (R, K) row of the step before that each row goes on from.
        cursor: The newest column.
    """
    beams = parents.shape[1]
    seen = np.empty(beams, np.int16)
    for request in range(len(first)):
        for column in range(first[request], cursor):
            for beam in range(beams):
                seen[beam] = ancestors[request, column, parents[request, beam]]
            for beam in range(beams):
                ancestors[request, column, beam] = seen[beam]
        for beam in range(beams):
            ancestors[request, cursor, beam] = beam


@compiled_loosely
def look_back(
    three: Floats,
    cache: Floats,
    ancestors: NDArray[np.int16],
    first: Ids,
    cursor: int,
    distances: Floats,
    mixed: Floats,
) -> None:
    """Self-attention of one layer; the newest keys and values are put into the cache.

    Args:
        three: (N, 3 D) queries, keys, values.
        cache: (2, R, H, S, K, dh) keys, values; changed.
        ancestors: (R, S, K) from ``follow``.
        first: (R,) first column of each request.
        cursor: The newest column.
        distances: (H, reach + 1) score of a key 0, 1, 2 … columns back.
        mixed: (N, D) the result.
    """
    heads, beams, size = cache.shape[2], cache.shape[4], cache.shape[5]
    reach, width = distances.shape[1] - 1, heads * size
    for request in range(len(first)):
        begin = first[request]
        count = cursor + 1 - begin
        scores, columns = np.empty(count, np.float32), np.arange(begin, cursor + 1)
        seen = np.empty((beams, count), np.int64)
        for beam in range(beams):
            new = three[request * beams + beam]
            for head in range(heads):
                for x in range(size):
                    cache[0, request, head, cursor, beam, x] = new[width + head * size + x]
                    cache[1, request, head, cursor, beam, x] = new[2 * width + head * size + x]
            for i in range(count):
                seen[beam, i] = ancestors[request, begin + i, beam]
        for head in range(heads):
            keys, values = cache[0, request, head], cache[1, request, head]
            for beam in range(beams):
                for i in range(count):
                    scores[i] = distances[head, min(count - 1 - i, reach)]
                row = request * beams + beam
                query = three[row][head * size : (head + 1) * size]
                result = mixed[row][head * size : (head + 1) * size]
                _attend(query, keys, values, columns, seen[beam], scores, result)


@compiled_loosely
def look_at_memory(queries: Floats, memory: Floats, rows: Ids, mixed: Floats) -> None:
    """Cross-attention of one layer.

    Args:
        queries: (N, D).
        memory: (2, R, H, U, 1, dh) keys, values.
        rows: (R,) rows of each request.
        mixed: (N, D) the result.
    """
    heads, size = memory.shape[2], memory.shape[5]
    beams = len(queries) // len(rows)
    for request in range(len(rows)):
        count = rows[request]
        scores, columns = np.empty(count, np.float32), np.arange(count)
        shared = np.zeros(count, np.int64)
        for head in range(heads):
            keys, values = memory[0, request, head], memory[1, request, head]
            for beam in range(beams):
                for i in range(count):
                    scores[i] = np.float32(0)
                query = queries[request * beams + beam][head * size : (head + 1) * size]
                result = mixed[request * beams + beam][head * size : (head + 1) * size]
                _attend(query, keys, values, columns, shared, scores, result)


@compiled_loosely
def _normed(x: Floats, norm: Floats, out: Floats) -> None:
    """Layer norm of rows."""
    count, width = x.shape
    for row in range(count):
        total = np.float32(0.0)
        for i in range(width):
            total += x[row, i]
        mean = total / np.float32(width)
        squares = np.float32(0.0)
        for i in range(width):
            squares += (x[row, i] - mean) * (x[row, i] - mean)
        shrink = _ONE / np.sqrt(squares / np.float32(width) + _EPSILON)
        for i in range(width):
            out[row, i] = (x[row, i] - mean) * shrink * norm[0, i] + norm[1, i]


@compiled_loosely
def _add(x: Floats, added: Floats) -> None:
    for row in range(len(x)):
        for i in range(x.shape[1]):
            x[row, i] += added[row, i]


@compiled_loosely
def _product(x: Floats, affine: Affine, layer: int, out: Floats) -> None:
    """An affine map of rows: each weight is read once for four rows, two outputs at a time."""
    weight, scale, bias = affine.weight[layer], affine.scale[layer], affine.bias[layer]
    count, width = x.shape
    for one in range(0, len(bias), 2):
        two = min(one + 1, len(bias) - 1)
        row = 0
        while row + 4 <= count:
            a0, a1, a2, a3 = np.float32(0), np.float32(0), np.float32(0), np.float32(0)
            b0, b1, b2, b3 = np.float32(0), np.float32(0), np.float32(0), np.float32(0)
            for i in range(width):
                v, w = np.float32(weight[one, i]), np.float32(weight[two, i])
                a0 += x[row, i] * v
                a1 += x[row + 1, i] * v
                a2 += x[row + 2, i] * v
                a3 += x[row + 3, i] * v
                b0 += x[row, i] * w
                b1 += x[row + 1, i] * w
                b2 += x[row + 2, i] * w
                b3 += x[row + 3, i] * w
            for j, s0, s1, s2, s3 in ((one, a0, a1, a2, a3), (two, b0, b1, b2, b3)):
                out[row, j] = s0 * scale[j] + bias[j]
                out[row + 1, j] = s1 * scale[j] + bias[j]
                out[row + 2, j] = s2 * scale[j] + bias[j]
                out[row + 3, j] = s3 * scale[j] + bias[j]
            row += 4
        while row < count:
            a0, b0 = np.float32(0), np.float32(0)
            for i in range(width):
                a0 += x[row, i] * np.float32(weight[one, i])
                b0 += x[row, i] * np.float32(weight[two, i])
            out[row, one] = a0 * scale[one] + bias[one]
            out[row, two] = b0 * scale[two] + bias[two]
            row += 1


@compiled_loosely
def step_few(
    stack: Stack,
    caches: Floats,
    memories: Floats,
    ancestors: NDArray[np.int16],
    first: Ids,
    rows: Ids,
    cursor: int,
    tokens: Ids,
) -> Floats:
    """One token in every row, for few rows.

    Args:
        stack: The weights.
        caches: (L, 2, R, H, S, K, dh); changed.
        memories: (L, 2, R, H, U, 1, dh).
        ancestors: (R, S, K) from ``follow``.
        first: (R,) first column of each request.
        rows: (R,) rows of memory of each request.
        cursor: The newest column.
        tokens: (N,).

    Returns:
        (N, V) natural-log probabilities.
    """
    count, width = len(tokens), stack.embedding.shape[1]
    x = np.empty((count, width), np.float32)
    for row in range(count):
        for i in range(width):
            x[row, i] = stack.embedding[tokens[row], i]
    normed, mixed, added = np.empty_like(x), np.empty_like(x), np.empty_like(x)
    three = np.empty((count, 3 * width), np.float32)
    hidden = np.empty((count, stack.expand.bias.shape[1]), np.float32)
    for layer in range(len(caches)):
        norms = stack.norms[layer]
        _normed(x, norms[0], normed)
        _product(normed, stack.query_key_value, layer, three)
        distances = stack.distances[layer]
        look_back(three, caches[layer], ancestors, first, cursor, distances, mixed)
        _product(mixed, stack.self_output, layer, added)
        _add(x, added)
        _normed(x, norms[1], normed)
        _product(normed, stack.cross_query, layer, added)
        look_at_memory(added, memories[layer], rows, mixed)
        _product(mixed, stack.cross_output, layer, added)
        _add(x, added)
        _normed(x, norms[2], normed)
        _product(normed, stack.expand, layer, hidden)
        for row in range(count):
            for i in range(hidden.shape[1]):
                hidden[row, i] = _gelu(hidden[row, i])
        _product(hidden, stack.contract, layer, added)
        _add(x, added)
    _normed(x, stack.final_norm, normed)
    log_probs = np.empty((count, stack.embedding.shape[0]), np.float32)
    _product(normed, stack.classes, 0, log_probs)
    for row in range(count):
        _log_softmax(log_probs[row])
    return log_probs


@compiled_loosely
def _log_softmax(logits: Floats) -> None:
    """Turn logits into natural-log probabilities."""
    top = logits[0]
    for i in range(len(logits)):
        top = logits[i] if logits[i] > top else top
    total = np.float32(0.0)
    for i in range(len(logits)):
        total += _exponential(logits[i] - top)
    norm = top + np.float32(math.log(total))
    for i in range(len(logits)):
        logits[i] -= norm
