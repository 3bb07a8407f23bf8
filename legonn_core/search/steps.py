"""The inner loops of one step of many joint searches; what they mean is told in ``lanes.py``.

R lanes of K rows; every row looks at C = P + H next tokens: the decoder's P best of V classes, and
H that were heard. Sums are taken in the order in which they are written.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from legonn_core.compiled import compiled

Floats = NDArray[np.float64]
Ids = NDArray[np.int64]
Flags = NDArray[np.bool_]


@compiled
def _choose(values: NDArray[np.float32], places: Ids) -> None:
    """Write the places of the highest values into ``places``, in any order."""
    wanted = len(places)
    for i in range(wanted):
        places[i] = i
    lowest = 0
    for i in range(wanted):
        lowest = i if values[i] < values[places[lowest]] else lowest
    bar = values[places[lowest]]
    for i in range(wanted, len(values)):
        if values[i] > bar:
            places[lowest] = i
            for j in range(wanted):
                lowest = j if values[places[j]] < values[places[lowest]] else lowest
            bar = values[places[lowest]]


@compiled
def candidates(
    log_probs: NDArray[np.float32],
    num_choices: int,
    silent: tuple[int, int],
    forced: Ids,
    heard: Ids,
    is_heard: Flags,
    chooses: Flags,
) -> tuple[Ids, Flags]:
    """Next tokens worth scoring.

    Args:
        log_probs: (R, K, V) natural logarithms of each row's next token or end.
        num_choices: P.
        silent: The classes that are no tokens: end and blank.
        forced: (R,) the token that a lane must go on with; -1: it is free.
        heard: (R, H) tried after every row; the end where a lane has fewer.
        is_heard: (R, V).
        chooses: (R, 1, 1) whether the decoder's best classes are tried.

    Returns:
        (R, K, C) tokens, the decoder's choice first, and which of them may be taken.
    """
    count, beam = log_probs.shape[:2]
    width = num_choices + heard.shape[1]
    tokens = np.empty((count, beam, width), np.int64)
    is_valid = np.zeros((count, beam, width), np.bool_)
    for lane in range(count):
        for row in range(beam):
            own = tokens[lane, row]
            _choose(log_probs[lane, row], own[:num_choices])
            for i in range(num_choices, width):
                own[i] = heard[lane, i - num_choices]
            if forced[lane] >= 0:
                own[0] = forced[lane]
                is_valid[lane, row, 0] = True
                continue
            for i in range(width):
                is_new = i >= num_choices or (chooses[lane, 0, 0] and not is_heard[lane, own[i]])
                is_valid[lane, row, i] = is_new and own[i] != silent[0] and own[i] != silent[1]
    return tokens, is_valid


@compiled
def _mixed(
    weight: float, bonus: float, length: int, decoder: float, ctc: float
) -> float:  # fmt: skip
    """The joint score; a voice without weight is not heard, whatever it says."""
    score = bonus * length
    if weight < 1.0:
        score += (1.0 - weight) * decoder
    if weight > 0.0:
        score += weight * ctc
    return score


@compiled
def scored(
    log_probs: NDArray[np.float32],
    tokens: Ids,
    is_valid: Flags,
    decoder_scores: Floats,
    lengths: Ids,
    weight: Floats,
    bonus: Floats,
    ctc: Floats,
    added: Floats,
    unheard: Floats,
) -> Floats:
    """Joint scores of continuations.

    Args:
        log_probs: (R, K, V).
        tokens: (R, K, C).
        is_valid: (R, K, C) which of them may be taken.
        decoder_scores: (R, K) before them.
        lengths: (R,) tokens before them.
        weight: (R, 1, 1) of CTC.
        bonus: (R, 1, 1) for each token.
        ctc: (R, K, C) prefix scores; of no size without CTC.
        added: (R, K, C or 1) what phrases add.
        unheard: (R, V) -inf for what has no trace; of no size where all may be written.

    Returns:
        (R, K, C); -inf where not valid.
    """
    count, beam, width = tokens.shape
    scores = np.full(tokens.shape, -np.inf)
    has_ctc, has_guard, is_one = ctc.size > 0, unheard.size > 0, added.shape[2] == 1
    for lane in range(count):
        share, gain, length = weight[lane, 0, 0], bonus[lane, 0, 0], lengths[lane] + 1
        for row in range(beam):
            for i in range(width):
                if is_valid[lane, row, i]:
                    token = tokens[lane, row, i]
                    decoder = decoder_scores[lane, row] + log_probs[lane, row, token]
                    heard = ctc[lane, row, i] if has_ctc else 0.0
                    score = _mixed(share, gain, length, decoder, heard)
                    score += added[lane, row, 0 if is_one else i]
                    scores[lane, row, i] = score + (unheard[lane, token] if has_guard else 0.0)
    return scores


@compiled
def kept(
    scores: Floats, tokens: Ids, decoder_scores: Floats, log_probs: NDArray[np.float32]
) -> tuple[Ids, Ids, Floats, Floats]:
    """The K best continuations of each lane, best first; of two alike the earlier one.

    Args:
        scores: (R, K, C).
        tokens: (R, K, C).
        decoder_scores: (R, K) before them.
        log_probs: (R, K, V).

    Returns:
        Parents, tokens, scores and decoder's scores, each (R, K).
    """
    count, beam, width = scores.shape
    parents, chosen = np.zeros((count, beam), np.int64), np.zeros((count, beam), np.int64)
    best = np.full((count, beam), -np.inf)
    decoder = np.full((count, beam), -np.inf)
    for lane in range(count):
        for place in range(beam):  # dead unless something better comes
            parents[lane, place], chosen[lane, place] = place // width, place % width
        for row in range(beam):
            for i in range(width):
                score = scores[lane, row, i]
                if not score > best[lane, beam - 1]:
                    continue
                place = beam - 1
                while place > 0 and score > best[lane, place - 1]:
                    best[lane, place] = best[lane, place - 1]
                    parents[lane, place] = parents[lane, place - 1]
                    chosen[lane, place] = chosen[lane, place - 1]
                    place -= 1
                best[lane, place], parents[lane, place], chosen[lane, place] = score, row, i
        for place in range(beam):
            row = parents[lane, place]
            token = tokens[lane, row, chosen[lane, place]]
            chosen[lane, place] = token
            if np.isfinite(best[lane, place]):
                decoder[lane, place] = decoder_scores[lane, row] + log_probs[lane, row, token]
    return parents, chosen, best, decoder


@compiled
def ends(
    scores: Floats,
    best: Floats,
    end_probs: NDArray[np.float32],
    may_end: Flags,
    decoder_scores: Floats,
    lengths: Ids,
    weight: Floats,
    bonus: Floats,
    ctc: Floats,
    added: Floats,
) -> tuple[Floats, Floats, Flags]:
    """Which rows end: those whose end ranks among the K best, and those that cannot go on.

    Args:
        scores: (R, K, C) of all continuations.
        best: (R, K) of the ones that are kept.
        end_probs: (R, K) natural log of the end's probability.
        may_end: (R, K).
        decoder_scores: (R, K) before it.
        lengths: (R,).
        weight: (R, 1, 1) of CTC.
        bonus: (R, 1, 1) for each token.
        ctc: (R, K) of the whole sequences; of no size without CTC.
        added: (R, K) what phrases add at the end.

    Returns:
        (R, K) scores of the ends, the decoder's part, and which of them count.
    """
    count, beam, width = scores.shape
    found, is_ending = np.full((count, beam), -np.inf), np.zeros((count, beam), np.bool_)
    decoder = decoder_scores + end_probs
    for lane in range(count):
        for row in range(beam):
            if may_end[lane, row]:
                heard = ctc[lane, row] if ctc.size > 0 else 0.0
                score = _mixed(
                    weight[lane, 0, 0], bonus[lane, 0, 0], lengths[lane], decoder[lane, row], heard
                )
                found[lane, row] = score + added[lane, row]
        for row in range(beam):
            better, is_stuck = 0, True
            for other in range(beam):
                better += (best[lane, other] > found[lane, row]) + (
                    found[lane, other] > found[lane, row]
                )
            for i in range(width):
                is_stuck = is_stuck and not np.isfinite(scores[lane, row, i])
            is_ending[lane, row] = np.isfinite(found[lane, row]) and (better < beam or is_stuck)
    return found, decoder, is_ending


@compiled
def repeated(
    newest: Ids, repeats: Ids, parents: Ids, tokens: Ids, free: Ids
) -> tuple[Ids, Ids]:  # fmt: skip
    """``History.grow``: hypotheses ``parents`` (R, K), each with one more token."""
    count, beam, room = newest.shape
    grown, counts = np.empty_like(newest), np.empty_like(repeats)
    for lane in range(count):
        for row in range(beam):
            old, token = newest[lane, parents[lane, row]], tokens[lane, row]
            before = repeats[lane, parents[lane, row]]
            for i in range(room):
                is_same = old[i] == token and i < free[lane]
                counts[lane, row, i] = before[i] + 1 if is_same else 0
                grown[lane, row, i] = old[i - 1] if i > 0 else token
    return grown, counts


@compiled
def looping(repeats: Ids, length: int, times: int) -> Flags:
    """(R, K) whether the newest ``length`` or more tokens have been said ``times`` times."""
    count, beam, room = repeats.shape
    found = np.zeros((count, beam), np.bool_)
    for lane in range(count):
        for row in range(beam):
            for i in range(length - 1, room):
                if repeats[lane, row, i] >= (times - 1) * (i + 1):
                    found[lane, row] = True
    return found


@compiled
def settled(
    scores: Floats,
    bars: Floats,
    lengths: Ids,
    max_lengths: Ids,
    patience: Ids,
    bonus: Floats,
    hope: Floats,
) -> Flags:
    """(R,) whether no open hypothesis can become better than what was found.

    Args:
        scores: (R, K) of the open ones; both voices fall with every token.
        bars: (R,) score of the last one wanted of those found; -inf: too few were.
        lengths: (R,).
        max_lengths: (R,).
        patience: (R,) tokens that an open hypothesis may hope for.
        bonus: (R, 1, 1) for each token.
        hope: (R,) what one more phrase may bring.
    """
    found = np.zeros(len(scores), np.bool_)
    for lane in range(len(scores)):
        best = -np.inf
        for row in range(scores.shape[1]):
            best = max(best, scores[lane, row])
        left = max(min(max_lengths[lane] - lengths[lane], patience[lane]), 0)
        gain = max(bonus[lane, 0, 0], 0.0) * left + hope[lane]
        is_beaten = np.isfinite(bars[lane]) and best + gain <= bars[lane]
        found[lane] = is_beaten or not np.isfinite(best)
    return found
