"""Chooses the weights of the joint search that an encoder's card carries, on a dev set.

    python -m legonn_core.evaluate.decoding --encoder text-de/1 --decoder decoder-en/2 \
        --set DEV.tsv --ctc-weight 0.1 0.2 0.3 --length-bonus 0.5 1.0 --write-card

The weights belong to a pair: a decoder that reads better needs less of CTC. So they are chosen anew
when a decoder changes; the weights of the network stay as they are, and so does the golden test.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path

from legonn_core.evaluate.confidence import read_material, readings
from legonn_core.evaluate.material import Material
from legonn_core.interface.card import DecodingDefaults
from legonn_core.interface.reference import ModuleRef
from legonn_core.modules.registry import CARD, LoadedModule, load_module, read_card
from legonn_core.scoring.scores import Score


@dataclass(frozen=True, slots=True)
class Trial:
    """One choice of weights and what it scored: WER of recognition, BLEU of translation."""

    weights: DecodingDefaults
    score: Score


def trials(
    material: Material, decoder: LoadedModule, choices: Sequence[DecodingDefaults]
) -> Iterator[Trial]:
    """Decode the material with each choice."""
    for weights in choices:
        texts = [found.text for found in readings(material, decoder, weights=weights)]
        yield Trial(weights, material.scores(texts)[0])


def best(done: Sequence[Trial], *, is_speech: bool) -> Trial:
    """The lowest WER, or the highest BLEU; the first of equals."""
    return (min if is_speech else max)(done, key=lambda trial: trial.score.value)


def described(trial: Trial) -> str:
    """One line for a person."""
    weights, score = trial.weights, trial.score
    return (
        f"ctc_weight {weights.ctc_weight}  length_bonus {weights.length_bonus}"
        f"  {score.name} {score.value:.2f} ({score.low:.2f} to {score.high:.2f})"
    )


def write_card(store: Path, ref: ModuleRef, weights: DecodingDefaults) -> None:
    """Put the weights on a module's card."""
    card = replace(read_card(store, ref), decoding=weights)
    (store / ref.name / ref.version / CARD).write_text(card.to_toml(), "utf-8")


def main(arguments: Sequence[str] | None = None) -> int:
    """Try, choose, write."""
    parser = argparse.ArgumentParser(prog="python -m legonn_core.evaluate.decoding")
    parser.add_argument("--modules", type=Path, default=Path("modules"))
    parser.add_argument("--encoder", type=ModuleRef.parse, required=True, metavar="NAME/VERSION")
    parser.add_argument("--decoder", type=ModuleRef.parse, required=True, metavar="NAME/VERSION")
    parser.add_argument("--set", type=Path, required=True, help="a dev set, never a test set")
    parser.add_argument("--limit", type=int, help="items of it, evenly spread")
    parser.add_argument("--ctc-weight", type=float, nargs="+", default=[0.1, 0.2, 0.35, 0.5])
    parser.add_argument("--length-bonus", type=float, nargs="+", default=[0.0, 0.5, 1.0])
    parser.add_argument("--write-card", action="store_true", help="put the best on the card")
    asked = parser.parse_args(arguments)
    encoder = load_module(asked.modules, asked.encoder)
    material = read_material(encoder, asked.set, limit=asked.limit)
    choices = [
        replace(encoder.card.decoding, ctc_weight=weight, length_bonus=bonus)
        for weight, bonus in product(asked.ctc_weight, asked.length_bonus)
    ]
    done = []
    for trial in trials(material, load_module(asked.modules, asked.decoder), choices):
        done.append(trial)
        print(described(trial), flush=True)
    chosen = best(done, is_speech=material.is_speech)
    print(f"best: {described(chosen)}")
    if asked.write_card:
        write_card(asked.modules, asked.encoder, chosen.weights)
    return 0


if __name__ == "__main__":
    sys.exit(main())
