"""The sixth promise: finals are a function of the audio, the config and the module versions.

One stream cannot show that; many can. Whoever plays the same recording twice hands both results to
one ``Repeats``, which keeps digests and no text, and says which recordings came out differently.
Streams that met two versions (a swap fell into them) or whose server was drained are counted apart:
where a segment ends then depends on when that happened, which the notice or the version says.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from legonn import Final


@dataclass(slots=True)
class Repeats:
    """What each recording came to, over all streams that played it.

    Attributes:
        found: Recording with versions → digest of its finals → how often.
        num_mixed: Streams left out because two versions answered.
    """

    found: dict[str, Counter[str]] = field(default_factory=dict)
    num_mixed: int = 0

    def see(self, audio: str, finals: Sequence[Final]) -> None:
        """One stream that ended well.

        Args:
            audio: Names what was said and how it was asked for.
            finals: All of them.
        """
        versions = {(final.encoder, final.decoder) for final in finals}
        if len(versions) > 1:
            self.num_mixed += 1
            return
        key = " ".join([audio, *(name for pair in versions for name in pair)])
        self.found.setdefault(key, Counter())[digest(finals)] += 1

    def broken(self) -> list[str]:
        """A sentence for each recording that came out in more than one way."""
        return [
            f"{key}: {len(results)} different results of {results.total()} streams"
            for key, results in sorted(self.found.items())
            if len(results) > 1
        ]

    @property
    def num_compared(self) -> int:
        """Streams that had another one to agree with."""
        return sum(one.total() for one in self.found.values() if one.total() > 1)

    def as_json(self) -> dict[str, object]:
        """For another process."""
        return {
            "found": {key: dict(results) for key, results in self.found.items()},
            "num_mixed": self.num_mixed,
        }

    def add(self, content: dict[str, object]) -> None:
        """Add what ``as_json`` gave."""
        found, mixed = content["found"], content["num_mixed"]
        assert isinstance(found, dict) and isinstance(mixed, int)
        self.num_mixed += mixed
        for key, results in found.items():
            self.found.setdefault(key, Counter()).update(results)


def digest(finals: Sequence[Final]) -> str:
    """Sixteen hex digits that change with any final's place, reason or text."""
    told = [
        f"{one.segment_index} {one.start_sample} {one.end_sample} {one.reason} {one.text}\n"
        for one in finals
    ]
    return hashlib.sha256("".join(told).encode()).hexdigest()[:16]
