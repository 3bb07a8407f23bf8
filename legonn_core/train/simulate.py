"""Marginals made from plain text, so that the decoder meets far more English than any pair holds.

A token sequence is corrupted, stretched over a CTC path, and every row is blurred over classes that
are easily confused. One draw of sharpness, blank bias and noise a sequence covers the range of
encoders that may one day be plugged in; no encoder is needed to make them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from legonn_core.interface.vocabulary import WORD_START, Vocabulary


@dataclass(frozen=True, slots=True)
class SimulatedBatch:
    """Sparse rows with their targets.

    Attributes:
        ids: (B, U, k) int64; a class may be listed twice, its mass is then the sum.
        probs: (B, U, k) float32.
        tail: (B, U) float32.
        lengths: (B,) int64 rows.
        said: (B, U) int64, which token of the target a row belongs to; -1 where to none.
        targets: The clean token sequences.
    """

    ids: NDArray[np.int64]
    probs: NDArray[np.float32]
    tail: NDArray[np.float32]
    lengths: NDArray[np.int64]
    said: NDArray[np.int64]
    targets: list[tuple[int, ...]]


@dataclass(frozen=True, slots=True)
class MisheardTokens:
    """A sentence as classes.

    Attributes:
        heard: (P,) int64, at least one.
        said: (P,) int64, the token of the target that was said at each place, -1 where none was.
        target: What was said, whole.
    """

    heard: NDArray[np.int64]
    said: NDArray[np.int64]
    target: tuple[int, ...]

    @property
    def true(self) -> NDArray[np.int64]:
        """(P,) int64, the class that was said at each place, 0 where none was."""
        return np.where(self.said < 0, 0, np.asarray(self.target)[self.said])


def confusion_table(vocabulary: Vocabulary, *, neighbours: int = 12) -> NDArray[np.int64]:
    """For every class the classes spelt most alike.

    Returns:
        (V, neighbours) int64, nearest first; the blank's row is arbitrary.
    """
    from rapidfuzz import process
    from rapidfuzz.distance import JaroWinkler, Levenshtein

    names = [token.replace(WORD_START, "_").lower() for token in vocabulary.tokens]
    edit = process.cdist(names, names, scorer=Levenshtein.normalized_similarity, workers=1)
    start = process.cdist(names, names, scorer=JaroWinkler.normalized_similarity, workers=1)
    alike = edit + 0.5 * start
    np.fill_diagonal(alike, -1.0)
    alike[:, vocabulary.blank] = -1.0
    return np.argsort(-alike, axis=1, kind="stable")[:, :neighbours].astype(np.int64)


class Simulator:
    """Draws marginals for token sequences.

    Args:
        confusions: From ``confusion_table`` or measured on real marginals.
        unigram: (V,) piece counts, for random insertions.
        seed: Of the generator.

    Attributes:
        most_repeats: Of the rows that a sequence may spare, at most this share goes on with a token
            instead of being blank: an encoder of steady sounds makes runs, one of letters peaks.
        ease: From 1 (sharp rows, nothing corrupted) to 0 (everything that may happen); a decoder
            learns to find its place in clean rows first.
    """

    def __init__(
        self, confusions: NDArray[np.int64], unigram: NDArray[np.float64], *, seed: int
    ) -> None:
        self._confusions = confusions
        self._cumulative = np.cumsum(unigram / unigram.sum())
        self._rng = np.random.default_rng(seed)
        self.ease = 0.0
        self.most_repeats = 0.3

    def _random_tokens(self, shape: tuple[int, ...]) -> NDArray[np.int64]:
        drawn = np.searchsorted(self._cumulative, self._rng.random(shape))
        return drawn.clip(1, len(self._cumulative) - 1).astype(np.int64)

    def _corrupt(self, one: MisheardTokens, rate: float) -> MisheardTokens:
        """Substitute, lose, double, insert and exchange tokens."""
        if not rate:
            return one
        rng, heard, said = self._rng, one.heard, one.said
        count = len(heard)
        pick = self._confusions[heard, rng.integers(0, self._confusions.shape[1], count)]
        elsewhere = rng.random(count) < 0.25
        pick = np.where(elsewhere, self._random_tokens((count,)), pick)
        heard = np.where(rng.random(count) < rate, pick, heard)
        # The weakest sounds are lost; a token whose sound was long is said twice.
        times = np.where(rng.random(count) < rate * 0.3, 0, 1)
        times += (times > 0) & (rng.random(count) < rate * 0.15)
        times[0] += not times.any()
        heard, said = np.repeat(heard, times), np.repeat(said, times)
        if rng.random() < rate * 2 and len(heard) > 1:
            where = rng.integers(0, len(heard))
            extra = self._random_tokens((1,))
            heard, said = np.insert(heard, where, extra), np.insert(said, where, -1)
        if rng.random() < rate and len(heard) > 2:
            where = rng.integers(0, len(heard) - 1)
            for places in (heard, said):
                places[[where, where + 1]] = places[[where + 1, where]]
        return MisheardTokens(heard, said, one.target)

    def _path(self, heard: NDArray[np.int64], kappa: float) -> NDArray[np.int64]:
        """Place index of every row, -1 where it is blank."""
        rng, count = self._rng, len(heard)
        need_blank = np.zeros(count + 1, dtype=np.int64)
        need_blank[1:-1] = heard[1:] == heard[:-1]
        spare = max(int(np.ceil(kappa * count)) - count - int(need_blank.sum()), 0)
        num_repeats = rng.binomial(spare, rng.uniform(0.05, self.most_repeats))
        repeat = 1 + rng.multinomial(num_repeats, np.full(count, 1.0 / count))
        gap_weights = rng.gamma(0.6, size=count + 1) + 1e-6
        gap_weights[[0, -1]] *= 3.0
        gaps = need_blank + rng.multinomial(spare - num_repeats, gap_weights / gap_weights.sum())
        if rng.random() < 0.25:  # a pause of up to two seconds at 12.5 rows a second
            gaps[rng.integers(0, count + 1)] += rng.integers(4, 25)
        values = np.full(2 * count + 1, -1, dtype=np.int64)
        values[1::2] = np.arange(count)
        lengths = np.empty(2 * count + 1, dtype=np.int64)
        lengths[0::2], lengths[1::2] = gaps, repeat
        return np.repeat(values, lengths)

    def _rows(
        self,
        heard: NDArray[np.int64],
        true: NDArray[np.int64],
        places: NDArray[np.int64],
        *,
        clean: bool,
        doubt: float = 1.5,
    ) -> tuple[NDArray[np.int64], NDArray[np.float32], NDArray[np.float32]]:
        rng, num_rows, ease = self._rng, len(places), self.ease
        sharp = rng.uniform(2.0 + 4.0 * ease, 10.0) * rng.uniform(0.9, 1.1, num_rows)
        noise, temperature = rng.uniform(0.0, 1.2 - 0.9 * ease), np.exp(rng.uniform(-0.7, 0.7))
        blank_bias = rng.normal(0.0, 1.0)
        if clean:
            sharp, noise, temperature, blank_bias = np.full(num_rows, 12.0), 0.0, 1.0, 0.0
        is_blank = places < 0
        main = np.where(is_blank, 0, heard[places])
        truth = np.where(is_blank, 0, true[places])
        before = np.concatenate([main[:1], main[:-1]])
        after = np.concatenate([main[1:], main[-1:]])
        confused = self._confusions[main][:, :8]
        stray = self._random_tokens((num_rows, 2))
        ids = np.column_stack([main, truth, before, after, np.zeros_like(main), confused, stray])
        logits = np.full(ids.shape, -30.0)
        logits[:, 0] = sharp
        substituted = (truth != main) & (truth > 0)
        # A misheard token usually leaves its true class close behind in the same row.
        logits[:, 1] = np.where(substituted, sharp - rng.exponential(doubt, num_rows), -30.0)
        spill = rng.random((num_rows, 2)) * sharp[:, None] - rng.uniform(0.5, 4.0)
        logits[:, 2:4] = np.where(ids[:, 2:4] != main[:, None], spill, -30.0)
        logits[:, 4] = np.where(is_blank, -30.0, rng.uniform(-1.0, 2.0) + blank_bias)
        logits[:, 0] += np.where(is_blank, blank_bias, 0.0)
        order = -0.4 * np.arange(8)
        logits[:, 5:13] = np.where(is_blank[:, None], -30.0, order) + 0.0
        logits[:, 13:] = -2.0
        if clean:
            logits[:, 1:] = logits[:, 1:].clip(max=0.0)
        logits += noise * rng.gumbel(size=logits.shape)
        logits /= temperature
        logits -= logits.max(axis=1, keepdims=True)
        weights = np.exp(logits)
        rest = np.exp(rng.normal(-4.5, 1.5)) * (~is_blank * 0.9 + 0.1)
        total = weights.sum(axis=1) + rest
        return ids, (weights / total[:, None]).astype(np.float32), (rest / total).astype(np.float32)

    def __call__(
        self, sequences: list[tuple[int, ...]], *, max_rows: int, clean: bool = False
    ) -> SimulatedBatch:
        """Marginals for a batch of token sequences.

        Args:
            sequences: Non-empty, without blanks.
            max_rows: Sequences are squeezed to fit.
            clean: No corruption and sharp rows (for tests: the best path reads the sequence).
        """
        made = []
        for sequence in sequences:
            rate = 0.0 if clean else self._rng.choice([0.0, 0.04, 0.08, 0.15, 0.25])
            tokens = np.asarray(sequence, dtype=np.int64)
            one = MisheardTokens(tokens, np.arange(len(tokens)), sequence)
            one = self._corrupt(one, rate * (1.0 - self.ease))
            made.append(self._stretched(one, max_rows=max_rows, clean=clean))
        return _padded(made, sequences)

    def misheard(self, sequences: list[MisheardTokens], *, max_rows: int) -> SimulatedBatch:
        """Marginals for sentences that were misheard as words are (see ``mishearing``).

        Beyond that tokens are lost, doubled and replaced, more in one sequence than in another.

        Args:
            sequences: What was heard and what was said.
            max_rows: Sequences are cut to fit.
        """
        rng = self._rng
        made = [
            self._stretched(
                self._corrupt(one, rng.choice([0.0, 0.1, 0.2, 0.3])),
                max_rows=max_rows,
                doubt=rng.uniform(1.0, 4.0),
            )
            for one in sequences
        ]
        return _padded(made, [one.target for one in sequences])

    def _stretched(
        self, one: MisheardTokens, *, max_rows: int, clean: bool = False, doubt: float = 1.5
    ) -> _Rows:
        kappa = float(np.exp(self._rng.normal(1.05, 0.25)))
        places = self._path(one.heard, kappa)[:max_rows]
        ids, probs, tail = self._rows(one.heard, one.true, places, clean=clean, doubt=doubt)
        return _Rows(ids, probs, tail, np.where(places < 0, -1, one.said[places]))


class _Rows(NamedTuple):
    """One sequence's part of a ``SimulatedBatch``."""

    ids: NDArray[np.int64]
    probs: NDArray[np.float32]
    tail: NDArray[np.float32]
    said: NDArray[np.int64]


def _padded(made: list[_Rows], targets: list[tuple[int, ...]]) -> SimulatedBatch:
    lengths = np.array([len(one.ids) for one in made], dtype=np.int64)
    width, top = -(-int(lengths.max()) // 16) * 16, made[0].ids.shape[1]
    batch = SimulatedBatch(
        ids=np.zeros((len(made), width, top), dtype=np.int64),
        probs=np.zeros((len(made), width, top), dtype=np.float32),
        tail=np.zeros((len(made), width), dtype=np.float32),
        lengths=lengths,
        said=np.full((len(made), width), -1, dtype=np.int64),
        targets=targets,
    )
    for row, one in enumerate(made):
        count = len(one.ids)
        batch.ids[row, :count], batch.probs[row, :count] = one.ids, one.probs
        batch.tail[row, :count], batch.said[row, :count] = one.tail, one.said
    return batch
