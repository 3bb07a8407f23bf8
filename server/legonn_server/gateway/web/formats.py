"""Finals as what HTTP callers ask for: text, OpenAI's verbose JSON, SubRip and WebVTT."""

from __future__ import annotations

import math
import zlib
from collections.abc import Sequence

from google.protobuf.duration_pb2 import Duration

from legonn.v1 import speech_service_pb2 as pb

_LANGUAGES = {"de": "german", "en": "english", "ro": "romanian"}


def text(segments: Sequence[pb.RecognitionFinal]) -> str:
    """All that was said, in one line."""
    return " ".join(one for segment in segments if (one := _text(segment)))


def verbose(
    segments: Sequence[pb.RecognitionFinal],
    *,
    task: str,
    seconds: float,
    wants_words: bool,
    wants_segments: bool,
) -> dict[str, object]:
    """OpenAI's ``verbose_json``. What a joint search has no counterpart for is left at zero."""
    code = next((segment.language_code for segment in segments), "en")
    found: dict[str, object] = {
        "task": task,
        "language": _LANGUAGES.get(code.split("-")[0], code),
        "duration": round(seconds, 3),
        "text": text(segments),
    }
    if wants_segments:
        found["segments"] = [_segment(segment) for segment in segments]
    if wants_words:
        found["words"] = [
            {
                "word": word.text,
                "start": seconds_of(word.start_offset),
                "end": seconds_of(word.end_offset),
                "confidence": round(word.confidence, 4),
            }
            for segment in segments
            for word in segment.alternatives[0].words
        ]
    return found


def _segment(segment: pb.RecognitionFinal) -> dict[str, object]:
    said = _text(segment)
    confidence = segment.alternatives[0].confidence
    packed = len(zlib.compress(said.encode())) if said else 1
    return {
        "id": segment.segment_index,
        "seek": 0,
        "start": seconds_of(segment.start_offset),
        "end": seconds_of(segment.end_offset),
        "text": said,
        "tokens": [],
        "temperature": 0.0,
        "avg_logprob": round(math.log(max(confidence, 1e-9)), 4),
        "compression_ratio": round(len(said.encode()) / packed, 3),
        "no_speech_prob": 0.0,
        "confidence": round(confidence, 4),
    }


def _text(segment: pb.RecognitionFinal) -> str:
    return segment.alternatives[0].text.strip()


def seconds_of(offset: Duration) -> float:
    """A duration in seconds, to the millisecond."""
    return offset.ToMilliseconds() / 1000


# --- captions

_LINE_CHARACTERS, _LINES = 42, 2
_MAX_CUE_SECONDS, _MIN_CUE_SECONDS = 6.0, 0.8


def srt(segments: Sequence[pb.RecognitionFinal]) -> str:
    """SubRip."""
    return "".join(
        f"{number}\n{_clock(start, ',')} --> {_clock(end, ',')}\n{said}\n\n"
        for number, (start, end, said) in enumerate(_cues(segments), 1)
    )


def vtt(segments: Sequence[pb.RecognitionFinal]) -> str:
    """WebVTT; what could be read as markup is escaped."""
    blocks = [
        f"{_clock(start, '.')} --> {_clock(end, '.')}\n{_escaped(said)}\n"
        for start, end, said in _cues(segments)
    ]
    return "\n".join(["WEBVTT\n", *blocks])


def _escaped(said: str) -> str:
    return said.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _clock(seconds: float, mark: str) -> str:
    milliseconds = round(seconds * 1000)
    minutes, rest = divmod(milliseconds, 60_000)
    return f"{minutes // 60:02}:{minutes % 60:02}:{rest // 1000:02}{mark}{rest % 1000:03}"


def _cues(segments: Sequence[pb.RecognitionFinal]) -> list[tuple[float, float, str]]:
    """Start, end and lines of each cue: full lines, never across a pause, no overlap."""
    cues: list[tuple[float, float, list[str]]] = []
    for segment in segments:
        is_new = True
        for word in segment.alternatives[0].words:
            start, end = seconds_of(word.start_offset), seconds_of(word.end_offset)
            last = cues[-1] if cues and not is_new else None
            if last and end - last[0] <= _MAX_CUE_SECONDS and _place(last[2], word.text):
                cues[-1] = (last[0], end, last[2])
            else:
                cues.append((start, end, [word.text]))
            is_new = False
    shown = []
    for index, (start, end, lines) in enumerate(cues):
        following = cues[index + 1][0] if index + 1 < len(cues) else math.inf
        until = min(max(end, start + _MIN_CUE_SECONDS), max(following, end))
        if until > start:
            shown.append((start, until, "\n".join(lines)))
    return shown


def _place(lines: list[str], word: str) -> bool:
    """Put a word on the last line or a new one; False if there is no room."""
    if len(lines[-1]) + 1 + len(word) <= _LINE_CHARACTERS:
        lines[-1] += f" {word}"
        return True
    if len(lines) < _LINES:
        lines.append(word)
        return True
    return False
