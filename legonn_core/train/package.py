"""Turn a checkpoint into a module version: quantised weights, golden output, and the card."""

from __future__ import annotations

import dataclasses
import datetime
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import sentencepiece
import torch
from numpy.typing import NDArray
from torch import Tensor

from legonn_core.encoders.speech import SpeechEncoder, SpeechEncoderShape
from legonn_core.features.log_mel import HOP, SAMPLE_RATE
from legonn_core.interface.card import (
    Calibration,
    ChunkGeometry,
    DataSource,
    DecodingDefaults,
    FileDigest,
    ModuleCard,
    ModuleKind,
    StateTensor,
    TrainingRecord,
)
from legonn_core.interface.contract import Contract
from legonn_core.interface.reference import ModuleRef
from legonn_core.modules import golden, weights
from legonn_core.modules.registry import (
    CARD,
    SOURCE_PIECES,
    WEIGHTS,
    build,
    load_module,
    read_vocabulary,
)

TOP_K = 16
"""Classes a row on the wire."""


@dataclass(frozen=True, slots=True)
class Packaging:
    """What a card says beyond what the weights say themselves."""

    ref: ModuleRef
    kind: ModuleKind
    source_language: str
    vocabulary: str
    recipe: Path
    data: tuple[DataSource, ...]
    notes: str
    architecture: dict[str, int | float | str | bool]
    golden_input: NDArray[np.generic]
    source_model: Path | None = None
    calibration: Calibration = field(default_factory=Calibration)
    decoding: DecodingDefaults = field(default_factory=DecodingDefaults)
    minutes: float = 0.0


def averaged_part(checkpoint: Path, part: str) -> dict[str, Tensor]:
    """The averaged weights of one part (``encoder`` or ``decoder``) of a trainer's checkpoint."""
    return part_of(torch.load(checkpoint, weights_only=True)["average"], part)


def minutes_of(checkpoint: Path) -> float:
    """How long a run trained, over all resumptions."""
    return round(float(torch.load(checkpoint, weights_only=True, mmap=True)["seconds"]) / 60, 1)


def part_of(saved: dict[str, Tensor], part: str) -> dict[str, Tensor]:
    """The weights of one part by their own names; all of them where there are no parts."""
    prefix = f"{part}." if part else ""
    found = {k.removeprefix(prefix): v for k, v in saved.items() if k.startswith(prefix)}
    return found or dict(saved)


def write_module(store: Path, packaging: Packaging, parameters: dict[str, Tensor]) -> ModuleCard:
    """Write ``NAME/VERSION`` into a store and load it back as a server would.

    Raises:
        LegonnError: If what was written does not load; the folder is left for inspection.
    """
    folder = store / packaging.ref.name / packaging.ref.version
    (folder / "golden").mkdir(parents=True, exist_ok=True)
    files: dict[str, FileDigest] = {WEIGHTS: weights.save(folder / WEIGHTS, parameters)}
    if packaging.source_model is not None:
        content = packaging.source_model.read_bytes()
        (folder / SOURCE_PIECES).write_bytes(content)
        files[SOURCE_PIECES] = weights.digest(content)
    vocabulary = read_vocabulary(store, packaging.vocabulary)
    is_speech = packaging.kind is ModuleKind.SPEECH_ENCODER
    is_text = packaging.kind is ModuleKind.TEXT_ENCODER
    contract = Contract(
        fingerprint=vocabulary.fingerprint,
        num_classes=len(vocabulary),
        blank=vocabulary.blank,
        rows_per_second=1000.0 / _geometry(packaging).row_ms if is_speech else None,
        rows_per_token=_rows_per_token(packaging) if is_text else None,
        top_k=TOP_K,
    )
    card = ModuleCard(
        name=packaging.ref.name,
        version=packaging.ref.version,
        kind=packaging.kind,
        source_language=packaging.source_language,
        target_language="en",
        vocabulary=packaging.vocabulary,
        contract=contract,
        architecture=packaging.architecture,
        weights=files,
        training=TrainingRecord(
            recipe=packaging.recipe.name,
            recipe_sha256=hashlib.sha256(packaging.recipe.read_bytes()).hexdigest(),
            data=packaging.data,
            notes=packaging.notes,
            minutes=packaging.minutes,
        ),
        num_parameters=sum(p.numel() for p in parameters.values()),
        created=datetime.datetime.now(datetime.UTC).date().isoformat(),
        calibration=packaging.calibration,
        decoding=packaging.decoding,
        chunk=_geometry(packaging) if is_speech else None,
    )
    if is_speech:
        network = build(card)
        assert isinstance(network, SpeechEncoder)
        layout = tuple(StateTensor(*entry) for entry in network.start(1).layout())
        card = dataclasses.replace(card, state_layout=layout)
    (folder / CARD).write_text(card.to_toml(), encoding="utf-8")
    module = load_module(store, packaging.ref)
    (folder / golden.FILE).write_bytes(golden.make(module, packaging.golden_input))
    golden.check(load_module(store, packaging.ref), folder)
    return card


def _rows_per_token(packaging: Packaging) -> float:
    sizes = packaging.architecture
    return float(sizes["rows_per_token"]) / float(sizes.get("rows_denominator", 1))


def _geometry(packaging: Packaging) -> ChunkGeometry:
    sizes: Mapping[str, Any] = packaging.architecture  # the shape checks what it takes
    shape = SpeechEncoderShape(num_classes=2, **sizes)
    return ChunkGeometry(
        sample_rate_hertz=SAMPLE_RATE,
        chunk_samples=shape.chunk_samples,
        left_context_ms=1000.0 * shape.left_chunks * shape.chunk_samples / SAMPLE_RATE,
        lookahead_ms=1000.0 * shape.right_pairs * 4 * HOP / SAMPLE_RATE,
        row_ms=1000.0 * shape.row_samples / SAMPLE_RATE,
    )


def golden_source(model: Path, sentence: str) -> NDArray[np.int32]:
    """A text encoder's golden input: a sentence cut into source pieces."""
    processor = sentencepiece.SentencePieceProcessor(model_file=str(model))
    return np.asarray(processor.encode(sentence), dtype=np.int32)
