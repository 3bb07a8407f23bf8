"""Who is let in: a count of open streams against a limit."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from legonn_core.errors import AdmissionRefused, LegonnError, ModuleDraining, Unavailable


@dataclass(frozen=True, slots=True)
class AdmissionLimits:
    """How much is let in at once.

    Attributes:
        max_streams: Speech calls, which hold an encoder slot each; as many text calls beside them.
        bulk_share: Part of the places that callers of priority bulk may take; at least one.
    """

    max_streams: int = 32
    bulk_share: float = 0.75

    def __post_init__(self) -> None:
        if self.max_streams < 1:
            raise ValueError("max_streams must be at least 1")
        if not 0 < self.bulk_share <= 1:
            raise ValueError("bulk_share lies above 0 and up to 1")

    def places(self, *, is_bulk: bool) -> int:
        """How many may be taken, by all together, when one more comes."""
        return max(1, int(self.max_streams * self.bulk_share)) if is_bulk else self.max_streams


class Admission:
    """Counts open streams; refuses those above the limit, and all before ``open``."""

    def __init__(self, limits: AdmissionLimits) -> None:
        self._limits = limits
        self._refusal: LegonnError | None = Unavailable("the modules are still loading")
        self.num_open = 0

    def open(self) -> None:
        """Let callers in: the modules are ready."""
        self._refusal = None

    def drain(self) -> None:
        """Let nobody in from now on."""
        self._refusal = ModuleDraining("the server is about to stop and takes no new calls")

    @contextmanager
    def enter(self, *, is_bulk: bool = False) -> Iterator[None]:
        """Hold a place for the length of a ``with`` block.

        Args:
            is_bulk: The caller leaves the last places to others.

        Raises:
            AdmissionRefused: If all places are taken.
            Unavailable: If the server is not ready yet, or about to stop.
        """
        if self._refusal is not None:
            raise self._refusal
        places = self._limits.places(is_bulk=is_bulk)
        if self.num_open >= places:
            whose = " for priority bulk" if is_bulk else ""
            raise AdmissionRefused(f"all {places} places{whose} are taken; try again later")
        self.num_open += 1
        try:
            yield
        finally:
            self.num_open -= 1
