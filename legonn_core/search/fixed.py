"""What stays the same while many searches run together, gathered into arrays once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from legonn_core.search.ctc import CtcPrefixScorer, Floats, Ids
from legonn_core.search.joint import JointBeamSearch

Flags = NDArray[np.bool_]


@dataclass(frozen=True, slots=True, eq=False)
class Fixed:
    """What does not change while R searches run together, as arrays.

    Attributes:
        weight: (R, 1, 1) CTC weight.
        bonus: (R, 1, 1) for each token.
        patience: (R,) tokens that an open hypothesis may hope for.
        max_length: (R,).
        num_forced: (R,).
        num_best: (R,).
        chooses: (R, 1, 1) whether the decoder's best classes are tried.
        heard: (R, H) classes tried after every hypothesis; the end where a lane has fewer.
        is_heard: (R, V).
        scorer: None if no lane asks CTC.
        heard_rows: (R, H, U) probabilities of ``heard``.
    """

    weight: Floats
    bonus: Floats
    patience: Ids
    max_length: Ids
    num_forced: Ids
    num_best: Ids
    chooses: Flags
    heard: Ids
    is_heard: Flags
    scorer: CtcPrefixScorer | None
    heard_rows: NDArray[np.float32]

    @classmethod
    def of(cls, searches: Sequence[JointBeamSearch]) -> Fixed:
        """Gather the searches' constants."""
        count, num_classes = len(searches), searches[0].num_classes
        settings = [search.settings for search in searches]
        most_heard = max(len(search.heard) for search in searches)
        heard = np.full((count, most_heard), searches[0].eos, np.int64)
        is_heard = np.zeros((count, num_classes), np.bool_)
        for lane, search in enumerate(searches):
            heard[lane, : len(search.heard)] = search.heard
            is_heard[lane, search.heard] = True
        scorer = None
        if any(search.segment is not None for search in searches):
            nothing = np.zeros((num_classes, 0), np.float32)
            scorer = CtcPrefixScorer(
                [nothing if search.segment is None else search.segment for search in searches],
                blank=searches[0].blank,
            )
        return cls(
            weight=np.array([s.ctc_weight for s in settings])[:, None, None],
            bonus=np.array([s.length_bonus for s in settings])[:, None, None],
            patience=np.array([s.patience for s in settings]),
            max_length=np.array([search.max_length for search in searches]),
            num_forced=np.array([len(search.forced) for search in searches]),
            num_best=np.array([s.num_best for s in settings]),
            chooses=np.array([s.ctc_weight < 1.0 for s in settings])[:, None, None],
            heard=heard,
            is_heard=is_heard,
            scorer=scorer,
            heard_rows=(
                np.zeros((count, heard.shape[1], 0), np.float32)
                if scorer is None
                else scorer.rows_of(heard)
            ),
        )

    def mix(self, decoder_scores: Floats, ctc: Floats | None, length: Ids) -> Floats:
        """(R, K, C) joint scores; a voice without weight is not heard, whatever it says."""
        mixed: Floats = self.bonus * length[:, None, None]
        with np.errstate(invalid="ignore"):  # 0 · -inf, not taken
            mixed = mixed + np.where(self.weight < 1.0, (1.0 - self.weight) * decoder_scores, 0.0)
            if ctc is not None:
                mixed = mixed + np.where(self.weight > 0.0, self.weight * ctc, 0.0)
        return mixed
