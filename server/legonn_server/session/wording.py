"""From hypotheses to what callers see: text made of words, and words kept in their promises."""

from __future__ import annotations

from dataclasses import replace

from legonn_core.runtime.messages import DecodedText

NOTHING = DecodedText(tokens=(), text="", score=0.0, confidence=0.0, words=())
"""The reading of audio in which nothing was said."""


def joined(hypothesis: DecodedText) -> str:
    """The hypothesis as text, joined as ``StablePrefix`` joins: believed words begin the text."""
    return " ".join([word.text for word in hypothesis.words if word.text])


def tidy(hypothesis: DecodedText, length_ms: int) -> DecodedText:
    """Keep the promises about words: inside the segment, never falling, start before end."""
    words = []
    earliest = 0
    for word in hypothesis.words:
        if not word.text:
            continue
        start = min(max(word.start_ms, earliest), length_ms)
        end = min(max(word.end_ms, start), length_ms)
        earliest = start
        words.append(replace(word, start_ms=start, end_ms=end))
    text = joined(hypothesis) if hypothesis.words else hypothesis.text
    return replace(hypothesis, text=text, words=tuple(words))
