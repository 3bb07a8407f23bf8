"""Is a module version fit for service? Contract, digests, golden output and bands, in one process.

    python -m legonn_core.modules.check --store modules speech-en/2 --with decoder-en/1

One JSON object a line on standard output: ``state`` as it goes on, numbers at the end, or ``error``
with ``message``. A gateway runs this before its engine loads a version, because a file that crashes
its reader crashes this process alone; ``legonn modules check`` runs it for people.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from legonn_core.errors import BadModule, LegonnError
from legonn_core.interface.card import ModuleCard, ModuleKind
from legonn_core.interface.contract import check as check_contract
from legonn_core.interface.reference import ModuleRef
from legonn_core.modules import golden
from legonn_core.modules.registry import LoadedModule, load_module, read_card
from legonn_core.modules.signatures import ANYONE, Trust, add_trust, asked_trust

LOADING, CHECKING = "loading", "checking"


@dataclass(frozen=True, slots=True)
class CheckReport:
    """What a check measured.

    Attributes:
        golden_difference: Largest difference of a probability from the stored one.
        blank_share: Of the golden output's rows; 0 for a decoder.
        seconds: Time it took.
    """

    golden_difference: float
    blank_share: float
    seconds: float


def check(
    store: Path,
    ref: ModuleRef,
    partners: Sequence[ModuleRef] = (),
    on_state: Callable[[str], None] = lambda _: None,
    *,
    trust: Trust = ANYONE,
) -> CheckReport:
    """Check one version of a store.

    Args:
        store: Module store.
        ref: The version.
        partners: Versions that it must fit.
        on_state: Told ``loading`` and ``checking``.
        trust: Whose modules may be loaded.

    Raises:
        LegonnError: Why it is not fit.
    """
    began = time.perf_counter()
    on_state(LOADING)
    card = read_card(store, ref, trust)
    for partner in partners:
        fit(card, read_card(store, partner, trust))
    module = load_module(store, ref, trust)
    on_state(CHECKING)
    folder = store / ref.name / ref.version
    difference = golden.check(module, folder)
    share = check_bands(module, folder)
    return CheckReport(difference, share, time.perf_counter() - began)


def check_bands(module: LoadedModule, folder: Path) -> float:
    """Refuse an encoder whose golden output is more often, or less often, blank than promised.

    Returns:
        The share of blank rows; 0 for a decoder.

    Raises:
        BadModule: If it lies outside the card's ``[bands]``.
    """
    share, bands = golden_blank_share(module, folder), module.card.bands
    if bands is not None and not bands.blank_low <= share <= bands.blank_high:
        raise BadModule(
            f"{module.ref}: {share:.2f} of its golden rows are blank, its card promises"
            f" {bands.blank_low:.2f} to {bands.blank_high:.2f}"
        )
    return share


def fit(one: ModuleCard, other: ModuleCard) -> None:
    """Refuse an encoder and a decoder that would misread each other; two alike never meet.

    Raises:
        ContractMismatch: Names the field.
    """
    cards = (one, other)
    encoders = [card for card in cards if card.kind is not ModuleKind.DECODER]
    decoders = [card for card in cards if card.kind is ModuleKind.DECODER]
    if encoders and decoders:
        check_contract(encoders[0].contract, decoders[0].contract)


def golden_blank_share(module: LoadedModule, folder: Path) -> float:
    """Rows of the golden output whose most probable class is blank, calibrated as they cross."""
    if module.card.kind is ModuleKind.DECODER:
        return 0.0
    rows = golden.run(module, golden.stored(folder)["given"])
    blank, calibration = module.card.contract.blank, module.card.calibration
    scores = np.log(np.maximum(rows, 1e-30)) / calibration.temperature
    scores[:, blank] += calibration.blank_bias
    return float((scores.argmax(axis=1) == blank).mean()) if len(rows) else 0.0


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point of ``python -m legonn_core.modules.check``; 0 if the version is fit."""
    parser = argparse.ArgumentParser(description="Check a module version before it may serve.")
    parser.add_argument("ref", metavar="NAME/VERSION", type=ModuleRef.parse)
    parser.add_argument("--store", type=Path, required=True, help="module store")
    parser.add_argument(
        "--with", dest="partners", metavar="NAME/VERSION", type=ModuleRef.parse, action="append",
        default=[], help="a version that it must fit; may be repeated",
    )  # fmt: skip
    parser.add_argument("--nice", type=int, default=0, help="be served after others, 0 to 19")
    add_trust(parser)
    given = parser.parse_args(arguments)
    os.nice(given.nice)

    def say(**facts: object) -> None:
        sys.stdout.write(json.dumps(facts) + "\n")
        sys.stdout.flush()

    try:
        report = check(
            given.store,
            given.ref,
            given.partners,
            lambda state: say(state=state),
            trust=asked_trust(given),
        )
    except LegonnError as error:
        say(error=error.reason, message=error.message)
        return 1
    say(
        golden_difference=report.golden_difference,
        blank_share=report.blank_share,
        seconds=report.seconds,
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
