"""Parallel and plain text as training examples: read once, sampled by origin, cut into batches."""

from __future__ import annotations

import lzma
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import sentencepiece
from numpy.typing import NDArray

from legonn_core.errors import BadConfig
from legonn_core.interface.vocabulary import Vocabulary


@dataclass(frozen=True, slots=True)
class Pair:
    """One source sentence with its English."""

    source: str
    target: tuple[int, ...]


def open_text(path: Path) -> Iterator[str]:
    """Yield the lines of a plain or xz-compressed UTF-8 file."""
    opener = lzma.open if path.suffix == ".xz" else open
    with opener(path, "rt", encoding="utf-8") as lines:
        for line in lines:
            yield line.rstrip("\n")


def repeats(tokens: tuple[int, ...]) -> int:
    """Number of adjacent equal pairs: CTC needs one blank more for each."""
    return sum(a == b for a, b in pairwise(tokens))


class EnglishPieces:
    """Cuts English text into interface classes; refuses characters outside the closed alphabet."""

    def __init__(self, folder: Path) -> None:
        self.vocabulary = Vocabulary.from_json((folder / "vocabulary.json").read_text("utf-8"))
        self.processor = sentencepiece.SentencePieceProcessor(
            model_file=str(folder / "pieces.model")
        )

    def encode(self, text: str) -> tuple[int, ...] | None:
        """Classes of the normalised text, or None where a character has no piece."""
        ids = tuple(self.processor.encode(self.vocabulary.normalize(text)))
        return None if not ids or self.vocabulary.blank in ids else ids


@dataclass(frozen=True, slots=True)
class PairStore:
    """Pairs with the probability of drawing each.

    Attributes:
        pairs: All usable pairs.
        weights: (N,) sampling weights, any positive scale.
        dropped: Why rows were left out, counted.
    """

    pairs: tuple[Pair, ...]
    weights: NDArray[np.float64]
    dropped: Mapping[str, int]


def read_pairs(
    path: Path,
    pieces: EnglishPieces,
    *,
    origin_weights: Mapping[str, float],
    max_target: int = 80,
    short_weight: float = 0.3,
) -> PairStore:
    """Read ``source<TAB>target<TAB>origin`` rows; the origin may be missing.

    Args:
        path: Plain or xz file.
        pieces: Cuts the targets.
        origin_weights: Sampling weight by origin; ``default`` serves the rest; 0 leaves one out.
        max_target: Longest target in pieces.
        short_weight: Factor on rows of fewer than three English words (menus and labels).
    """
    pairs, weights = [], []
    dropped: dict[str, int] = {"bad row": 0, "left out": 0, "alphabet": 0, "too long": 0}
    for line in open_text(path):
        fields = line.split("\t")
        if len(fields) not in (2, 3):
            dropped["bad row"] += 1
            continue
        source, target, origin = *fields[:2], fields[2] if len(fields) == 3 else "default"
        weight = origin_weights.get(origin, origin_weights.get("default", 1.0))
        if weight == 0.0:
            dropped["left out"] += 1
            continue
        ids = pieces.encode(target)
        if ids is None:
            dropped["alphabet"] += 1
        elif len(ids) > max_target or len(source) > 8 * max_target:
            dropped["too long"] += 1
        else:
            pairs.append(Pair(source, ids))
            weights.append(weight * (short_weight if target.count(" ") < 2 else 1.0))
    return PairStore(tuple(pairs), np.asarray(weights), dropped)


def sampled(store: PairStore, *, share: float, fold: str, seed: int) -> PairStore:
    """Part of a store.

    Args:
        store: All pairs.
        share: Kept at random, in (0, 1].
        fold: ``i/n`` with i from 1 leaves out the pairs i - 1, i - 1 + n, …; empty leaves out none.
        seed: Of the draw.

    Raises:
        BadConfig: If nothing would be left, or the fold is no ``i/n``.
    """
    kept = np.ones(len(store.pairs), dtype=bool)
    if fold:
        first, count = fold_of(fold)
        kept[first::count] = False
    if share < 1.0:
        kept &= np.random.default_rng([seed, 7]).random(len(kept)) < share
    if not kept.any():
        raise BadConfig(f"pairs_share = {share} with fold = {fold!r} leaves no pair")
    pairs = tuple(pair for pair, keep in zip(store.pairs, kept.tolist(), strict=True) if keep)
    return PairStore(pairs, store.weights[kept], store.dropped)


def fold_of(fold: str) -> tuple[int, int]:
    """First index and stride of a fold written ``i/n``.

    Raises:
        BadConfig: If it is written otherwise.
    """
    first, _, count = fold.partition("/")
    if not (first.isdecimal() and count.isdecimal() and 1 <= int(first) <= int(count) > 1):
        raise BadConfig(f"fold is {fold!r}; write i/n such as 1/4, with i from 1 to n")
    return int(first) - 1, int(count)


def read_plain(
    path: Path, pieces: EnglishPieces, *, origin_weights: Mapping[str, float], max_target: int
) -> tuple[list[tuple[int, ...]], NDArray[np.float64]]:
    """Read ``sentence<TAB>origin`` rows of English as class sequences with sampling weights."""
    texts, drawn = read_plain_text(path, origin_weights=origin_weights)
    cut = [pieces.encode(text) for text in texts]
    fitting = [i for i, ids in enumerate(cut) if ids is not None and len(ids) <= max_target]
    return [ids for i in fitting if (ids := cut[i]) is not None], drawn[fitting]


def read_plain_text(
    path: Path, *, origin_weights: Mapping[str, float]
) -> tuple[list[str], NDArray[np.float64]]:
    """Read ``sentence<TAB>origin`` rows of English as they are, with sampling weights."""
    kept, weights = [], []
    for line in open_text(path):
        text, _, origin = line.partition("\t")
        weight = origin_weights.get(origin, origin_weights.get("default", 1.0))
        if text and weight:
            kept.append(text)
            weights.append(weight)
    return kept, np.asarray(weights)


def drawn_batches(
    lengths: NDArray[np.float64],
    weights: NDArray[np.float64],
    *,
    budget: int,
    seed: int | tuple[int, ...],
    pool: int = 8192,
) -> Iterator[NDArray[np.int64]]:
    """Draw examples by weight for ever, in batches of like length.

    Args:
        lengths: (N,) cost of each example, for sorting and for the budget.
        weights: (N,) sampling weights.
        budget: Longest length times batch size.
        seed: Of the generator.
        pool: How many are drawn and sorted together.

    Yields:
        Index arrays.

    Raises:
        ValueError: If a whole pool gives no full batch.
    """
    rng = np.random.default_rng(seed)
    cumulative = np.cumsum(weights / weights.sum())
    while True:
        drawn = np.searchsorted(cumulative, rng.random(pool)).clip(max=len(weights) - 1)
        # Few distinct shapes: a CPU's matrix kernels are built anew for each one.
        costs = np.ceil(lengths[drawn] / 12.0).astype(np.int64) * 12
        batches = []
        for cost in np.unique(costs):
            alike, size = drawn[costs == cost], max(8, int(budget // cost) // 8 * 8)
            batches += [alike[i : i + size] for i in range(0, len(alike) // size * size, size)]
        if not batches:
            raise ValueError(f"budget {budget}: no length fills a batch among {pool} examples")
        for index in rng.permutation(len(batches)):
            yield batches[index]
