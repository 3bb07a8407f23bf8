"""The tokens of open hypotheses, and whether they run in circles."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from legonn_core.search import steps

LOOP_LENGTH = 4
LOOP_COUNT = 3
"""A hypothesis that says the same four or more tokens three times is in a loop."""

_ROOM = 32


@dataclass(frozen=True, slots=True, eq=False)
class History:
    """Tokens of R times K hypotheses, the newest first.

    Attributes:
        newest: (R, K, T) token i+1 before the end; -1 before the beginning.
        repeats: (R, K, T) how many of the newest tokens, one after the other, equal the token i+1
            before them.
    """

    newest: NDArray[np.int64]
    repeats: NDArray[np.int64]

    @classmethod
    def start(cls, count: int, beam: int) -> History:
        """No tokens yet."""
        shape = (count, beam, _ROOM)
        return cls(np.full(shape, -1, np.int64), np.zeros(shape, np.int64))

    @classmethod
    def of(cls, tokens: NDArray[np.int64], beam: int) -> History:
        """Tokens (R, N) that all hypotheses begin with; they do not count as repeated."""
        count, length = tokens.shape
        newest = np.full((count, beam, length + _ROOM), -1, np.int64)
        newest[:, :, :length] = tokens[:, None, ::-1]
        return cls(newest, np.zeros_like(newest))

    @property
    def is_looping(self) -> NDArray[np.bool_]:
        """(R, K) whether the newest tokens say the same ``LOOP_LENGTH`` or more over and over."""
        return steps.looping(self.repeats, LOOP_LENGTH, LOOP_COUNT)

    def grow(
        self, parents: NDArray[np.int64], tokens: NDArray[np.int64], free: NDArray[np.int64]
    ) -> History:
        """Hypotheses ``parents`` (R, K), each with one more token.

        Args:
            parents: Rows to go on from.
            tokens: (R, K).
            free: (R,) how many of the tokens so far may count as repeated; forced ones may not.
        """
        newest, repeats = steps.repeated(self.newest, self.repeats, parents, tokens, free)
        grown, is_full = History(newest, repeats), bool((newest[:, :, -1] >= 0).any())
        return grown._widened(newest.shape[2] + _ROOM) if is_full else grown

    def tokens_of(self, lane: int, row: int, length: int) -> tuple[int, ...]:
        """One hypothesis of ``length`` tokens in reading order."""
        return tuple(self.newest[lane, row, :length][::-1].tolist())

    def select(self, lanes: Sequence[int]) -> History:
        """Some lanes, in that order."""
        return History(self.newest[list(lanes)], self.repeats[list(lanes)])

    def join(self, other: History) -> History:
        """The lanes of both."""
        width = max(self.newest.shape[2], other.newest.shape[2])
        first, second = self._widened(width), other._widened(width)
        return History(
            np.concatenate([first.newest, second.newest]),
            np.concatenate([first.repeats, second.repeats]),
        )

    def _widened(self, width: int) -> History:
        more = ((0, 0), (0, 0), (0, width - self.newest.shape[2]))
        return History(
            np.pad(self.newest, more, constant_values=-1),
            np.pad(self.repeats, more, constant_values=0),
        )
