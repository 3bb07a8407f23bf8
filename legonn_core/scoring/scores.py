"""Scores with their intervals: word error rate by jiwer, BLEU and chrF by sacreBLEU.

Every number carries what it was computed with, so that it can be compared with another of its kind
and with no other.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version

import jiwer
import numpy as np
from numpy.typing import NDArray
from sacrebleu.metrics.bleu import BLEU
from sacrebleu.metrics.chrf import CHRF

NORMALIZER = "nfkc+lower+no-punctuation"
"""NFKC, lower case, apostrophes kept inside words; every other mark is a space."""

NUM_RESAMPLES = 1000
SEED = 12345  # sacreBLEU's own default, so that all intervals are drawn alike

_NOT_INSIDE_A_WORD = re.compile(r"(?<![^\W_])'|'(?![^\W_])")
_MARKS = re.compile(r"[^\w']|_")


@dataclass(frozen=True, slots=True)
class Score:
    """One figure in percent or points, its 95 % bootstrap interval, and how it was computed.

    Attributes:
        name: WER, BLEU or chrF, with the reference's column if there are several.
        signature: Tool, version, options, resampling.
    """

    name: str
    value: float
    low: float
    high: float
    signature: str


def normalized(text: str) -> str:
    """The words that count, joined by single spaces; see ``NORMALIZER``."""
    plain = unicodedata.normalize("NFKC", text).lower().replace("\u2019", "'")
    return " ".join(_MARKS.sub(" ", _NOT_INSIDE_A_WORD.sub(" ", plain)).split())


def word_error_rate(
    references: Sequence[str], hypotheses: Sequence[str], *, name: str = "WER"
) -> Score:
    """Wrong, missing and added words for each 100 words of the references, in percent.

    The interval resamples recordings, not words, since the errors of one recording hang together.

    Raises:
        ValueError: If the references hold no words.
    """
    counts = word_errors(references, hypotheses)
    if not counts[:, 1].sum():
        raise ValueError("the references hold no words")
    draws = np.random.default_rng(SEED).integers(len(counts), size=(NUM_RESAMPLES, len(counts)))
    errors, words = counts[draws].sum(axis=1).T
    low, high = np.percentile(100 * errors / np.maximum(words, 1), [2.5, 97.5])
    total_errors, total_words = counts.sum(axis=0)
    signature = f"jiwer:{version('jiwer')}|norm:{NORMALIZER}|bs:{NUM_RESAMPLES}|seed:{SEED}"
    return Score(name, 100 * float(total_errors / total_words), float(low), float(high), signature)


def word_errors(references: Sequence[str], hypotheses: Sequence[str]) -> NDArray[np.int64]:
    """(N, 2) errors of each item, and words of its reference."""
    return np.array(
        [_count(normalized(a), normalized(b)) for a, b in zip(references, hypotheses, strict=True)]
    )


def _count(reference: str, hypothesis: str) -> tuple[int, int]:
    """Errors, and words of the reference."""
    found = jiwer.process_words(reference, hypothesis)
    return found.substitutions + found.deletions + found.insertions, len(reference.split())


def translation_scores(references: Sequence[str], hypotheses: Sequence[str]) -> tuple[Score, ...]:
    """BLEU and chrF of the texts as they are, cased and punctuated."""
    scores = []
    for metric in (BLEU(), CHRF()):
        found = metric.corpus_score(list(hypotheses), [list(references)], n_bootstrap=NUM_RESAMPLES)
        signature = f"sacrebleu|{metric.get_signature()}"
        name = "BLEU" if isinstance(metric, BLEU) else "chrF"
        # sacreBLEU gives mean and half width of the middle 95 % of its resamples.
        low, high = found._mean - found._ci, found._mean + found._ci
        scores.append(Score(name, found.score, low, high, signature))
    return tuple(scores)
