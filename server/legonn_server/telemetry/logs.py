"""One event a line, fields not sentences; plain for a terminal or JSON for a collector."""

from __future__ import annotations

import json
import logging
import sys
from contextvars import ContextVar
from datetime import UTC, datetime

from legonn_core.runtime.faults import PlacesOnly

LOGGER = logging.getLogger("legonn")

LEVELS = (logging.ERROR, logging.WARNING, logging.INFO, logging.DEBUG)
"""From quiet to loud."""

LIBRARIES = (
    "asyncio",
    "grpc",
    "multipart",
    "python_multipart",
    "uvicorn.error",
    "websockets.server",
)
"""Whose lines below a warning hold what callers sent, and whose tracebacks are written as ours."""

current_request_id: ContextVar[str] = ContextVar("current_request_id", default="")
"""The id of the call that this task works for; every line of a call bears it."""


def log(level: int, event: str, /, **fields: object) -> None:
    """Write one event. Fields are numbers, ids and module names: never audio, never user text."""
    LOGGER.log(level, event, extra={"fields": fields})


def shift_level(steps: int) -> None:
    """Write so many levels more (or, below zero, less) from now on; ends at the loudest."""
    now = LEVELS.index(LOGGER.level) if LOGGER.level in LEVELS else LEVELS.index(logging.INFO)
    LOGGER.setLevel(LEVELS[min(max(now + steps, 0), len(LEVELS) - 1)])
    log(LOGGER.level, "log level", now=logging.getLevelName(LOGGER.level))


def set_up(*, as_json: bool, level: str = "INFO") -> None:
    """Send the package's events to standard error."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_JsonLines() if as_json else _PlainLines())
    LOGGER.handlers = [handler]
    LOGGER.setLevel(level)
    LOGGER.propagate = False
    for name in LIBRARIES:
        library = logging.getLogger(name)
        library.handlers, library.propagate = [handler], False
        library.setLevel(logging.WARNING)


def _fields(record: logging.LogRecord) -> dict[str, object]:
    fields: dict[str, object] = getattr(record, "fields", {})
    request_id = current_request_id.get()
    return {"request_id": request_id, **fields} if request_id else fields


class _PlainLines(PlacesOnly):
    def format(self, record: logging.LogRecord) -> str:
        fields = " ".join(f"{key}={value}" for key, value in _fields(record).items())
        line = f"{record.levelname.lower():7} {record.getMessage()} {fields}".rstrip()
        return f"{line}\n{self.formatException(record.exc_info)}" if record.exc_info else line


class _JsonLines(PlacesOnly):
    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(),
            "level": record.levelname.lower(),
            "event": record.getMessage(),
            **_fields(record),
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str)
