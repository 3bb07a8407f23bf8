"""Measures what phrases bring: rare words found where they were said, and the harm elsewhere.

    python -m legonn_core.evaluate.biasing --encoder speech-en/1 --decoder decoder-en/1 \
        --set FOLDER --boost 0 2 4 6 8 --out biasing.json

Rare are words of at least seven letters that the references of the set hold once. Those of every
second recording are the phrases, all of them for every recording; the recordings between, in which
none of them is said, show the harm.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from legonn_core.evaluate.confidence import read_material, readings
from legonn_core.evaluate.material import Material
from legonn_core.interface.reference import ModuleRef
from legonn_core.modules.registry import LoadedModule, load_module
from legonn_core.runtime.messages import Phrase
from legonn_core.scoring.scores import normalized, word_error_rate

RARE_LETTERS = 7


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one boost brought.

    Attributes:
        recall: Share of the phrases found in the recording in which they are said.
        false_alarms: Phrases written in recordings in which they are not said.
        wer_with: Percent, recordings in which a phrase is said.
        wer_elsewhere: Percent, recordings in which none is.
    """

    boost: float
    recall: float
    false_alarms: int
    wer_with: float
    wer_elsewhere: float


def rare_words(references: Sequence[str]) -> list[list[str]]:
    """The rare words of each reference."""
    said = [normalized(reference).split() for reference in references]
    counts = Counter(word for words in said for word in words)
    return [
        [word for word in words if len(word) >= RARE_LETTERS and counts[word] == 1]
        for words in said
    ]


def measure(material: Material, decoder: LoadedModule, boost: float) -> Outcome:
    """Decode the set with its phrases at one boost; 0 for none."""
    rare = rare_words(material.references)
    biased = [place for place in range(len(rare)) if place % 2 == 0 and rare[place]]
    other = [place for place in range(len(rare)) if place % 2]
    words = [word for place in biased for word in rare[place]]
    phrases = tuple(Phrase(word, boost) for word in words) if boost else ()
    texts = [one.text for one in readings(material, decoder, phrases)]
    said = [set(normalized(text).split()) for text in texts]
    found = sum(word in said[place] for place in biased for word in rare[place])
    wrong = sum(len(said[place] & set(words) - set(rare[place])) for place in range(len(texts)))

    def wer(places: list[int]) -> float:
        score = word_error_rate(
            [material.references[place] for place in places], [texts[place] for place in places]
        )
        return round(score.value, 2)

    return Outcome(boost, round(found / max(len(words), 1), 4), wrong, wer(biased), wer(other))


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure at each boost and write the table."""
    parser = argparse.ArgumentParser(prog="python -m legonn_core.evaluate.biasing")
    parser.add_argument("--modules", type=Path, default=Path("modules"))
    parser.add_argument("--encoder", type=ModuleRef.parse, required=True, metavar="NAME/VERSION")
    parser.add_argument("--decoder", type=ModuleRef.parse, required=True, metavar="NAME/VERSION")
    parser.add_argument("--set", type=Path, required=True)
    parser.add_argument("--boost", type=float, nargs="+", default=[0.0, 2.0, 4.0, 6.0, 8.0])
    parser.add_argument("--limit", type=int, help="items of the set, evenly spread")
    parser.add_argument("--out", type=Path, required=True, help="where the numbers go, as JSON")
    asked = parser.parse_args(arguments)
    encoder = load_module(asked.modules, asked.encoder)
    decoder = load_module(asked.modules, asked.decoder)
    material = read_material(encoder, asked.set, limit=asked.limit)
    rows = []
    for boost in asked.boost:
        outcome = measure(material, decoder, boost)
        rows.append({name: getattr(outcome, name) for name in Outcome.__slots__})
        print(rows[-1], file=sys.stderr, flush=True)
    content = {
        "encoder": str(asked.encoder),
        "decoder": str(asked.decoder),
        "set": material.name,
        "items": len(material.rows),
        "phrases": sum(len(words) for words in rare_words(material.references)[::2]),
        "rows": rows,
    }
    asked.out.write_text(json.dumps(content, indent=1) + "\n", "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
