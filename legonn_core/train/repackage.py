"""The card of a module that was fine-tuned: its parent's facts, and the data that was added."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from legonn_core.interface.card import DataSource, DecodingDefaults, ModuleKind
from legonn_core.interface.reference import ModuleRef
from legonn_core.modules import golden
from legonn_core.modules.registry import SOURCE_PIECES, read_card
from legonn_core.train.composition_trainer import CompositionRecipe
from legonn_core.train.decoder_trainer import DecoderRecipe
from legonn_core.train.package import Packaging


def fine_tuned(
    entry: Mapping[str, object],
    recipe: CompositionRecipe | DecoderRecipe,
    *,
    version: str,
    recipe_path: Path,
) -> Packaging:
    """Packaging of one part of a composition.

    Args:
        entry: The recipe's ``[[modules]]`` table: ``name``, ``part``, and if wanted ``notes``,
            ``data``, ``decoding``.
        recipe: Which modules it began with.
        version: Of the new module.
        recipe_path: For the card.
    """
    part, store = str(entry.get("part", "encoder")), Path(recipe.store)
    parent = ModuleRef.parse(recipe.decoder if part == "decoder" else recipe.encoder)
    card, folder = read_card(store, parent), store / parent.name / parent.version
    with np.load(folder / golden.FILE, allow_pickle=False) as stored:
        given = stored["given"]
    added = entry.get("data", [])
    assert isinstance(added, list)
    sizes = dict(card.architecture)
    if part == "decoder" and recipe.adapter_width:
        sizes["adapter_width"] = recipe.adapter_width
    if part == "decoder" and isinstance(recipe, DecoderRecipe):
        sizes |= recipe.reads
    decoding = entry.get("decoding")
    return Packaging(
        ref=ModuleRef(str(entry["name"]), version),
        kind=card.kind,
        source_language=card.source_language,
        vocabulary=card.vocabulary,
        recipe=recipe_path,
        data=(*card.training.data, *(DataSource(*row) for row in added)),
        notes=f"Fine-tuned from {parent}. {entry.get('notes', '')}".strip(),
        architecture=sizes,
        golden_input=given,
        source_model=folder / SOURCE_PIECES if card.kind is ModuleKind.TEXT_ENCODER else None,
        decoding=DecodingDefaults(**decoding) if isinstance(decoding, dict) else card.decoding,
    )
