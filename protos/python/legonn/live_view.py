"""Live captions with a line of state below them: connection, delay and loudness at a glance.

Pure but for the writing, which ``captions.Terminal`` does: ``status_line`` is a function of values.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from legonn.captions import DIM, PLAIN
from legonn.streams import Event, Final, Notice, Partial, Started, Summary

GREEN, YELLOW, RED = "\x1b[32m", "\x1b[33m", "\x1b[31m"
_METER = " ▁▂▃▄▅▆▇█"


@dataclass(frozen=True, slots=True)
class Status:
    """What the line below the captions says.

    Attributes:
        state: connecting, live, reconnecting, recovered or ended.
        delay_s: From a sound to its words on the screen, measured; None before the first words.
        num_words: Words that are final.
    """

    state: str = "connecting"
    delay_s: float | None = None
    num_words: int = 0


_COLOURS = {"live": GREEN, "recovered": GREEN, "connecting": YELLOW, "reconnecting": RED}
_STATES = {"RECONNECTING": "reconnecting", "RECOVERED": "recovered"}


def after(status: Status, event: Event, *, delay_s: float | None) -> Status:
    """The status once an event was shown; ``delay_s`` is how old the sound is that it writes."""
    match event:
        case Started():
            return replace(status, state="live")
        case Partial():
            return replace(status, state="live", delay_s=delay_s)
        case Final():
            return replace(status, num_words=status.num_words + len(event.text.split()))
        case Notice(kind=kind) if kind in _STATES:
            return replace(status, state=_STATES[kind])
        case Summary():
            return replace(status, state="ended")
    return status


def status_line(status: Status, *, level: float | None = None, columns: int = 80) -> str:
    """One line, at most so wide: a coloured dot, what it means, the delay, a meter, a hint."""
    parts = [status.state]
    if status.delay_s is not None:
        parts.append(f"{status.delay_s:.1f} s behind")
    if status.num_words:
        parts.append(f"{status.num_words} words")
    if level is not None:
        parts.append(_METER[min(int(level * 3 * len(_METER)), len(_METER) - 1)])
    parts.append("Ctrl-C ends")
    while len(parts) > 1 and len(" · ".join(parts)) + 2 > columns - 1:
        parts.pop()
    dot = f"{_COLOURS.get(status.state, DIM)}●{PLAIN}"
    return f"{dot} {DIM}{' · '.join(parts)}{PLAIN}"
