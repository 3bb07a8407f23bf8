"""Finals as caption files: for ``POST /v1/captions``, and for recordings that are asked for as SRT.

The cues are those of ``legonn captions``: one shaper cuts for the command line, for OpenAI's
clients and for the page's save buttons.
"""

from __future__ import annotations

import asyncio
import json
import math
from collections.abc import Sequence
from typing import TypeGuard

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from legonn import captions_write
from legonn.streams import Final, Hypothesis, Word
from legonn_core.errors import BadConfig, BadText, LimitExceeded
from legonn_server.gateway.web.body import body_of
from legonn_server.gateway.web.policy import WebLimits

MEDIA_TYPES = {"txt": "text/plain", "srt": "application/x-subrip", "vtt": "text/vtt"}
MAX_WORDS = 50_000
"""Five hours of fast speech: two seconds of work."""
_MAX_SECONDS = 1e6


class CaptionFiles:
    """Writes caption files beside the event loop, one after the other.

    Args:
        limits: What the web door allows.
    """

    def __init__(self, limits: WebLimits) -> None:
        self._limits = limits
        self._turn = asyncio.Semaphore(1)

    async def write(self, finals: Sequence[Final], kind: str) -> Response:
        """Finals as a file of a kind of ``MEDIA_TYPES``."""
        async with self._turn:
            content = await asyncio.to_thread(captions_write.render, finals, kind)
        return PlainTextResponse(
            content, media_type=MEDIA_TYPES[kind], headers={"cache-control": "no-store"}
        )

    async def answer(self, request: Request) -> Response:
        """``POST /v1/captions``.

        Raises:
            BadText: If the body is no JSON object.
            BadConfig: If a field is unknown or holds nonsense.
            LimitExceeded: If there are too many words, or bytes.
            DeadlineMissed: If the body does not arrive.
        """
        try:
            asked = json.loads(await body_of(request, seconds=self._limits.body_seconds))
        except ValueError:
            raise BadText("the body is not JSON") from None
        if not isinstance(asked, dict):
            raise BadText('the body is an object: {"format": "vtt", "segments": […]}')
        for name in sorted(set(asked) - {"format", "segments"}):
            raise BadConfig(f"{name[:40]!r} is not a field of this call")
        kind = asked.get("format", "vtt")
        if not isinstance(kind, str) or kind not in MEDIA_TYPES:
            raise BadConfig(f"format is one of {', '.join(MEDIA_TYPES)}")
        return await self.write(finals_of(asked.get("segments")), kind)


def finals_of(segments: object) -> list[Final]:
    """Segments ``{"text", "start", "end", "words": [{"text", "start", "end"}]}``, in seconds.

    Where words are missing, the text is spread over its segment. Other fields are passed over, so
    that what the page saves as JSON may be sent as it is.

    Raises:
        BadConfig: If they are none.
        LimitExceeded: If they hold too many words.
    """
    if not isinstance(segments, list):
        raise BadConfig("segments is a list of objects with text, start, end and words")
    finals = [_final(number, one) for number, one in enumerate(segments)]
    count = sum(max(len(final.words), len(final.text.split())) for final in finals)
    if count > MAX_WORDS:
        raise LimitExceeded(f"{count} words; at most {MAX_WORDS} at once")
    return finals


def _final(number: int, segment: object) -> Final:
    where = f"segments[{number}]"
    text, start, end = _timed(where, segment)
    words = segment.get("words", []) if isinstance(segment, dict) else []
    if not isinstance(words, list):
        raise BadConfig(f"{where}.words is no list")
    timed = tuple(
        Word(*_timed(f"{where}.words[{place}]", word)) for place, word in enumerate(words)
    )
    return Final(number, start, end, 0, 0, (Hypothesis(text, 1.0, timed),))


def _timed(where: str, found: object) -> tuple[str, float, float]:
    if not isinstance(found, dict) or not isinstance(text := found.get("text"), str):
        raise BadConfig(f"{where} needs text")
    start, end = found.get("start"), found.get("end")
    if not (_is_time(start) and _is_time(end) and start <= end):
        raise BadConfig(f"{where} needs start and end in seconds, 0 ≤ start ≤ end")
    return text, float(start), float(end)


def _is_time(value: object) -> TypeGuard[float]:
    if not isinstance(value, int | float) or isinstance(value, bool):
        return False
    return math.isfinite(value) and 0 <= value <= _MAX_SECONDS
