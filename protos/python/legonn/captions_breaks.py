"""Where a caption may be broken: what a break between two words costs a reader.

English, by the form of the words alone: sentence ends are free, a break inside a name, a number or
a short phrase is dear enough to be taken only where nothing else fits.
"""

from __future__ import annotations

import re

PAUSE_S = 0.5
"""A pause that is heard as one."""

FREE, GOOD, FAIR, PLAIN, POOR, BAD = 0.0, 1.0, 2.0, 3.5, 8.0, 25.0

_SENTENCE_END = re.compile(r"[.!?…][\"')\]]*$")
_CLAUSE_END = re.compile(r"[,;:–—][\"')\]]*$")
_TITLES = frozenset(
    [
        "mr.",
        "mrs.",
        "ms.",
        "dr.",
        "prof.",
        "st.",
        "sen.",
        "rep.",
        "gov.",
        "gen.",
        "no.",
        "vs.",
        "e.g.",
        "i.e.",
    ]
)
_LEANS_ON_NEXT = frozenset(
    [
        "a",
        "an",
        "the",
        "this",
        "that",
        "these",
        "those",
        "my",
        "your",
        "his",
        "her",
        "its",
        "our",
        "their",
        "no",
        "some",
        "any",
        "every",
        "each",
        "of",
        "in",
        "on",
        "at",
        "by",
        "to",
        "for",
        "from",
        "with",
        "into",
        "onto",
        "over",
        "under",
        "about",
        "as",
        "than",
        "and",
        "or",
        "but",
        "nor",
        "so",
        "if",
        "because",
        "when",
        "while",
        "which",
        "who",
        "whose",
        "i",
        "you",
        "he",
        "she",
        "we",
        "they",
        "it",
        "is",
        "are",
        "was",
        "were",
        "be",
        "been",
        "am",
        "do",
        "does",
        "did",
        "have",
        "has",
        "had",
        "will",
        "would",
        "can",
        "could",
        "shall",
        "should",
        "may",
        "might",
        "must",
        "not",
        "very",
        "too",
        "more",
        "most",
        "i'm",
        "you're",
        "he's",
        "she's",
        "it's",
        "we're",
        "they're",
        "don't",
        "doesn't",
        "didn't",
        "can't",
        "won't",
    ]
)
_STARTS_PHRASE = frozenset(
    [
        "and",
        "or",
        "but",
        "nor",
        "so",
        "yet",
        "because",
        "although",
        "though",
        "if",
        "unless",
        "until",
        "when",
        "while",
        "where",
        "which",
        "who",
        "whose",
        "that",
        "then",
        "after",
        "before",
        "since",
        "as",
        "of",
        "in",
        "on",
        "at",
        "by",
        "to",
        "for",
        "from",
        "with",
        "without",
        "into",
        "over",
        "under",
        "about",
        "between",
        "through",
        "during",
        "against",
    ]
)
_NUMBER_WORDS = frozenset(
    [
        "one",
        "two",
        "three",
        "four",
        "five",
        "six",
        "seven",
        "eight",
        "nine",
        "ten",
        "eleven",
        "twelve",
        "thirteen",
        "fourteen",
        "fifteen",
        "sixteen",
        "seventeen",
        "eighteen",
        "nineteen",
        "twenty",
        "thirty",
        "forty",
        "fifty",
        "sixty",
        "seventy",
        "eighty",
        "ninety",
        "hundred",
        "thousand",
        "million",
        "billion",
        "trillion",
    ]
)
_UNITS = frozenset(
    [
        "percent",
        "per",
        "%",
        "degrees",
        "dollars",
        "euros",
        "pounds",
        "cents",
        "years",
        "year",
        "months",
        "month",
        "weeks",
        "week",
        "days",
        "day",
        "hours",
        "hour",
        "minutes",
        "minute",
        "seconds",
        "second",
        "miles",
        "mile",
        "meters",
        "metres",
        "kilometers",
        "kilometres",
        "feet",
        "foot",
        "inches",
        "inch",
        "kilograms",
        "grams",
        "tons",
        "people",
        "times",
        "o'clock",
        "am",
        "pm",
        "a.m.",
        "p.m.",
        "million",
        "billion",
        "trillion",
        "thousand",
        "hundred",
    ]
)


def break_cost(before: str, after: str, *, has_pause: bool) -> float:
    """What it costs to break between two neighbouring words.

    Args:
        before: The word that would end a line, with its punctuation.
        after: The word that would begin the next.
        has_pause: Whether the speaker paused between them.
    """
    left, right = before.lower(), after.lower()
    if left in _TITLES or _is_number_phrase(before, after):
        return BAD
    if _SENTENCE_END.search(before):
        return FREE
    if _CLAUSE_END.search(before):
        return FREE + 0.5 if has_pause else GOOD
    if _is_name(before, after):
        return BAD
    if left.strip("\"'([") in _LEANS_ON_NEXT:
        return POOR / 2 if has_pause else POOR
    if right in _STARTS_PHRASE:
        return GOOD if has_pause else FAIR
    return FAIR if has_pause else PLAIN


def _is_number_phrase(before: str, after: str) -> bool:
    """Whether the two say one number, or a number and what it counts."""
    is_number = (
        before[-1:].isdigit() or before.lower() in _NUMBER_WORDS or before in ("$", "€", "£")
    )
    word = after.lower().rstrip(".,;:!?\"')")
    follows = after[:1].isdigit() or word in _NUMBER_WORDS or word in _UNITS
    return is_number and follows


def _is_name(before: str, after: str) -> bool:
    """Two capitalised words in a row; "I" is none."""
    return (
        before[:1].isupper()
        and after[:1].isupper()
        and before not in ("I", "I'm", "I've", "I'll", "I'd")
        and after not in ("I", "I'm", "I've", "I'll", "I'd")
    )
