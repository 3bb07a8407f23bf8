"""What else has a say in many joint searches beside the two voices: phrases, and what was heard.

R lanes of K hypotheses, as in ``lanes.py``: phrases add their bonus to a hypothesis (``biasing``),
and a token that no row of the segment holds a trace of is never written (``guards``). Lanes without
phrases and without a guard pay a few comparisons.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from legonn_core.search.biasing import ROOT, PhraseBias
from legonn_core.search.ctc import Floats, Ids


@dataclass(frozen=True, slots=True, eq=False)
class Guidance:
    """Between two steps.

    Attributes:
        biases: R sets of phrases; None where a lane has none.
        unheard: (R, V) added to the scores of tokens: -inf where no row holds a trace; of no size
            if all lanes may write everything.
        hope: (R,) bonus that one more phrase may bring.
        nodes: (R, K) where hypotheses stand in their phrases.
        totals: (R, K) bonus so far.
    """

    biases: tuple[PhraseBias | None, ...]
    unheard: Floats
    hope: Floats
    nodes: Ids
    totals: Floats

    @classmethod
    def start(
        cls,
        biases: Sequence[PhraseBias | None],
        supported: Sequence[NDArray[np.bool_] | None],
        *,
        beam: int,
    ) -> Guidance:
        """Before the first token.

        Args:
            biases: Of each lane.
            supported: Of each lane, (V,) which classes may be written; None: all.
            beam: K.
        """
        unheard = np.empty((0, 0))
        masks = [mask for mask in supported if mask is not None]
        if masks:
            unheard = np.zeros((len(biases), len(masks[0])))
            for lane, mask in enumerate(supported):
                if mask is not None:
                    unheard[lane, ~mask] = -np.inf
        return cls(
            biases=tuple(biases),
            unheard=unheard,
            hope=np.array([0.0 if bias is None else bias.highest for bias in biases]),
            nodes=np.full((len(biases), beam), ROOT, np.int64),
            totals=np.zeros((len(biases), beam)),
        )

    def select(self, lanes: Sequence[int]) -> Guidance:
        """The lanes at these places only."""
        chosen = list(lanes)
        return Guidance(
            tuple(self.biases[lane] for lane in chosen),
            self.unheard[chosen] if self.unheard.size else self.unheard,
            self.hope[chosen],
            self.nodes[chosen],
            self.totals[chosen],
        )

    def join(self, other: Guidance) -> Guidance:
        """The lanes of both."""
        unheard, classes = self.unheard, max(self.unheard.shape[1], other.unheard.shape[1])
        if classes:
            parts = [
                one.unheard if one.unheard.size else np.zeros((len(one.biases), classes))
                for one in (self, other)
            ]
            unheard = np.concatenate(parts)
        return Guidance(
            (*self.biases, *other.biases),
            unheard,
            np.concatenate([self.hope, other.hope]),
            np.concatenate([self.nodes, other.nodes]),
            np.concatenate([self.totals, other.totals]),
        )

    def added(self, candidates: Ids) -> Floats:
        """(R, K, C) what phrases give hypotheses with one more token of ``candidates``.

        (R, K, 1) if there are none.
        """
        totals = self.totals[:, :, None]
        if not any(self.biases):
            return totals
        added = np.broadcast_to(totals, candidates.shape).copy()
        for lane, bias in enumerate(self.biases):
            if bias is not None:
                added[lane] += bias.bonus(self.nodes[lane][:, None], candidates[lane])
        return added

    def at_end(self, eos: int) -> Floats:
        """(R, K) what hypotheses have more when they end here."""
        if not any(self.biases):
            return self.totals
        added = self.totals.copy()
        for lane, bias in enumerate(self.biases):
            if bias is not None:
                added[lane] += bias.bonus(self.nodes[lane], np.array(eos))
        return added

    def keep(self, parents: Ids, tokens: Ids) -> Guidance:
        """Rows ``parents`` (R, K) with one more token each."""
        if not any(self.biases):
            return self
        nodes = np.take_along_axis(self.nodes, parents, axis=1)
        totals = np.take_along_axis(self.totals, parents, axis=1)
        for lane, bias in enumerate(self.biases):
            if bias is not None:
                totals[lane] += bias.bonus(nodes[lane], tokens[lane])
                nodes[lane] = bias.advance(nodes[lane], tokens[lane])
        return replace(self, nodes=nodes, totals=totals)

    def read(self, tokens: Ids) -> Guidance:
        """All rows of each lane behind the same ``tokens`` (R, F)."""
        found = self
        stay = np.tile(np.arange(self.nodes.shape[1]), (len(self.nodes), 1))
        for step in range(tokens.shape[1]):
            found = found.keep(stay, np.repeat(tokens[:, step : step + 1], stay.shape[1], axis=1))
        return found
