"""What a caller wishes of the words, whatever they come from: phrases, terms, masks."""

from __future__ import annotations

import math
from collections.abc import Iterable

from legonn.v1 import speech_service_pb2 as pb
from legonn_core.errors import BadConfig
from legonn_core.runtime.messages import Phrase
from legonn_server.language.glossary import NAME_BOOST, Term

MAX_PHRASES = 500
MAX_PHRASE_CHARACTERS = 100
MAX_BOOST = 20.0
DEFAULT_BOOST = 4.0


def phrases(asked: Iterable[pb.Phrase]) -> tuple[Phrase, ...]:
    """Check phrases that are likely.

    Raises:
        BadConfig: If there are too many, or one is empty, too long or boosted beyond measure.
    """
    found = []
    for index, phrase in enumerate(asked):
        text = phrase.text.strip()
        if not 1 <= len(text) <= MAX_PHRASE_CHARACTERS:
            raise BadConfig(
                f"phrases[{index}].text has {len(text)} characters;"
                f" 1 to {MAX_PHRASE_CHARACTERS} are allowed"
            )
        if not (math.isfinite(phrase.boost) and 0.0 <= phrase.boost <= MAX_BOOST):
            raise BadConfig(f"phrases[{index}].boost lies in [0, {MAX_BOOST:g}]")
        found.append(Phrase(text, phrase.boost or DEFAULT_BOOST))
    _at_most(len(found), "phrases")
    return tuple(found)


def terms(asked: Iterable[pb.GlossaryEntry]) -> tuple[Term, ...]:
    """Check the entries of a glossary.

    Raises:
        BadConfig: If there are too many, or one has no source or no rendering.
    """
    found = []
    for index, entry in enumerate(asked):
        source = " ".join(entry.source.split())
        if not 1 <= len(source) <= MAX_PHRASE_CHARACTERS:
            raise BadConfig(
                f"glossary[{index}].source has {len(source)} characters;"
                f" 1 to {MAX_PHRASE_CHARACTERS} are allowed"
            )
        rendering = entry.WhichOneof("rendering")
        target = " ".join(entry.target.split())
        if rendering is None or (rendering == "keep" and not entry.keep):
            raise BadConfig(f"glossary[{index}] says neither target nor keep")
        if rendering == "target" and not 1 <= len(target) <= MAX_PHRASE_CHARACTERS:
            raise BadConfig(
                f"glossary[{index}].target has {len(target)} characters;"
                f" 1 to {MAX_PHRASE_CHARACTERS} are allowed"
            )
        found.append(Term(source, target if rendering == "target" else None))
    _at_most(len(found), "glossary")
    return tuple(found)


def expected(glossary: Iterable[Term]) -> tuple[Phrase, ...]:
    """A glossary for speech, where nobody knows which words are spoken: its terms are likely."""
    return tuple(Phrase(term.target or term.source, NAME_BOOST) for term in glossary)


def _at_most(count: int, field: str) -> None:
    if count > MAX_PHRASES:
        raise BadConfig(f"{field} has {count} entries; at most {MAX_PHRASES}")
