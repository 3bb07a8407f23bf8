"""The steps of many joint searches at once: R lanes of one beam width, each a search of its own.

A step machine: the caller runs the decoder on ``lanes.last_tokens``, hands its log-probabilities to
``advance``, reorders its own memory by ``lanes.parents``, and so on; between two steps lanes may
leave (``select``) and others join (``join``). One decoder call and one set of array operations
serve all of them, and no torch is needed here. What a lane finds does not depend on its neighbours:
the only thing they share is padding.

Every lane has K rows, dead ones with score -inf, so batches keep their shape.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from legonn_core.search import steps
from legonn_core.search.ctc import Continuations, CtcPrefixScorer, Floats, ForwardState, Ids
from legonn_core.search.fixed import Fixed
from legonn_core.search.guidance import Guidance
from legonn_core.search.history import History
from legonn_core.search.hypothesis import Hypothesis
from legonn_core.search.joint import JointBeamSearch

Flags = NDArray[np.bool_]


@dataclass(frozen=True, slots=True, eq=False)
class Lanes:
    """R searches between two decoder steps.

    Attributes:
        searches: What they search.
        fixed: The same as arrays.
        lengths: (R,) tokens of the open hypotheses, forced ones included.
        last_tokens: (R, K) what the decoder reads next.
        parents: (R, K) row of the previous state that each row continues.
        scores: (R, K) joint scores of the open hypotheses, best first; -inf: a dead row.
        decoder_scores: (R, K) the decoder's part, unweighted.
        history: Their tokens.
        forward: CTC state; None if no lane asks CTC.
        finished: For each lane its best complete hypotheses so far, best first.
        guidance: What phrases and guards say.
    """

    searches: tuple[JointBeamSearch, ...]
    fixed: Fixed
    lengths: Ids
    last_tokens: Ids
    parents: Ids
    scores: Floats
    decoder_scores: Floats
    history: History
    forward: ForwardState | None
    finished: tuple[tuple[Hypothesis, ...], ...]
    guidance: Guidance

    @property
    def beam(self) -> int:
        """K."""
        return self.scores.shape[1]

    @property
    def num_choices(self) -> int:
        """P, how many of the decoder's best classes a row may go on with."""
        return min(self.searches[0].settings.num_choices, self.searches[0].num_classes)

    @property
    def is_done(self) -> Flags:
        """(R,) whether nothing better can come: both voices fall with every token."""
        bars = np.array(
            [
                found[search.settings.num_best - 1].score
                if len(found) >= search.settings.num_best
                else -math.inf
                for search, found in zip(self.searches, self.finished, strict=True)
            ]
        )
        fixed = self.fixed
        return steps.settled(
            self.scores, bars, self.lengths, fixed.max_length, fixed.patience, fixed.bonus,
            self.guidance.hope,
        )  # fmt: skip

    def select(self, indices: Sequence[int]) -> Lanes:
        """The lanes at ``indices`` only, at least one."""
        chosen = list(indices)
        searches = tuple(self.searches[i] for i in chosen)
        fixed = Fixed.of(searches)
        forward = None
        if fixed.scorer is not None and self.forward is not None:
            forward = self.forward.segments(chosen).padded(fixed.scorer.num_rows)
        return Lanes(
            searches=searches,
            fixed=fixed,
            lengths=self.lengths[chosen],
            last_tokens=self.last_tokens[chosen],
            parents=self.parents[chosen],
            scores=self.scores[chosen],
            decoder_scores=self.decoder_scores[chosen],
            history=self.history.select(chosen),
            forward=forward,
            finished=tuple(self.finished[i] for i in chosen),
            guidance=self.guidance.select(chosen),
        )


def start(searches: Sequence[JointBeamSearch]) -> Lanes:
    """Begin searches of one beam width together.

    Row 0 of each is the empty hypothesis, the others are dead; ``last_tokens`` is the start mark.
    """
    count, beam = len(searches), searches[0].settings.beam
    if any(search.settings.beam != beam for search in searches):
        raise ValueError("lanes have one beam width")
    fixed = Fixed.of(searches)
    scores = np.full((count, beam), -np.inf)
    scores[:, 0] = 0.0
    return Lanes(
        searches=tuple(searches),
        fixed=fixed,
        lengths=np.zeros(count, np.int64),
        last_tokens=np.repeat(np.array([[search.eos] for search in searches]), beam, axis=1),
        parents=np.tile(np.arange(beam), (count, 1)),
        scores=scores,
        decoder_scores=np.zeros((count, beam)),
        history=History.start(count, beam),
        forward=None if fixed.scorer is None else fixed.scorer.start(beam),
        finished=((),) * count,
        guidance=Guidance.start(
            [search.bias for search in searches],
            [search.supported for search in searches],
            beam=beam,
        ),
    )


def join(first: Lanes, second: Lanes) -> Lanes:
    """The lanes of both, in that order; they must have one beam width."""
    searches = (*first.searches, *second.searches)
    fixed = Fixed.of(searches)
    forward = None
    if fixed.scorer is not None:
        parts = [
            (
                CtcPrefixScorer(
                    [np.zeros((lanes.searches[0].num_classes, 0), np.float32)] * len(lanes.searches)
                ).start(lanes.beam)
                if lanes.forward is None
                else lanes.forward
            ).padded(fixed.scorer.num_rows)
            for lanes in (first, second)
        ]
        forward = ForwardState(
            *(
                np.concatenate([getattr(part, name) for part in parts])
                for name in ("token", "blank", "last")
            )
        )

    def both(name: str) -> NDArray[np.float64]:
        joined: NDArray[np.float64] = np.concatenate([getattr(first, name), getattr(second, name)])
        return joined

    return Lanes(
        searches=searches,
        fixed=fixed,
        lengths=np.concatenate([first.lengths, second.lengths]),
        last_tokens=np.concatenate([first.last_tokens, second.last_tokens]),
        parents=np.concatenate([first.parents, second.parents]),
        scores=both("scores"),
        decoder_scores=both("decoder_scores"),
        history=first.history.join(second.history),
        forward=forward,
        finished=(*first.finished, *second.finished),
        guidance=first.guidance.join(second.guidance),
    )


def advance(lanes: Lanes, log_probs: NDArray[np.float32]) -> Lanes:
    """Take one step in every lane.

    Args:
        lanes: None of them done.
        log_probs: (R, K, V) natural logarithms of each row's next token or end; values of dead rows
            are ignored.

    Raises:
        ValueError: If ``log_probs`` has another shape.
    """
    expected = (*lanes.scores.shape, lanes.searches[0].num_classes)
    if log_probs.shape != expected:
        raise ValueError(f"log_probs {log_probs.shape}, expected {expected}")
    fixed, guidance, waits = lanes.fixed, lanes.guidance, lanes.lengths < lanes.fixed.num_forced
    silent = lanes.searches[0].eos, lanes.searches[0].blank
    tokens, is_valid = steps.candidates(
        log_probs, lanes.num_choices, silent, _forced(lanes, waits), fixed.heard, fixed.is_heard,
        fixed.chooses,
    )  # fmt: skip
    over = (lanes.lengths >= fixed.max_length)[:, None] | lanes.history.is_looping
    may_go_on = np.isfinite(lanes.scores) & (waits[:, None] | ~over)
    is_valid &= may_go_on[:, :, None]
    scores = steps.scored(
        log_probs, tokens, is_valid, lanes.decoder_scores, lanes.lengths, fixed.weight, fixed.bonus,
        _ctc_scores(lanes, tokens), guidance.added(tokens), guidance.unheard,
    )  # fmt: skip
    parents, last_tokens, best, decoder = steps.kept(
        scores, tokens, lanes.decoder_scores, log_probs
    )
    finished = _finish(lanes, log_probs[:, :, silent[0]], best, scores)
    forward = None
    if fixed.scorer is not None and lanes.forward is not None:
        forward = fixed.scorer.extend(lanes.forward.select(parents), last_tokens)
    return Lanes(
        searches=lanes.searches,
        fixed=fixed,
        lengths=lanes.lengths + 1,
        last_tokens=last_tokens,
        parents=parents,
        scores=best,
        decoder_scores=decoder,
        history=lanes.history.grow(parents, last_tokens, lanes.lengths - fixed.num_forced),
        forward=forward,
        finished=finished,
        guidance=guidance.keep(parents, last_tokens),
    )


def read_forced(lanes: Lanes, log_probs: NDArray[np.float32]) -> Lanes:
    """Take all forced tokens at once: what ``advance`` would reach by as many steps.

    Args:
        lanes: As ``start`` gives them, their forced beginnings equally long and not empty.
        log_probs: (R, F, V) natural logarithms of the token behind the start and every forced token
            but the last.
    """
    forced = np.array([search.forced for search in lanes.searches])
    following = np.take_along_axis(log_probs, forced[:, :, None], axis=2)[:, :, 0]
    decoder_scores = following.astype(np.float64).sum(axis=1)
    ctc, state, scorer = None, None, lanes.fixed.scorer
    if scorer is not None:
        state = scorer.start(1)
        for index in range(forced.shape[1]):
            token = forced[:, index : index + 1]
            if index == forced.shape[1] - 1:
                ctc = scorer.scores(scorer.continuations(state), token[:, :, None])
            state = scorer.extend(state, token)
    lengths = np.full(len(forced), forced.shape[1])
    first = lanes.fixed.mix(decoder_scores[:, None, None], ctc, lengths)[:, 0, 0]
    scores = np.full(lanes.scores.shape, -np.inf)
    guidance = lanes.guidance.read(forced)
    scores[:, 0] = first + guidance.totals[:, 0]
    return replace(
        lanes,
        lengths=lengths,
        last_tokens=np.repeat(forced[:, -1:], lanes.beam, axis=1),
        scores=scores,
        decoder_scores=np.repeat(decoder_scores[:, None], lanes.beam, axis=1),
        history=History.of(forced, lanes.beam),
        forward=None if state is None else state.select(np.zeros(scores.shape, np.int64)),
        guidance=guidance,
    )


def finish(lanes: Lanes, lane: int) -> list[Hypothesis]:
    """The best hypotheses of a lane, best first; never none, each with the forced tokens first.

    Hypotheses still open are used only if none was completed.
    """
    search = lanes.searches[lane]
    wanted = search.settings.num_best
    if lanes.finished[lane]:
        return list(lanes.finished[lane][:wanted])
    if lanes.lengths[lane] < len(search.forced):
        return [Hypothesis(search.forced, -math.inf)]
    found = [
        Hypothesis(
            lanes.history.tokens_of(lane, row, int(lanes.lengths[lane])),
            float(lanes.scores[lane, row]),
            float(lanes.decoder_scores[lane, row]),
        )
        for row in np.flatnonzero(np.isfinite(lanes.scores[lane])).tolist()
    ]
    found.sort(key=lambda hypothesis: hypothesis.rank)
    return found[:wanted] or [Hypothesis(search.forced, -math.inf)]


def _forced(lanes: Lanes, waits: Flags) -> Ids:
    """(R,) the token that a lane must go on with; -1 where it is free."""
    tokens = np.full(len(waits), -1)
    for lane in waits.nonzero()[0].tolist():
        tokens[lane] = lanes.searches[lane].forced[int(lanes.lengths[lane])]
    return tokens


def _ctc_scores(lanes: Lanes, tokens: Ids) -> Floats:
    """(R, K, C) CTC prefix scores of continuations, each row's own first; of no size without."""
    fixed = lanes.fixed
    if fixed.scorer is None or lanes.forward is None:
        return np.empty((0, 0, 0))
    ahead: Continuations = fixed.scorer.continuations(lanes.forward)
    own = fixed.scorer.scores(ahead, tokens[:, :, : lanes.num_choices])
    shared = fixed.scorer.shared_scores(ahead, fixed.heard, fixed.heard_rows)
    return np.concatenate([own, shared], axis=2)


def _finish(
    lanes: Lanes, end_probs: NDArray[np.float32], best: Floats, scores: Floats
) -> tuple[tuple[Hypothesis, ...], ...]:
    """Add the rows whose end ranks among the K best continuations; the best of all are kept.

    A row that cannot go on (too long, in a loop) ends whatever its rank.
    """
    fixed = lanes.fixed
    ctc = np.empty((0, 0))
    if fixed.scorer is not None and lanes.forward is not None:
        ctc = fixed.scorer.totals(lanes.forward)
    may_end = np.isfinite(lanes.scores) & (lanes.lengths >= fixed.num_forced)[:, None]
    ends, decoder_scores, is_ending = steps.ends(
        scores, best, end_probs, may_end, lanes.decoder_scores, lanes.lengths, fixed.weight,
        fixed.bonus, ctc, lanes.guidance.at_end(lanes.searches[0].eos),
    )  # fmt: skip
    if not is_ending.any():
        return lanes.finished
    finished = list(lanes.finished)
    for lane in np.flatnonzero(is_ending.any(axis=1)).tolist():
        has_ctc = ctc.size > 0 and lanes.searches[lane].segment is not None
        found = [
            Hypothesis(
                tokens=lanes.history.tokens_of(lane, row, int(lanes.lengths[lane])),
                score=float(ends[lane, row]),
                decoder_score=float(decoder_scores[lane, row]),
                ctc_score=float(ctc[lane, row]) if has_ctc else 0.0,
            )
            for row in np.flatnonzero(is_ending[lane]).tolist()
        ]
        ranked = sorted([*finished[lane], *found], key=lambda hypothesis: hypothesis.rank)
        finished[lane] = tuple(ranked[: lanes.beam])
    return tuple(finished)
