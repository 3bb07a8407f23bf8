"""The only thing that crosses from an encoder to a decoder.

A block of rows, one a position, each a probability distribution over a vocabulary with a CTC blank.
A row keeps its ``k`` most probable classes and the mass of all others: CTC rows are peaky, so eight
classes hold nearly everything. Nothing here knows how rows were made or who will read them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import ArrayLike, NDArray

from legonn_core.errors import EncodingMismatch, NonFiniteMarginals

MAX_CLASSES = 2**16
"""Class ids are 16 bits wide on the wire."""

FLOOR = 1e-12
"""Least probability that ``dense`` gives to a class outside the list; keeps logarithms finite."""

SUM_TOLERANCE = 1e-3
"""How far a row may be from summing to one."""


@dataclass(frozen=True, slots=True, eq=False)
class Marginals:
    """One gapless block of rows of one segment.

    Attributes:
        ids: (U, k) class ids, most probable first, ties to the lower id; blank is always a member.
        log_probs: (U, k) natural logarithms.
        tail: (U,) probability mass of all other classes.
        times_ms: (U,) centre of the row from the segment's start; for text the source token index.
            Never decreasing.
        first_position: Index of row 0 in the segment.
        fingerprint: Of the vocabulary that the classes belong to.
    """

    ids: NDArray[np.uint16]
    log_probs: NDArray[np.float32]
    tail: NDArray[np.float32]
    times_ms: NDArray[np.int32]
    first_position: int
    fingerprint: str

    def __post_init__(self) -> None:
        rows, k = self.ids.shape
        if self.log_probs.shape != (rows, k):
            raise ValueError(f"log_probs {self.log_probs.shape} beside ids {self.ids.shape}")
        if self.tail.shape != (rows,) or self.times_ms.shape != (rows,):
            raise ValueError(
                f"{rows} rows, but tail {self.tail.shape} and times_ms {self.times_ms.shape}"
            )

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def end_position(self) -> int:
        """Index in the segment of the row after the last one."""
        return self.first_position + len(self)

    @classmethod
    def from_dense(
        cls,
        log_probs: NDArray[np.float32],
        k: int,
        *,
        times_ms: ArrayLike,
        fingerprint: str,
        first_position: int = 0,
        blank: int = 0,
    ) -> Marginals:
        """Keep the ``k`` most probable classes of each row and the mass of the others.

        Args:
            log_probs: (U, V) natural logarithms; each row sums to one within 1e-3.
            k: Classes to keep, at most V are.
            times_ms: (U,) see the class.
            fingerprint: See the class.
            first_position: See the class.
            blank: Class that is kept whatever its probability (it steers search and endpoints).

        Raises:
            NonFiniteMarginals: If a value is not finite or a row does not sum to one.
        """
        log_probs = np.asarray(log_probs, dtype=np.float32)
        rows, num_classes = log_probs.shape
        if k < 1 or not 0 <= blank < num_classes <= MAX_CLASSES:
            raise ValueError(f"k={k}, blank={blank}, {num_classes} classes")
        _check_distributions(log_probs)
        ids = _top_ids(log_probs, min(k, num_classes))
        absent = ~(ids == blank).any(axis=1)
        ids[absent, -1] = blank  # blank is the least of its row there, so the order holds
        kept = np.take_along_axis(log_probs, ids, axis=1)
        mass = np.exp(kept.astype(np.float64)).sum(axis=1)
        return cls(
            ids=ids.astype(np.uint16),
            log_probs=kept,
            tail=np.maximum(1.0 - mass, 0.0).astype(np.float32),
            times_ms=np.array(times_ms, dtype=np.int32).reshape(rows),
            first_position=first_position,
            fingerprint=fingerprint,
        )

    @classmethod
    def empty(cls, k: int, *, fingerprint: str, first_position: int = 0) -> Marginals:
        """A block without rows."""
        return cls(
            ids=np.zeros((0, k), np.uint16),
            log_probs=np.zeros((0, k), np.float32),
            tail=np.zeros(0, np.float32),
            times_ms=np.zeros(0, np.int32),
            first_position=first_position,
            fingerprint=fingerprint,
        )

    @classmethod
    def concatenate(cls, blocks: Sequence[Marginals]) -> Marginals:
        """Join at least one block; blocks must follow one another without a gap.

        Raises:
            ValueError: If there are none, or they leave a gap or overlap.
            EncodingMismatch: If they differ in vocabulary or in ``k``.
        """
        if not blocks:
            raise ValueError("no blocks to join")
        first = blocks[0]
        for before, after in pairwise(blocks):
            if after.first_position != before.end_position:
                raise ValueError(
                    f"a block ends before row {before.end_position}"
                    f" and the next begins at row {after.first_position}"
                )
            if (after.fingerprint, after.ids.shape[1]) != (first.fingerprint, first.ids.shape[1]):
                raise EncodingMismatch("the blocks of a segment differ in vocabulary or top_k")
        return cls(
            ids=np.concatenate([block.ids for block in blocks]),
            log_probs=np.concatenate([block.log_probs for block in blocks]),
            tail=np.concatenate([block.tail for block in blocks]),
            times_ms=np.concatenate([block.times_ms for block in blocks]),
            first_position=first.first_position,
            fingerprint=first.fingerprint,
        )

    def slice(self, start: int, stop: int) -> Marginals:
        """Rows ``start`` to ``stop`` (exclusive), counted inside this block; a view."""
        start, stop, _ = slice(start, stop).indices(len(self))
        stop = max(start, stop)
        return Marginals(
            ids=self.ids[start:stop],
            log_probs=self.log_probs[start:stop],
            tail=self.tail[start:stop],
            times_ms=self.times_ms[start:stop],
            first_position=self.first_position + start,
            fingerprint=self.fingerprint,
        )

    def dense(self, num_classes: int) -> NDArray[np.float32]:
        """All classes of all rows, the tail spread evenly over those not listed.

        Returns:
            (U, V) float32 natural logarithms, finite everywhere; rows sum to one within 1e-6
            (``FLOOR`` may add V · 1e-12).

        Raises:
            EncodingMismatch: If an id is not below ``num_classes``.
        """
        rows, k = self.ids.shape
        if self.ids.size and int(self.ids.max()) >= num_classes:
            raise EncodingMismatch(
                f"marginals name class {int(self.ids.max())} of a vocabulary of {num_classes}"
            )
        rest = self.tail.astype(np.float64) / max(num_classes - k, 1)
        dense = np.empty((rows, num_classes), np.float32)
        dense[:] = np.log(np.maximum(rest, FLOOR))[:, None]
        np.put_along_axis(dense, self.ids.astype(np.int64), self.log_probs, axis=1)
        return dense

    def log_probs_of(self, class_id: int) -> NDArray[np.float64]:
        """(U,) natural logarithm of one listed class, for instance the blank; FLOOR elsewhere."""
        listed = np.where(self.ids == class_id, self.log_probs, -np.inf)
        best: NDArray[np.float64] = listed.max(axis=1, initial=-np.inf).astype(np.float64)
        return np.maximum(best, np.log(FLOOR))


def _check_distributions(log_probs: NDArray[np.float32]) -> None:
    if not np.isfinite(log_probs).all():
        row = int(np.flatnonzero(~np.isfinite(log_probs).all(axis=1))[0])
        raise NonFiniteMarginals(f"row {row} holds NaN or infinity")
    off = np.abs(np.exp(log_probs).sum(axis=1, dtype=np.float64) - 1.0)
    if off.size and not off.max() <= SUM_TOLERANCE:
        row = int(off.argmax())
        raise NonFiniteMarginals(f"row {row} is {off[row]:.3g} off summing to one")


def _top_ids(log_probs: NDArray[np.float32], k: int) -> NDArray[np.int64]:
    """(U, k) classes by falling probability, ties to the lower id."""
    num_classes = log_probs.shape[1]
    if k == num_classes:
        return np.argsort(-log_probs, axis=1, kind="stable")
    ids = np.sort(np.argpartition(-log_probs, k - 1, axis=1)[:, :k], axis=1)
    least = np.take_along_axis(log_probs, ids, axis=1).min(axis=1, keepdims=True)
    # argpartition takes any of several classes that tie at the edge: settle those few rows exactly
    tied = np.count_nonzero(log_probs >= least, axis=1) > k
    if tied.any():
        exact = np.argsort(-log_probs[tied], axis=1, kind="stable")[:, :k]
        ids[tied] = np.sort(exact, axis=1)
    order = np.argsort(-np.take_along_axis(log_probs, ids, axis=1), axis=1, kind="stable")
    return np.take_along_axis(ids, order, axis=1)
