"""Cuts text into sentences: what a text encoder takes at a time."""

from __future__ import annotations

import re

_LINE = re.compile(r"[\r\n\v\f\u0085\u2028\u2029]+")
_END = re.compile(
    r"""(?<=[.!?\u2026\u3002\uff01\uff1f])["'\u201d\u2019\u00bb\u201c)\]]*\s+(?=\S)"""
)
_NO_END = re.compile(
    r"(?:^|\s)(?:\w|\d+|bzw|ca|Dr|dr|evtl|etc|ggf|Hr|Fr|inkl|Mr|Mrs|Nr|nr|Prof|prof|St|str|Str|usw"
    r"|vgl|z\.B|z\.\s?B|d\.\s?h|u\.\s?a|art|Art|alin|pag|lit)\.$"
)
"""A full stop behind an initial, an ordinal or an abbreviation ends no sentence."""


def split_sentences(text: str, *, max_characters: int = 400) -> list[str]:
    """Cut at line breaks and behind sentence-final punctuation.

    A piece without any end is cut at white space before it passes ``max_characters``, so that no
    encoder is ever given a piece longer than it was trained for.

    Returns:
        The sentences in order, stripped, none empty. Joined by spaces they are the text with its
        white space folded.
    """
    sentences: list[str] = []
    for line in _LINE.split(text):
        for sentence in _split_line(" ".join(line.split())):
            sentences.extend(_split_long(sentence, max_characters))
    return sentences


def sentence_end(text: str) -> int:
    """Where the first sentence of growing text surely ends; 0 if it may still go on."""
    line = _LINE.search(text)
    stop = line.end() if line else len(text)
    for match in _END.finditer(text, 0, stop):
        if not _NO_END.search(text[: match.start()]):
            return match.end()
    return stop if line else 0


def _split_line(line: str) -> list[str]:
    sentences = []
    start = 0
    for match in _END.finditer(line):
        if not _NO_END.search(line[start : match.start()]):
            sentences.append(line[start : match.end()].strip())
            start = match.end()
    rest = line[start:].strip()
    return [*sentences, rest] if rest else sentences


def _split_long(sentence: str, max_characters: int) -> list[str]:
    pieces = []
    while len(sentence) > max_characters:
        cut = sentence.rfind(" ", 1, max_characters + 1)
        cut = cut if cut > 0 else max_characters
        pieces.append(sentence[:cut].strip())
        sentence = sentence[cut:].strip()
    return [*pieces, sentence] if sentence else pieces
