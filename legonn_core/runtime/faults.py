"""What may be written of an exception that nobody expected: where it happened, never what it says.

The message of a foreign exception may repeat what a caller said (``KeyError``, ``ValueError`` and
the errors of parsers do). The messages of our own tree never do, so those are kept.
"""

from __future__ import annotations

import logging
import traceback
from types import TracebackType
from typing import TypeAlias

from legonn_core.errors import LegonnError

ExcInfo: TypeAlias = (
    tuple[type[BaseException], BaseException, TracebackType | None] | tuple[None, None, None]
)


def described(error: BaseException) -> str:
    """The chain of an exception: types, places, and messages of our own."""
    lines: list[str] = []
    seen: set[int] = set()
    todo: list[BaseException] = [error]
    while todo:
        one = todo.pop(0)
        if id(one) in seen:
            continue
        seen.add(id(one))
        said = f": {one.message}" if isinstance(one, LegonnError) else ""
        lines.append(f"{type(one).__module__}.{type(one).__qualname__}{said}")
        lines += [
            f"  {frame.filename}:{frame.lineno} {frame.name}"
            for frame in traceback.extract_tb(one.__traceback__)
        ]
        if isinstance(one, BaseExceptionGroup):
            todo += one.exceptions
        todo += [cause for cause in (one.__cause__, one.__context__) if cause is not None]
    return "\n".join(lines)


class PlacesOnly(logging.Formatter):
    """A formatter whose tracebacks hold no message of foreign exceptions."""

    def formatException(self, ei: ExcInfo) -> str:  # noqa: N802  # logging's own name
        """The chain as ``described`` gives it."""
        return described(ei[1]) if ei[1] is not None else ""
