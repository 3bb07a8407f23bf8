"""Finals as what HTTP callers ask for: text, OpenAI's verbose JSON, and what captions take."""

from __future__ import annotations

import math
import zlib
from collections.abc import Sequence

from google.protobuf.duration_pb2 import Duration

from legonn.streams import Final, Hypothesis, Word
from legonn.v1 import hypothesis_pb2
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


def finals(segments: Sequence[pb.RecognitionFinal]) -> list[Final]:
    """As the caption shaper takes them."""
    return [
        Final(
            segment.segment_index,
            seconds_of(segment.start_offset),
            seconds_of(segment.end_offset),
            segment.start_sample,
            segment.end_sample,
            (Hypothesis(best.text, best.confidence, tuple(map(_word, best.words))),),
        )
        for segment in segments
        for best in segment.alternatives[:1]
    ]


def _word(word: hypothesis_pb2.Word) -> Word:
    return Word(
        word.text, seconds_of(word.start_offset), seconds_of(word.end_offset), word.confidence
    )
