"""How late and how restless: LAAL and erasure.

LAAL (Papi et al. 2022, arXiv 2206.05807): the mean lag of each output word behind a writer who
keeps pace with the source, where the pace counts the longer of hypothesis and reference, so that
saying too much is not rewarded. Erasure (Arivazhagan et al. 2020, arXiv 1912.03393, normalised):
words that were shown and taken back, for each word of the final text.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from legonn_core.scoring.scores import NUM_RESAMPLES, SEED, Score


def lagging(delays: Sequence[float], *, source_length: float, reference_words: int) -> float:
    """LAAL of one item, in the unit of its delays (seconds, or source words).

    Args:
        delays: How much source had been read when each output word was final, never decreasing.
        source_length: All of it.
        reference_words: Words of the reference.

    Raises:
        ValueError: If there is no source, or delays decrease.
    """
    if source_length <= 0 or list(delays) != sorted(delays):
        raise ValueError("delays must not decrease, and there must be a source")
    pace = source_length / max(len(delays), reference_words, 1)
    counted = []
    for index, delay in enumerate(delays):
        counted.append(delay - index * pace)
        if delay >= source_length:  # what comes after the last source word lags by nothing more
            break
    return float(np.mean(counted)) if counted else 0.0


def erased_words(shown: Sequence[Sequence[str]]) -> int:
    """Words taken back over successive versions of one text.

    Args:
        shown: Each version as words, the last is final.
    """
    erased = 0
    for before, after in pairwise(shown):
        same = 0
        while same < min(len(before), len(after)) and before[same] == after[same]:
            same += 1
        erased += len(before) - same
    return erased


def mean_lagging(values: Sequence[float], *, unit: str) -> Score:
    """Mean LAAL with its bootstrap interval over items.

    Raises:
        ValueError: If there are no items.
    """
    return _ratio("LAAL", values, [1.0] * len(values), f"LAAL|unit:{unit}")


def normalized_erasure(erased: Sequence[int], final_words: Sequence[int]) -> Score:
    """Erased words for each final word, with its bootstrap interval over items.

    Raises:
        ValueError: If no item has a final word.
    """
    return _ratio("erasure", erased, final_words, "erasure|normalised by final words")


def _ratio(name: str, tops: Sequence[float], bottoms: Sequence[float], signature: str) -> Score:
    top, bottom = np.asarray(tops, dtype=np.float64), np.asarray(bottoms, dtype=np.float64)
    if not bottom.sum():
        raise ValueError(f"{name} of nothing")
    draws = np.random.default_rng(SEED).integers(len(top), size=(NUM_RESAMPLES, len(top)))
    means = top[draws].sum(axis=1) / np.maximum(bottom[draws].sum(axis=1), 1e-9)
    low, high = np.percentile(means, [2.5, 97.5])
    value = float(top.sum() / bottom.sum())
    return Score(
        name, value, float(low), float(high), f"{signature}|bs:{NUM_RESAMPLES}|seed:{SEED}"
    )
