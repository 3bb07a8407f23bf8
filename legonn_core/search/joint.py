"""Beam search over tokens with two voices: the decoder's and the CTC prefix score's.

    score(tokens) = (1 - w) · log p_decoder + w · log p_ctc + bonus · number of tokens

Here is what one segment's search is: its settings, and what of its marginals the search asks again
and again. The steps are in ``lanes.py``, for many searches at a time.

Class 0 is the blank in the marginals; in the decoder the same class means start (as input) and end
(as output). Source: Watanabe et al. 2017, Hori et al. 2017; pre-beam and end detection as is usual.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from legonn_core.search.biasing import PhraseBias
from legonn_core.search.ctc import class_rows
from legonn_core.search.guards import supported

PRE_BEAM_RATIO = 1.5
"""Tokens that each hypothesis may go on with, by the beam: the decoder's best, and a few more."""

PRE_BEAM_EXTRA = 5

CTC_ONLY_CANDIDATES = 256
"""With weight 1 the decoder may not choose: the classes with the highest peaks are tried."""

LENGTH_MARGIN = 8
"""Tokens beyond the number of rows that a hypothesis may have (only without CTC can it)."""


@dataclass(frozen=True, slots=True)
class JointSettings:
    """How to search.

    Attributes:
        beam: K, hypotheses kept open.
        ctc_weight: w above, in [0, 1]; at 0 no CTC work is done.
        length_bonus: Natural-log bonus a token.
        num_best: Hypotheses wanted, at most ``beam``.
        max_length: Most tokens of a hypothesis; None: the number of rows and a few.
        peaks: Besides the decoder's choice, try this many classes that peak highest in the
            marginals: what was clearly heard is weighed even where the decoder did not expect it.
        patience: With a length bonus an open hypothesis might still win by tokens that cost
            nothing; it is given up when more than this many would be needed.
        needs_trace: Write no class that no row holds a trace of.
    """

    beam: int = 5
    ctc_weight: float = 0.3
    length_bonus: float = 0.0
    num_best: int = 1
    max_length: int | None = None
    peaks: int = 0
    patience: int = 8
    needs_trace: bool = False

    def __post_init__(self) -> None:
        if not 1 <= self.num_best <= self.beam:
            raise ValueError(f"num_best={self.num_best} of beam={self.beam}")
        if not 0.0 <= self.ctc_weight <= 1.0 or not math.isfinite(self.length_bonus):
            raise ValueError(f"ctc_weight={self.ctc_weight}, length_bonus={self.length_bonus}")

    @property
    def num_choices(self) -> int:
        """How many of the decoder's best classes each hypothesis may go on with, the end too."""
        return math.ceil(PRE_BEAM_RATIO * self.beam) + PRE_BEAM_EXTRA


class JointBeamSearch:
    """One segment's search: what does not change while it runs.

    Attributes:
        settings: How to search.
        forced: Tokens that every hypothesis begins with.
        eos: Class that ends a hypothesis in the decoder's output and starts it in its input.
        num_classes: V.
        max_length: Most tokens of a hypothesis.
        heard: (C,) classes tried after every hypothesis, ascending.
        segment: (V, U) probabilities, classes first; None if CTC is not asked.
        bias: Phrases that are likely; None if there are none.
        supported: (V,) which classes may be written; None: all.
    """

    def __init__(
        self,
        settings: JointSettings,
        log_probs: NDArray[np.float32],
        *,
        forced: Sequence[int] = (),
        bias: PhraseBias | None = None,
        eos: int = 0,
        blank: int = 0,
    ) -> None:
        """Prepare a search.

        Args:
            settings: How to search.
            log_probs: (U, V) finite natural logarithms of the interface marginals.
            forced: Tokens that every hypothesis begins with.
            bias: Phrases that are likely.
            eos: Class that ends a hypothesis in the decoder's output and starts it in its input.
            blank: Class of the CTC blank in ``log_probs``.

        Raises:
            ValueError: If a forced token is no token of the vocabulary.
        """
        num_rows, self.num_classes = log_probs.shape
        silent = (eos, blank)
        if any(not 0 <= token < self.num_classes or token in silent for token in forced):
            raise ValueError("a forced token is the blank, the end, or outside the vocabulary")
        self.settings, self.eos, self.blank = settings, eos, blank
        self.forced = tuple(int(token) for token in forced)
        limit = num_rows + LENGTH_MARGIN if settings.max_length is None else settings.max_length
        self.max_length = max(limit, len(self.forced))
        count = CTC_ONLY_CANDIDATES if settings.ctc_weight == 1.0 else settings.peaks
        hears = settings.ctc_weight > 0
        self.segment = class_rows(log_probs) if hears else None
        self.heard = _peaks(log_probs, count if hears else 0, silent)
        self.bias = bias
        self.supported: NDArray[np.bool_] | None = None
        if bias is not None or settings.needs_trace:
            peaks = log_probs.max(axis=0, initial=-np.inf)
            traced = supported(peaks, always=(*silent, *self.forced))
            if bias is not None:
                self.heard = np.union1d(self.heard, bias.heard(peaks, traced))
            if settings.needs_trace:
                self.supported = traced


def _peaks(
    log_probs: NDArray[np.float32], count: int, silent: tuple[int, ...]
) -> NDArray[np.int64]:
    """(C,) the ``count`` classes with the highest peaks, ascending."""
    if count == 0:
        return np.zeros(0, np.int64)
    peaks = log_probs.max(axis=0, initial=-np.inf)
    order = np.argsort(-peaks, kind="stable")
    return np.sort(order[~np.isin(order, silent)][:count])
