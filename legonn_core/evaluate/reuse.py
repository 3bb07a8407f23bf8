"""What one shared decoder saves, from cards alone: parameters and bytes of n tasks."""

from __future__ import annotations

from collections.abc import Sequence

from legonn_core.interface.card import ModuleCard, ModuleKind

BYTES_IN_MEMORY = 4
"""Served on a CPU, weights are float32."""


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
        "saved_share": round(1.0 - shared / separate, 4),
    }
