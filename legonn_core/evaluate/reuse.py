"""What one shared decoder saves: parameters and minutes from cards, and memory as it is taken."""

from __future__ import annotations

import gc
import resource
from collections.abc import Sequence
from pathlib import Path

from legonn_core.interface.card import ModuleCard, ModuleKind
from legonn_core.interface.reference import ModuleRef
from legonn_core.modules.registry import load_module, read_card

BYTES_IN_MEMORY = 4
"""Served on a CPU, weights are float32."""


def resident_mib() -> float:
    """What of this process lies in memory, as Linux counts it."""
    pages = int(Path("/proc/self/statm").read_text("ascii").split()[1])
    return pages * resource.getpagesize() / 2**20


def measured(store: Path, refs: Sequence[ModuleRef]) -> dict[str, object]:
    """Memory that this process takes for n encoders with one decoder, and with n decoders.

    Args:
        store: Module store.
        refs: Any encoders and exactly one decoder.
    """
    decoder = next(ref for ref in refs if read_card(store, ref).kind is ModuleKind.DECODER)
    before = resident_mib()
    loaded = [load_module(store, ref) for ref in refs]
    gc.collect()
    shared = resident_mib()
    # Each task with a decoder of its own: as many more as there are encoders beside the first.
    loaded += [load_module(store, decoder) for _ in range(len(refs) - 2)]
    gc.collect()
    separate = resident_mib()
    return {
        "resident_mib_shared": round(shared - before, 1),
        "resident_mib_separate": round(separate - before, 1),
        "modules_loaded": len(loaded),
    }


def saved(cards: Sequence[ModuleCard]) -> dict[str, object]:
    """Compare n encoders with one decoder against n encoders with a decoder each.

    Args:
        cards: Of any encoders and exactly one decoder.

    Raises:
        ValueError: If there is not exactly one decoder, or no encoder.
    """
    decoders = [card for card in cards if card.kind is ModuleKind.DECODER]
    encoders = [card for card in cards if card.kind is not ModuleKind.DECODER]
    if len(decoders) != 1 or not encoders:
        raise ValueError(f"{len(decoders)} decoders and {len(encoders)} encoders")
    (decoder,) = decoders
    parts = sum(card.num_parameters for card in encoders)
    shared = parts + decoder.num_parameters
    separate = parts + len(encoders) * decoder.num_parameters
    return {
        "tasks": len(encoders),
        "modules": {f"{card.name}/{card.version}": card.num_parameters for card in cards},
        "parameters_shared": shared,
        "parameters_separate": separate,
        "memory_mib_shared": round(shared * BYTES_IN_MEMORY / 2**20, 1),
        "memory_mib_separate": round(separate * BYTES_IN_MEMORY / 2**20, 1),
        "training_minutes": {
            f"{card.name}/{card.version}": card.training.minutes or None for card in cards
        },
        "saved_share": round(1.0 - shared / separate, 4),
    }
