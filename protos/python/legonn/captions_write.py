"""Caption files: SubRip and WebVTT from cues, plain text from finals."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from legonn.captions_shape import CaptionRules, Cue, shape
from legonn.streams import Final

FORMATS = ("vtt", "srt", "txt")


def webvtt(cues: Sequence[Cue], *, language: str = "") -> str:
    """A WebVTT file; text is escaped, so that it is shown and never read as markup."""
    header = "WEBVTT\n" + (f"Language: {language}\n" if language else "")
    blocks = [
        f"{number}\n{_time(cue.start_s, '.')} --> {_time(cue.end_s, '.')}\n"
        + "\n".join(_escaped(line) for line in cue.lines)
        for number, cue in enumerate(cues, 1)
    ]
    return "\n\n".join([header.rstrip("\n"), *blocks]) + "\n"


def subrip(cues: Sequence[Cue]) -> str:
    """A SubRip file (.srt). It has no escapes: an arrow in the text is made a plain one."""
    blocks = [
        f"{number}\n{_time(cue.start_s, ',')} --> {_time(cue.end_s, ',')}\n"
        + "\n".join(_printable(line).replace("-->", "->") for line in cue.lines)
        for number, cue in enumerate(cues, 1)
    ]
    return "\n\n".join(blocks) + "\n" if blocks else ""


def plain(finals: Iterable[Final]) -> str:
    """One segment a line."""
    return "".join(f"{_printable(final.text)}\n" for final in finals if final.text)


def render(
    finals: Sequence[Final], kind: str, *, rules: CaptionRules | None = None, language: str = ""
) -> str:
    """A transcript as the content of a file of a kind: vtt, srt or txt.

    Raises:
        ValueError: If the kind is none of them.
    """
    if kind == "txt":
        return plain(finals)
    cues = shape(finals, rules)
    if kind == "vtt":
        return webvtt(cues, language=language)
    if kind == "srt":
        return subrip(cues)
    raise ValueError(f"captions are written as {', '.join(FORMATS)}, not {kind!r}")


def kind_of(path: str | Path) -> str:
    """The kind of a file by the end of its name.

    Raises:
        ValueError: If it is none that is written.
    """
    kind = Path(path).suffix.lower().removeprefix(".")
    if kind not in FORMATS:
        raise ValueError(f"{path}: name it .vtt, .srt or .txt")
    return kind


def _time(seconds: float, point: str) -> str:
    """HH:MM:SS.mmm."""
    milliseconds = round(seconds * 1000)
    minutes, rest = divmod(milliseconds, 60_000)
    return f"{minutes // 60:02d}:{minutes % 60:02d}:{rest // 1000:02d}{point}{rest % 1000:03d}"


def _escaped(line: str) -> str:
    return _printable(line).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _printable(line: str) -> str:
    """Without line breaks and control characters, which would end a cue."""
    return "".join(character if character.isprintable() else " " for character in line)
