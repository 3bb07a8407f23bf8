"""CTC prefix beam search that can stop after any row and go on later.

A CTC path names a class for every row; collapsing repeats and dropping blanks turns it into a token
sequence, the prefix. The search keeps the most probable prefixes of the rows seen so far, each with
the mass of its paths that end in blank and of those that do not, because only the former may be
followed by the same token again. The state is a value and depends on past rows alone: however a
segment is cut into blocks, the answer is the same to the last bit.

It needs no decoder, so it gives partial text while somebody is still speaking. Source: Hannun et
al. 2014, Graves 2012 §7.5.3; time marks as in the best single path into each prefix.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from legonn_core.interface.marginals import Marginals
from legonn_core.search.hypothesis import Prefix

_NEVER = -math.inf


@dataclass(frozen=True, slots=True)
class PathMark:
    """The best single path into a prefix: its log-probability and the rows of its tokens."""

    score: float
    positions: tuple[int, ...]


_NO_PATH = PathMark(_NEVER, ())


@dataclass(frozen=True, slots=True)
class PrefixEntry:
    """One prefix of the beam.

    Attributes:
        tokens: The prefix.
        blank: Natural log of the mass of its paths that end in blank.
        token: Natural log of the mass of its paths that end in its last token.
        blank_path: Best path that ends in blank.
        token_path: Best path that ends in its last token.
    """

    tokens: tuple[int, ...]
    blank: float
    token: float
    blank_path: PathMark
    token_path: PathMark

    @property
    def score(self) -> float:
        """Natural log of the mass of all its paths."""
        return log_add(self.blank, self.token)


@dataclass(frozen=True, slots=True)
class PrefixState:
    """Everything the search remembers: the beam, best first, and how many rows it has seen."""

    entries: tuple[PrefixEntry, ...]
    num_rows: int


@dataclass(frozen=True, slots=True)
class PrefixSearch:
    """The search's settings; it holds no memory.

    Attributes:
        beam: Prefixes kept after each row.
        min_prob: A class less probable than this in a row starts no new token there.
        blank: Class index of the CTC blank.
    """

    beam: int = 8
    min_prob: float = 1e-3
    blank: int = 0

    def __post_init__(self) -> None:
        if self.beam < 1 or not 0 <= self.min_prob < 1:
            raise ValueError(f"beam={self.beam}, min_prob={self.min_prob}")

    def start(self) -> PrefixState:
        """Before the first row: nothing read, with certainty."""
        certain = PathMark(0.0, ())
        return PrefixState((PrefixEntry((), 0.0, _NEVER, certain, _NO_PATH),), 0)

    def advance(self, state: PrefixState, block: Marginals) -> PrefixState:
        """Read the next rows of the segment.

        Mass outside a row's listed classes belongs to no prefix: it is lost to all alike.

        Raises:
            ValueError: If the block does not begin where the state ended.
        """
        if block.first_position != state.num_rows:
            raise ValueError(
                f"the search has seen {state.num_rows} rows, the block begins at"
                f" row {block.first_position}"
            )
        entries = state.entries
        rows = zip(block.ids.tolist(), block.log_probs.tolist(), strict=True)
        for position, (ids, log_probs) in enumerate(rows, start=state.num_rows):
            entries = self._read_row(entries, dict(zip(ids, log_probs, strict=True)), position)
        return PrefixState(entries, block.end_position)

    def best(self, state: PrefixState) -> Prefix:
        """The most probable prefix; its positions are those of the best path into it."""
        entry = state.entries[0]
        path = max(entry.blank_path, entry.token_path, key=lambda mark: mark.score)
        return Prefix(entry.tokens, path.positions, entry.score)

    def _read_row(
        self, entries: tuple[PrefixEntry, ...], row: dict[int, float], position: int
    ) -> tuple[PrefixEntry, ...]:
        """One row of the recursion; ``row`` maps listed classes to natural logarithms."""
        blank = row.get(self.blank, _NEVER)
        least = math.log(self.min_prob) if self.min_prob > 0 else _NEVER
        starts = [(c, p) for c, p in row.items() if p >= least and c != self.blank]
        table: dict[tuple[int, ...], PrefixEntry] = {}
        for entry in entries:  # stay: blank, or the last token goes on
            again = row.get(entry.tokens[-1], _NEVER) if entry.tokens else _NEVER
            best = max(entry.blank_path, entry.token_path, key=lambda mark: mark.score)
            table[entry.tokens] = PrefixEntry(
                entry.tokens,
                entry.score + blank,
                entry.token + again,
                PathMark(best.score + blank, best.positions),
                PathMark(entry.token_path.score + again, entry.token_path.positions),
            )
        for entry in entries:  # grow: a new token begins in this row
            last = entry.tokens[-1] if entry.tokens else self.blank
            best = max(entry.blank_path, entry.token_path, key=lambda mark: mark.score)
            for token, log_prob in starts:
                repeats = token == last
                mass = entry.blank if repeats else entry.score
                if mass == _NEVER:
                    continue
                path = entry.blank_path if repeats else best
                _add_growth(table, entry.tokens, token, mass + log_prob, path, log_prob, position)
        ranked = sorted(table.values(), key=lambda entry: (-entry.score, entry.tokens))
        return tuple(ranked[: self.beam])


def _add_growth(
    table: dict[tuple[int, ...], PrefixEntry],
    tokens: tuple[int, ...],
    token: int,
    mass: float,
    path: PathMark,
    log_prob: float,
    position: int,
) -> None:
    """Add the paths of ``tokens`` that now begin ``token`` to the entry of the longer prefix."""
    grown = (*tokens, token)
    old = table.get(grown)
    mark = PathMark(path.score + log_prob, (*path.positions, position))
    if old is None:
        table[grown] = PrefixEntry(grown, _NEVER, mass, _NO_PATH, mark)
        return
    if old.token_path.score >= mark.score:
        mark = old.token_path
    table[grown] = PrefixEntry(grown, old.blank, log_add(old.token, mass), old.blank_path, mark)


def log_add(first: float, second: float) -> float:
    """Natural log of the sum of two numbers given by their natural logs; -inf is log 0."""
    if first < second:
        first, second = second, first
    return first if second == _NEVER else first + math.log1p(math.exp(second - first))
