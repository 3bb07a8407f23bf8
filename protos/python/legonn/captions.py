"""Live captions in a terminal: committed text solid, the unstable tail dimmed.

``frame`` is a pure function from an event to lines; ``Terminal`` only writes them. What is final is
written for good and scrolls away like any output; what is open is drawn again with each event.
Where the output is no terminal, only finals are written, one a line.
"""

from __future__ import annotations

import os
import shutil
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TextIO

from legonn.streams import Event, Final, Notice, Partial

DIM, PLAIN = "\x1b[2m", "\x1b[0m"
ERASE_BELOW = "\x1b[J"


@dataclass(frozen=True, slots=True)
class Frame:
    """What an event changes on the screen.

    Attributes:
        committed: Lines to write for good.
        open: Lines of the open segment, to be drawn over by the next frame; with ANSI codes.
    """

    committed: tuple[str, ...] = ()
    open: tuple[str, ...] = ()


def frame(event: Event, *, columns: int = 80, rows: int = 24) -> Frame | None:
    """The lines that an event makes; None if it changes nothing that is seen.

    Args:
        event: Any event of a stream.
        columns: Width of the terminal.
        rows: Its height; of an open segment that is higher, the newest lines are shown.
    """
    if isinstance(event, Partial):
        return Frame(open=_open_lines(event, columns)[-max(1, rows - 1) :])
    if isinstance(event, Final):
        return Frame(committed=tuple(_wrap(_printable(event.text), columns)) if event.text else ())
    if isinstance(event, Notice):
        return Frame(committed=(f"{DIM}[{_printable(event.message or event.kind)}]{PLAIN}",))
    return None


class Terminal:
    """Shows events on a text stream.

    Args:
        out: Where to write.
        is_live: Whether to draw open segments; default: if ``out`` is a terminal that can.
    """

    def __init__(self, out: TextIO, *, is_live: bool | None = None) -> None:
        self._out = out
        self._is_live = can_draw(out) if is_live is None else is_live
        self._open_rows = 0
        self._open: tuple[str, ...] = ()
        self._has_footer = False

    def show(self, event: Event, *, footer: str = "") -> None:
        """Write what the event changes, and a line below it that is drawn over with the next."""
        if not self._is_live:
            if isinstance(event, Final) and event.text:
                self._out.write(f"{_printable(event.text)}\n")
                self._out.flush()
            return
        size = shutil.get_terminal_size()
        lines = frame(event, columns=size.columns, rows=size.lines)
        if lines is None and not footer:
            return
        lines = lines or Frame(open=self._open)
        self._open = lines.open
        up = f"\x1b[{self._open_rows - 1}A" if self._open_rows > 1 else ""
        committed = "".join(f"{line}\n" for line in lines.committed)
        below = (*lines.open, footer) if footer else lines.open
        self._out.write(f"\r{up}{ERASE_BELOW}{committed}" + "\n".join(below))
        self._out.flush()
        self._open_rows = len(below)
        self._has_footer = bool(footer)

    def draw_footer(self, footer: str) -> None:
        """Write the line below before there is anything above it."""
        if self._is_live:
            self._out.write(f"\r{ERASE_BELOW}{footer}")
            self._out.flush()
            self._open_rows, self._has_footer = 1, True

    def close(self) -> None:
        """Leave an open segment as it stands, and the cursor on a line of its own."""
        if self._open_rows:
            self._out.write(f"\r{ERASE_BELOW}" if self._has_footer else f"{PLAIN}\n")
            self._out.flush()
        self._open_rows = 0
        self._has_footer = False


def show(events: Iterable[Event], out: TextIO) -> list[Final]:
    """Show a whole stream as it comes, and return its finals."""
    terminal = Terminal(out)
    finals = []
    try:
        for event in events:
            terminal.show(event)
            if isinstance(event, Final):
                finals.append(event)
    finally:
        terminal.close()
    return finals


def can_draw(out: TextIO) -> bool:
    """Whether lines can be drawn over."""
    return out.isatty() and os.environ.get("TERM") != "dumb"


def _open_lines(partial: Partial, columns: int) -> tuple[str, ...]:
    """Wrap stable and tail as one text, then dim what is tail."""
    stable, tail = _printable(partial.stable_text), _printable(partial.tail_text)
    remaining = len(stable)
    styled = []
    for line in _wrap(stable + tail, columns, keep_spaces=True):
        solid, dim = line[: max(0, remaining)], line[max(0, remaining) :]
        remaining -= len(line)
        styled.append(solid + (f"{DIM}{dim}{PLAIN}" if dim else ""))
    return tuple(styled)


def _wrap(text: str, columns: int, *, keep_spaces: bool = False) -> list[str]:
    """Break a text into lines of at most ``columns`` - 1 cells, after spaces where there are any.

    With ``keep_spaces`` the lines together are the text, character for character. A last column
    stays free because terminals differ in what they do after writing it.
    """
    limit = max(2, columns - 1)
    lines, line, width = [], "", 0
    for character in text:
        cells = _cells(character)
        if width + cells > limit and character != " ":
            cut = line.rfind(" ") + 1 or len(line)
            lines.append(line[:cut])
            line = line[cut:]
            width = sum(map(_cells, line))
        line += character
        width += cells
    lines.append(line)
    return lines if keep_spaces else [line.rstrip() for line in lines]


def _cells(character: str) -> int:
    """Cells a character takes on the screen."""
    if unicodedata.combining(character):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


def _printable(text: str) -> str:
    """The text without control characters, which could drive the terminal."""
    return "".join(character if character.isprintable() else " " for character in text)
