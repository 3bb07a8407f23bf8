"""CTC prefix scores: how probable is it that the rows begin with these tokens?

Label-synchronous, over a whole segment: the state of a token sequence is its forward variables over
all rows, and one more token costs one scan over them. Source: Hori, Watanabe & Hershey 2017,
Algorithm 2; the recursion over rows is written as a cumulative sum in the log domain, so numpy runs
it without a Python loop.

Float64 throughout; logarithms of rows must be finite (``Marginals.dense`` sees to it), and -inf
only ever meets finite numbers.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class ForwardState:
    """Forward variables of K token sequences.

    Attributes:
        token: (K, U+1) natural log of the mass of paths over the first u rows that read exactly the
            sequence and end in its last token.
        blank: (K, U+1) the same for paths that end in blank (or are empty).
        last: (K,) last token of each sequence, -1 where it is empty.
    """

    token: Floats
    blank: Floats
    last: NDArray[np.int64]

    def select(self, rows: NDArray[np.int64]) -> ForwardState:
        """The sequences at ``rows``, in that order."""
        return ForwardState(self.token[rows], self.blank[rows], self.last[rows])


class CtcPrefixScorer:
    """Prefix scores over one segment's rows."""

    def __init__(self, log_probs: NDArray[np.float32], *, blank: int = 0) -> None:
        """Take (U, V) finite natural logarithms."""
        self._by_class = np.ascontiguousarray(log_probs.T)  # a candidate's rows lie together
        self._blank_sums = _sums_from_zero(log_probs[:, blank].astype(np.float64))

    def start(self, num_rows: int) -> ForwardState:
        """``num_rows`` empty sequences."""
        shape = (num_rows, len(self._blank_sums))
        return ForwardState(
            token=np.full(shape, -np.inf),
            blank=np.tile(self._blank_sums, (num_rows, 1)),
            last=np.full(num_rows, -1, np.int64),
        )

    def scores(self, state: ForwardState, candidates: NDArray[np.int64]) -> Floats:
        """Natural log of the probability that the rows begin with a sequence and one more token.

        Args:
            state: K sequences.
            candidates: (K, C) the next token, C choices for each sequence.

        Returns:
            (K, C); -inf where the rows are too few.
        """
        emitted = self._by_class[candidates].astype(np.float64)  # (K, C, U)
        after_blank = state.blank[:, None, :-1]
        after_any = np.logaddexp(state.token, state.blank)[:, None, :-1]
        repeats = (candidates == state.last[:, None])[:, :, None]
        terms = np.where(repeats, after_blank, after_any) + emitted
        top = terms.max(axis=2, initial=-np.inf)
        shift = np.where(np.isfinite(top), top, 0.0)
        total = np.exp(terms - shift[:, :, None]).sum(axis=2)
        with np.errstate(divide="ignore"):
            result: Floats = shift + np.log(total)
        return result

    def extend(self, state: ForwardState, tokens: NDArray[np.int64]) -> ForwardState:
        """Append one token, ``tokens`` (K,), to each sequence."""
        repeats = (tokens == state.last)[:, None]
        begin = np.where(repeats, state.blank, np.logaddexp(state.token, state.blank))[:, :-1]
        emitted = self._by_class[tokens].astype(np.float64)  # (K, U)
        sums = np.concatenate([np.zeros((len(tokens), 1)), emitted.cumsum(axis=1)], axis=1)
        never = np.full((len(tokens), 1), -np.inf)
        # token[u] = (token[u-1] + begin[u]) · emitted[u], and so for blank: a sum over the row at
        # which the run began, each term discounted by what was emitted since
        runs = sums[:, 1:] + np.logaddexp.accumulate(begin - sums[:, :-1], axis=1)
        token = np.concatenate([never, runs], axis=1)
        gaps = np.logaddexp.accumulate(token[:, :-1] - self._blank_sums[:-1], axis=1)
        blank = np.concatenate([never, self._blank_sums[1:] + gaps], axis=1)
        return ForwardState(token, blank, tokens)

    def totals(self, state: ForwardState) -> Floats:
        """(K,) natural log of the probability that all rows read exactly the sequence."""
        result: Floats = np.logaddexp(state.token[:, -1], state.blank[:, -1])
        return result


def _sums_from_zero(values: Floats) -> Floats:
    return np.concatenate([np.zeros(1), values.cumsum()])
