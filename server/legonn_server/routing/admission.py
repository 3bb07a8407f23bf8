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
    """

    max_streams: int = 32

    def __post_init__(self) -> None:
        if self.max_streams < 1:
            raise ValueError("max_streams must be at least 1")


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
    def enter(self) -> Iterator[None]:
        """Hold a place for the length of a ``with`` block.

        Raises:
            AdmissionRefused: If all places are taken.
            Unavailable: If the server is not ready yet, or about to stop.
        """
        if self._refusal is not None:
            raise self._refusal
        if self.num_open >= self._limits.max_streams:
            raise AdmissionRefused(
                f"all {self._limits.max_streams} places are taken; try again later"
            )
        self.num_open += 1
        try:
            yield
        finally:
            self.num_open -= 1
