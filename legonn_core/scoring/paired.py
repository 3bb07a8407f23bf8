"""How much better one system is than another on the same items, with a paired bootstrap interval.

Both systems are resampled with the same draws, so that hard items, which are hard for both, do not
blur the difference (Koehn 2004).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from sacrebleu.metrics.bleu import BLEU

from legonn_core.scoring.scores import NUM_RESAMPLES, SEED, Score, word_errors

ORDERS = 4


def error_difference(
    references: Sequence[str], hypotheses: Sequence[str], others: Sequence[str]
) -> Score:
    """WER of the hypotheses less that of the others, in points; negative is better.

    Raises:
        ValueError: If the references hold no words.
    """
    ours, theirs = word_errors(references, hypotheses), word_errors(references, others)
    if not ours[:, 1].sum():
        raise ValueError("the references hold no words")

    def rate(counts: NDArray[np.int64]) -> float:
        return 100.0 * float(counts[0]) / max(float(counts[1]), 1.0)

    differences = [
        rate(ours[draw].sum(axis=0)) - rate(theirs[draw].sum(axis=0)) for draw in _draws(len(ours))
    ]
    value = rate(ours.sum(axis=0)) - rate(theirs.sum(axis=0))
    return _score("ΔWER", value, differences)


def translation_difference(
    references: Sequence[str], hypotheses: Sequence[str], others: Sequence[str]
) -> Score:
    """BLEU of the hypotheses less that of the others; positive is better."""
    ours, theirs = (_statistics(references, texts) for texts in (hypotheses, others))
    differences = [
        _bleu(ours[draw].sum(axis=0)) - _bleu(theirs[draw].sum(axis=0))
        for draw in _draws(len(ours))
    ]
    return _score("ΔBLEU", _bleu(ours.sum(axis=0)) - _bleu(theirs.sum(axis=0)), differences)


def _draws(count: int) -> NDArray[np.int64]:
    return np.random.default_rng(SEED).integers(count, size=(NUM_RESAMPLES, count))


def _statistics(references: Sequence[str], texts: Sequence[str]) -> NDArray[np.int64]:
    """(N, 2 * ORDERS + 2): matches and totals by order, both lengths."""
    metric = BLEU(effective_order=True)
    found = [
        metric.sentence_score(text, [reference])
        for text, reference in zip(texts, references, strict=True)
    ]
    return np.array([[*one.counts, *one.totals, one.sys_len, one.ref_len] for one in found])


def _bleu(summed: NDArray[np.int64]) -> float:
    counts, totals = summed[:ORDERS].tolist(), summed[ORDERS : 2 * ORDERS].tolist()
    lengths = int(summed[-2]), int(summed[-1])
    # As corpus scores are smoothed: without it a text that matches no four words counts as nothing.
    return float(BLEU.compute_bleu(counts, totals, *lengths, smooth_method="exp").score)


def _score(name: str, value: float, differences: Sequence[float]) -> Score:
    low, high = np.percentile(differences, [2.5, 97.5])
    signature = f"paired bootstrap|bs:{NUM_RESAMPLES}|seed:{SEED}"
    return Score(name, value, float(low), float(high), signature)
