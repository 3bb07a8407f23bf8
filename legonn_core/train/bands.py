"""What an encoder's rows look like on held-out items, onto its card: the share that is blank.

    python -m legonn_core.train.bands text-ro/1 --path ../shared/data/text/dev/tatoeba-dev.ro-en.tsv

A server on trial compares what it sees with the band, and a check refuses a version whose golden
rows lie outside it (legonn.md, section 8.7). Measured after calibration, as rows cross.
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from legonn_core.interface.card import MarginalBands
from legonn_core.interface.reference import ModuleRef
from legonn_core.modules.check import golden_blank_share
from legonn_core.modules.registry import CARD, LoadedModule, load_module
from legonn_core.train.calibrate import held_out_logits
from legonn_core.train.text_data import EnglishPieces

PERCENTILES = (1.0, 99.0)
MARGIN = 0.05
"""Added on both sides: other text and other voices than the held-out ones."""


def band(shares: Sequence[float], golden: float) -> MarginalBands:
    """The band of shares of blank rows, one share an item; the golden output lies in it.

    Raises:
        ValueError: If there are no items.
    """
    if not shares:
        raise ValueError("no items to measure a band on")
    low, high = np.percentile(shares, PERCENTILES)
    return MarginalBands(
        blank_low=round(max(0.0, min(float(low) - MARGIN, golden)), 3),
        blank_high=round(min(1.0, max(float(high) + MARGIN, golden)), 3),
    )


def blank_shares(
    module: LoadedModule, held_out: Mapping[str, object], pieces: EnglishPieces
) -> list[float]:
    """Share of each held-out item's rows that say blank, calibrated."""
    calibration, blank = module.card.calibration, module.card.contract.blank
    found, rows, _ = held_out_logits(module, held_out, pieces)
    shares = []
    for logits, count in zip(found, rows, strict=True):
        scores = logits[:count].float() / calibration.temperature
        scores[:, blank] += calibration.blank_bias
        shares.append(float((scores.argmax(dim=-1) == blank).float().mean()))
    return shares


def write_bands(store: Path, ref: ModuleRef, held_out: Mapping[str, object]) -> MarginalBands:
    """Measure an encoder's band and put it on its card.

    Args:
        store: Module store.
        ref: The encoder.
        held_out: As ``calibrate.calibrated_module`` takes it.
    """
    module = load_module(store, ref)
    folder = store / ref.name / ref.version
    shares = blank_shares(module, held_out, EnglishPieces(store / module.card.vocabulary))
    found = band(shares, golden_blank_share(module, folder))
    card = dataclasses.replace(module.card, bands=found)
    (folder / CARD).write_text(card.to_toml(), encoding="utf-8")
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and write one card."""
    parser = argparse.ArgumentParser(prog="python -m legonn_core.train.bands")
    parser.add_argument("ref", metavar="NAME/VERSION", type=ModuleRef.parse)
    parser.add_argument("--store", type=Path, default=Path("modules"))
    parser.add_argument("--path", required=True, help="source TAB English, or a set's TSV")
    parser.add_argument("--column", default="pc", help="of the TSV, for speech (pc)")
    parser.add_argument("--limit", type=int, default=200, help="items at most (200)")
    asked = parser.parse_args(arguments)
    held_out = {"path": asked.path, "column": asked.column, "limit": asked.limit}
    found = write_bands(asked.store, asked.ref, held_out)
    sys.stdout.write(f"{asked.ref}: {found.blank_low} to {found.blank_high} of the rows blank\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
