"""Terms with one right rendering: hidden from the models behind names, and put back afterwards.

A term may be anything, also in characters that no model knows. In the source it is replaced by a
name that encoders carry over as it stands ("Tom"), a bonus makes the search want to write it, and
in the translation the name is replaced by the rendering. Of several translations one with all names
is taken; where a name is missing in all of them, the rendering goes where the term stood in the
source, so that no term is ever lost. Why so: docs/adr/0010.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

from legonn_core.errors import BadText
from legonn_core.runtime.messages import DecodedText, Phrase, Word

NAMES = {
    "de": (
        *(("Deutschland", "Germany"), ("Tom", "Tom"), ("Kanada", "Canada"), ("Boston", "Boston")),
        *(("Japan", "Japan"), ("Maria", "Mary"), ("Johannes", "John"), ("Amerika", "America")),
    ),
    "": (("Tom", "Tom"), ("Boston", "Boston"), ("Japan", "Japan"), ("Maria", "Mary")),
}
"""Names of each source language, and of any other, as they are written on either side: those that
the shipped encoders carry over most surely, surest first."""

NAME_BOOST = 6.0
"""Natural-log bonus for writing a name."""


@dataclass(frozen=True, slots=True)
class Term:
    """A term of the source and what it becomes; ``target`` None leaves it as it is written."""

    source: str
    target: str | None


@dataclass(frozen=True, slots=True)
class Hidden:
    """A source text whose terms are hidden.

    Attributes:
        text: What the models read.
        renderings: What each name stands for, by how it is written in the translation.
        wanted: How often each must be written.
        places: Where the terms stand in the source, as (share of the text before it, name).
    """

    text: str
    renderings: dict[str, str]
    wanted: Counter[str]
    places: tuple[tuple[float, str], ...]

    @property
    def phrases(self) -> tuple[Phrase, ...]:
        """The names as phrases that are likely."""
        return tuple(Phrase(name, NAME_BOOST) for name in self.renderings)


class Glossary:
    """The terms of one call.

    Args:
        terms: A term without capitals is found in any case, another as it is written; both as whole
            words only, and the longest first.
        language: Of the source.
    """

    def __init__(self, terms: Sequence[Term], language: str = "") -> None:
        self._names = dict(NAMES.get(language, NAMES[""]))
        self._terms = sorted(terms, key=lambda term: -len(term.source))
        parts = [f"(?P<t{index}>{_pattern(one)})" for index, one in enumerate(self._terms)]
        self._found = re.compile("|".join(parts)) if parts else None
        self._beginnings = [_folded(term) for term in self._terms]

    def __bool__(self) -> bool:
        return self._found is not None

    def hide(self, text: str, *, taken: dict[str, str] | None = None) -> Hidden:
        """Replace the terms by names.

        Args:
            text: Source.
            taken: Which name stands for which rendering since an earlier reading of the same
                text; added to.

        Raises:
            BadText: If more different terms stand in the text than there are names.
        """
        names = {} if taken is None else taken
        wanted: Counter[str] = Counter()
        pieces: list[str] = []
        places: list[tuple[float, str]] = []
        end = 0
        for match in self._found.finditer(text) if self._found else ():
            term = self._terms[int((match.lastgroup or "t0")[1:])]
            rendering = match[0] if term.target is None else term.target
            name = self._name_for(rendering, names, text)
            wanted[self._names[name]] += 1
            places.append((match.start() / len(text), self._names[name]))
            pieces += [text[end : match.start()], name]
            end = match.end()
        renderings = {
            self._names[name]: rendering
            for rendering, name in names.items()
            if self._names[name] in wanted
        }
        return Hidden("".join([*pieces, text[end:]]), renderings, wanted, tuple(places))

    def _name_for(self, rendering: str, taken: dict[str, str], text: str) -> str:
        """The name that stands for a rendering; a free one, which the text itself does not hold."""
        if rendering not in taken:
            used = set(taken.values())
            free = [
                name
                for name in self._names
                if name not in used and not re.search(rf"\b{name}\b", text)
            ]
            if not free:
                raise BadText(
                    "a sentence holds too many different glossary terms;"
                    " divide it with punctuation or line breaks"
                )
            taken[rendering] = free[0]
        return taken[rendering]

    def readable(self, text: str) -> int:
        """How much of growing text may be read: less than all while a term may be under way."""
        words = [match.start() for match in re.finditer(r"\S+", text)]
        longest = max((len(one.split()) for one in self._beginnings), default=0)
        for start in words[-longest + 1 :] if longest > 1 else ():
            rest = " ".join(text[start:].split())
            for term, beginning in zip(self._terms, self._beginnings, strict=True):
                said = rest if term.source != term.source.lower() else rest.lower()
                if beginning.startswith(said + " "):
                    return start
        return len(text)


def written(terms: Sequence[Term]) -> dict[str, str]:
    """How single words are to be written where no translation is made: word to rendering."""
    return {
        term.source.lower(): term.target for term in terms if term.target and " " not in term.source
    }


def restored(found: Sequence[DecodedText], hidden: Hidden) -> tuple[DecodedText, ...]:
    """Put the renderings back where their names are; translations with all names first."""
    ranked = sorted(found, key=lambda one: _misfit(one, hidden))  # stable: best first among equals
    return tuple(_replaced(one, hidden) for one in ranked)


def completed(found: DecodedText, hidden: Hidden, *, num_forced: int) -> DecodedText:
    """``restored``'s best with the renderings that are still missing, behind what is forced.

    Args:
        found: A translation with its renderings in place.
        hidden: What it was made from.
        num_forced: Tokens at its beginning that were promised.
    """
    missing = Counter(
        {
            name: count - found.text.count(hidden.renderings[name])
            for name, count in hidden.wanted.items()
        }
    )
    if not +missing:
        return found
    words, first = list(found.words), 0
    for index, word in enumerate(words):
        if num_forced <= 0:
            break
        num_forced -= word.num_tokens
        first = index + 1
    for place, name in reversed(hidden.places):
        if missing[name] > 0:
            missing[name] -= 1
            index = max(first, round(place * len(words)))
            before = words[index - 1] if index else None
            row = before.last_position if before else -1
            at = before.end_ms if before else 0
            words.insert(index, Word(hidden.renderings[name], at, at, 0.0, 0, row))
    return replace(
        found, text=" ".join(word.text for word in words if word.text), words=tuple(words)
    )


def _pattern(term: Term) -> str:
    """A term as whole words, its white space folded."""
    body = r"\s+".join(re.escape(part) for part in term.source.split())
    before = r"(?<!\w)" if term.source[:1].isalnum() else ""
    after = r"(?!\w)" if term.source[-1:].isalnum() else ""
    case = "" if term.source != term.source.lower() else "i"
    return f"{before}(?{case}:{body}){after}"


def _folded(term: Term) -> str:
    return " ".join(term.source.split())


def _count(text: str, name: str) -> int:
    return len(re.findall(rf"(?<!\w){name}(?!\w)", text))


def _misfit(found: DecodedText, hidden: Hidden) -> int:
    """How many names are missing, or too many."""
    return sum(abs(count - _count(found.text, name)) for name, count in hidden.wanted.items())


def _replaced(found: DecodedText, hidden: Hidden) -> DecodedText:
    words = tuple(replace(word, text=_rendered(word.text, hidden)) for word in found.words)
    return replace(found, text=_rendered(found.text, hidden), words=words)


def _rendered(text: str, hidden: Hidden) -> str:
    """All names at once, so that a name inside a rendering stays."""
    names = "|".join(hidden.renderings)
    return re.sub(rf"(?<!\w)(?:{names})(?!\w)", lambda found: hidden.renderings[found[0]], text)
