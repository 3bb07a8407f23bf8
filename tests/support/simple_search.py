"""The joint search as simply as it can be said: one segment, log domain, one step after the other.

Slow, and independent of what serves: the engine must find the same tokens.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from legonn_core.search.guards import TRACE
from legonn_core.search.hypothesis import Hypothesis
from legonn_core.search.joint import CTC_ONLY_CANDIDATES, LENGTH_MARGIN, JointSettings

Floats = NDArray[np.float64]

LOOP_LENGTH = 4
LOOP_COUNT = 3


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


class SimplePrefixScorer:
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


@dataclass(frozen=True, slots=True, eq=False)
class JointState:
    """Between two decoder steps.

    Attributes:
        last_tokens: (K,) what the decoder reads next.
        parents: (K,) row of the previous state that each row continues.
        scores: (K,) joint scores of the open hypotheses, best first; -inf: a dead row.
        decoder_scores: (K,) the decoder's part, unweighted.
        tokens: K open hypotheses, all of the same length.
        forward: CTC state; None at weight 0.
        finished: Best complete hypotheses so far, best first.
        is_done: Whether nothing better can come.
    """

    last_tokens: NDArray[np.int64]
    parents: NDArray[np.int64]
    scores: Floats
    decoder_scores: Floats
    tokens: tuple[tuple[int, ...], ...]
    forward: ForwardState | None
    finished: tuple[Hypothesis, ...]
    is_done: bool


class SimpleSearch:
    """One segment's search; holds what does not change while it runs."""

    def __init__(
        self,
        settings: JointSettings,
        log_probs: NDArray[np.float32],
        *,
        forced: Sequence[int] = (),
        eos: int = 0,
        blank: int = 0,
    ) -> None:
        """Prepare a search.

        Args:
            settings: How to search.
            log_probs: (U, V) finite natural logarithms of the interface marginals.
            forced: Tokens that every hypothesis begins with.
            eos: Class that ends a hypothesis in the decoder's output and starts it in its input.
            blank: Class of the CTC blank in ``log_probs``.

        Raises:
            ValueError: If a forced token is no token of the vocabulary.
        """
        num_rows, num_classes = log_probs.shape
        if any(not 0 <= token < num_classes or token in (eos, blank) for token in forced):
            raise ValueError("a forced token is the blank, the end, or outside the vocabulary")
        self.settings = settings
        self.forced = tuple(int(token) for token in forced)
        self._eos = eos
        self._num_classes = num_classes
        self._silent = sorted({eos, blank})
        self._may_be_written = np.ones(num_classes, bool)
        if settings.needs_trace:
            self._may_be_written = log_probs.max(axis=0, initial=-np.inf) >= math.log(TRACE)
        limit = num_rows + LENGTH_MARGIN if settings.max_length is None else settings.max_length
        self._max_length = max(limit, len(self.forced))
        self._ctc = SimplePrefixScorer(log_probs, blank=blank) if settings.ctc_weight > 0 else None
        alone = settings.ctc_weight == 1.0
        self._ctc_choices = self._peaks(log_probs, CTC_ONLY_CANDIDATES) if alone else None
        self._heard = self._peaks(log_probs, settings.peaks if self._ctc else 0)

    def start(self) -> JointState:
        """Row 0 is the empty hypothesis, the others are dead; ``last_tokens`` is the start mark."""
        beam = self.settings.beam
        scores = np.full(beam, -np.inf)
        scores[0] = 0.0
        return JointState(
            last_tokens=np.full(beam, self._eos, np.int64),
            parents=np.arange(beam, dtype=np.int64),
            scores=scores,
            decoder_scores=np.zeros(beam),
            tokens=((),) * beam,
            forward=None if self._ctc is None else self._ctc.start(beam),
            finished=(),
            is_done=False,
        )

    def advance(self, state: JointState, decoder_log_probs: NDArray[np.float32]) -> JointState:
        """Take one step.

        Args:
            state: Not done.
            decoder_log_probs: (K, V) natural logarithms of each row's next token or end; values of
                dead rows are ignored.
        """
        expected = (self.settings.beam, self._num_classes)
        if decoder_log_probs.shape != expected:
            raise ValueError(f"decoder_log_probs {decoder_log_probs.shape}, expected {expected}")
        alive = np.isfinite(state.scores)[:, None]
        following = np.where(alive, decoder_log_probs.astype(np.float64), -np.inf)
        decoder_scores = state.decoder_scores[:, None] + following
        length = len(state.tokens[0])
        if length < len(self.forced):
            candidates = np.full((self.settings.beam, 1), self.forced[length], np.int64)
            scores = self._joint(state, decoder_scores, candidates)
            return self._keep(state, decoder_scores, candidates, scores, state.finished)
        candidates = self._candidates(following)
        scores = self._joint(state, decoder_scores, candidates)
        scores[candidates == self._eos] = -np.inf
        looping = np.array([self._is_looping(tokens) for tokens in state.tokens])
        scores[looping | (length >= self._max_length)] = -np.inf
        finished = self._finish_rows(state, decoder_scores, scores)
        return self._keep(state, decoder_scores, candidates, scores, finished)

    def finish(self, state: JointState) -> list[Hypothesis]:
        """The best hypotheses, best first; never none, and each begins with the forced tokens.

        Hypotheses still open are used only if none was completed.
        """
        if state.finished:
            return list(state.finished[: self.settings.num_best])
        rows = zip(state.tokens, state.scores, state.decoder_scores, strict=True)
        found = [
            Hypothesis(tokens, float(score), float(decoder_score))
            for tokens, score, decoder_score in rows
            if math.isfinite(score) and len(tokens) >= len(self.forced)
        ]
        found.sort(key=lambda hypothesis: hypothesis.rank)
        return found[: self.settings.num_best] or [Hypothesis(self.forced, -math.inf)]

    def _candidates(self, following: Floats) -> NDArray[np.int64]:
        """(K, C) next tokens worth scoring, ascending in each row, never the end or the blank."""
        if self._ctc_choices is not None:
            return np.tile(self._ctc_choices, (self.settings.beam, 1))
        heard = np.zeros(self._num_classes, bool)
        heard[self._heard] = True
        order = np.argsort(-following, axis=1, kind="stable")[:, : self.settings.num_choices]
        rows = []
        for best in order:
            allowed = heard.copy()
            allowed[best] = True
            allowed[self._silent] = False
            allowed &= self._may_be_written
            rows.append(np.flatnonzero(allowed))
        width = max(map(len, rows))
        # shorter rows are filled with the end, which scores -inf: no hypothesis comes twice
        return np.stack([np.pad(row, (0, width - len(row)), constant_values=0) for row in rows])

    def _peaks(self, log_probs: NDArray[np.float32], count: int) -> NDArray[np.int64]:
        """(C,) the ``count`` classes with the highest peaks, ascending."""
        peaks = log_probs.max(axis=0, initial=-np.inf)
        order = np.argsort(-peaks, kind="stable")
        return np.sort(order[~np.isin(order, self._silent)][:count])

    def _joint(
        self, state: JointState, decoder_scores: Floats, candidates: NDArray[np.int64]
    ) -> Floats:
        """(K, C) joint scores of the open hypotheses with one more token."""
        chosen = np.take_along_axis(decoder_scores, candidates, axis=1)
        ctc = None
        if self._ctc is not None and state.forward is not None:
            ctc = self._ctc.scores(state.forward, candidates)
        alive = np.isfinite(state.scores)[:, None]
        return np.where(alive, self._mix(chosen, ctc, len(state.tokens[0]) + 1), -np.inf)

    def _mix(self, decoder_scores: Floats, ctc: Floats | None, length: int) -> Floats:
        weight, bonus = self.settings.ctc_weight, self.settings.length_bonus * length
        if ctc is None:
            return decoder_scores + bonus
        if weight == 1.0:  # a decoder's -inf must not become NaN
            return ctc + bonus
        return (1.0 - weight) * decoder_scores + weight * ctc + bonus

    def _finish_rows(
        self, state: JointState, decoder_scores: Floats, open_scores: Floats
    ) -> tuple[Hypothesis, ...]:
        """Add the rows whose end ranks among the K best continuations; the best of all are kept.

        A row that cannot go on (too long, in a loop) ends whatever its rank.
        """
        beam = self.settings.beam
        ctc = None
        if self._ctc is not None and state.forward is not None:
            ctc = self._ctc.totals(state.forward)
        length = len(state.tokens[0])
        ends = self._mix(decoder_scores[:, self._eos], ctc, length)
        ends = np.where(np.isfinite(state.scores), ends, -np.inf)
        rivals = np.sort(np.concatenate([open_scores.ravel(), ends]))
        bar = rivals[-beam]
        stuck = ~np.isfinite(open_scores).any(axis=1)
        ending = np.flatnonzero(np.isfinite(ends) & ((ends >= bar) | stuck))
        found = [
            Hypothesis(
                tokens=state.tokens[row],
                score=float(ends[row]),
                decoder_score=float(decoder_scores[row, self._eos]),
                ctc_score=0.0 if ctc is None else float(ctc[row]),
            )
            for row in ending.tolist()
        ]
        ranked = sorted([*state.finished, *found], key=lambda hypothesis: hypothesis.rank)
        return tuple(ranked[:beam])

    def _keep(
        self,
        state: JointState,
        decoder_scores: Floats,
        candidates: NDArray[np.int64],
        scores: Floats,
        finished: tuple[Hypothesis, ...],
    ) -> JointState:
        """The K best continuations become the rows of the next state."""
        beam, width = self.settings.beam, candidates.shape[1]
        order = np.argsort(-scores, axis=None, kind="stable")[:beam]
        parents, columns = order // width, order % width
        kept = scores[parents, columns]
        last_tokens = candidates[parents, columns]
        tokens = tuple(
            (*state.tokens[parent], token)
            for parent, token in zip(parents.tolist(), last_tokens.tolist(), strict=True)
        )
        forward = None
        if self._ctc is not None and state.forward is not None:
            forward = self._ctc.extend(state.forward.select(parents), last_tokens)
        return JointState(
            last_tokens=last_tokens,
            parents=parents,
            scores=kept,
            decoder_scores=np.where(
                np.isfinite(kept), decoder_scores[parents, last_tokens], -np.inf
            ),
            tokens=tokens,
            forward=forward,
            finished=finished,
            is_done=self._is_done(kept, len(tokens[0]), finished),
        )

    def _is_done(self, scores: Floats, length: int, finished: tuple[Hypothesis, ...]) -> bool:
        """No open hypothesis can enter the best any more: both voices fall with every token."""
        best = scores.max()
        if not math.isfinite(best):
            return True
        if len(finished) < self.settings.num_best:
            return False
        left = min(self._max_length - length, self.settings.patience)
        gain = max(self.settings.length_bonus, 0.0) * max(left, 0)
        return bool(best + gain <= finished[self.settings.num_best - 1].score)

    def _is_looping(self, tokens: tuple[int, ...]) -> bool:
        """Whether the newest tokens, forced ones apart, say the same four or more three times."""
        free = tokens[len(self.forced) :]
        for size in range(LOOP_LENGTH, len(free) // LOOP_COUNT + 1):
            tail = free[-size:]
            if all(free[-size * (n + 1) : -size * n] == tail for n in range(1, LOOP_COUNT)):
                return True
        return False
