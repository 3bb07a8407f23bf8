"""How many segments and sentences use each module version now: what keeps a version in memory."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from legonn_core.runtime.messages import ModuleRef


class Pins:
    """Counts users by version.

    Attributes:
        retired: Versions that left memory or are about to; their users look for others.
    """

    def __init__(self) -> None:
        self._counts: Counter[ModuleRef] = Counter()
        self.retired: set[ModuleRef] = set()

    @property
    def counts(self) -> Mapping[ModuleRef, int]:
        """Users of each version that has any."""
        return self._counts

    def are_retired(self, *refs: ModuleRef) -> bool:
        """Whether one of the versions left memory, or is about to."""
        return not self.retired.isdisjoint(refs)

    def take(self, *refs: ModuleRef) -> None:
        """Somebody begins to use versions."""
        self._counts.update(refs)

    def drop(self, *refs: ModuleRef) -> None:
        """Somebody is done with versions."""
        self._counts.subtract(refs)
        for ref in refs:
            if not self._counts[ref]:
                del self._counts[ref]

    @contextmanager
    def held(self, *refs: ModuleRef) -> Iterator[None]:
        """Use versions for the length of a ``with`` block."""
        self.take(*refs)
        try:
            yield
        finally:
            self.drop(*refs)
