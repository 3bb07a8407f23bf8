"""What is closed when its ``with`` block ends: connections, files, microphones."""

from __future__ import annotations

from types import TracebackType
from typing import Self


class Closing:
    """A context manager for whoever has a ``close``."""

    def close(self) -> None:
        """Give back what is held; subclasses do."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
