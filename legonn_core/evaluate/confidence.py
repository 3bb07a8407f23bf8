"""Measures how far word confidences can be believed, and fits the curve that a card carries.

    python -m legonn_core.evaluate.confidence --encoder speech-en/1 --decoder decoder-en/1 \
        --fit FOLDER --set FOLDER --out confidence.json --plot confidence.svg --write-card

A recognised word is right if the alignment with the reference has it; a translated word is right if
the reference has it, each of the reference's words counting once. The curve is fitted on one set
and judged on others.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import jiwer
import numpy as np

from legonn_core.evaluate.material import Material, read_speech, read_text
from legonn_core.evaluate.plot import reliability_svg
from legonn_core.interface import codec
from legonn_core.interface.card import DecodingDefaults, ModuleKind
from legonn_core.interface.marginals import Marginals
from legonn_core.interface.reference import ModuleRef
from legonn_core.modules.registry import CARD, LoadedModule, load_module, read_card
from legonn_core.runtime.decoder_engine import DecoderEngine
from legonn_core.runtime.messages import DecodedText, DecodeJob, Phrase
from legonn_core.scoring.scores import normalized
from legonn_core.scoring.sets import read_speech_set, read_text_set
from legonn_core.search.confidence import (
    ConfidenceCurve,
    calibration_error,
    fit_curve,
    reliability,
)


@dataclass(frozen=True, slots=True)
class Judged:
    """Words of a set: how sure the search was of each, before calibration, and whether it is right.

    Attributes:
        name: Of the set.
    """

    name: str
    raw: tuple[float, ...]
    is_right: tuple[bool, ...]


def readings(
    material: Material,
    decoder: LoadedModule,
    phrases: tuple[Phrase, ...] = (),
    *,
    weights: DecodingDefaults | None = None,
) -> list[DecodedText]:
    """Decode every item as the server would; with other weights than the encoder's card has."""
    card = material.encoder.card
    weights = weights or card.decoding
    engine: DecoderEngine[int] = DecoderEngine(decoder)
    row_ms = card.chunk.row_ms if card.chunk else 0.0
    for number, rows in enumerate(material.rows):
        block = Marginals.from_dense(
            rows,
            card.contract.top_k,
            times_ms=((np.arange(len(rows)) + 0.5) * row_ms).astype(np.int32),
            fingerprint=card.contract.fingerprint,
        )
        engine.submit(
            number,
            DecodeJob(
                ModuleRef(decoder.card.name, decoder.card.version),
                (codec.encode(block),),
                beam=weights.beam,
                ctc_weight=weights.ctc_weight,
                length_bonus=weights.length_bonus,
                row_ms=row_ms,
                phrases=phrases,
            ),
        )
    found: dict[int, DecodedText] = {}
    while engine.num_jobs:
        for number, result in engine.step():
            if isinstance(result, Exception):
                raise result
            found[number] = result.hypotheses[0]
    return [found[number] for number in range(len(material.rows))]


def judge(material: Material, found: Sequence[DecodedText]) -> Judged:
    """Say of every word whether it is right."""
    raw: list[float] = []
    is_right: list[bool] = []
    for reference, one in zip(material.references, found, strict=True):
        said = [(normalized(word.text), word.confidence) for word in one.words]
        said = [(word.replace(" ", ""), sure) for word, sure in said if word]
        right = (_aligned if material.is_speech else _shared)(
            normalized(reference).split(), [word for word, _ in said]
        )
        raw += [sure for _, sure in said]
        is_right += right
    return Judged(material.name, tuple(raw), tuple(is_right))


def _aligned(reference: list[str], said: list[str]) -> list[bool]:
    """Whether the least edits from reference to hypothesis keep each word."""
    right = [False] * len(said)
    if reference and said:
        chunks = jiwer.process_words(" ".join(reference), " ".join(said)).alignments[0]
        for chunk in chunks:
            if chunk.type == "equal":
                for place in range(chunk.hyp_start_idx, chunk.hyp_end_idx):
                    right[place] = True
    return right


def _shared(reference: list[str], said: list[str]) -> list[bool]:
    left = Counter(reference)
    right = []
    for word in said:
        right.append(left[word] > 0)
        left[word] -= 1
    return right


def report(judged: Judged, curve: ConfidenceCurve) -> dict[str, object]:
    """What is known of one set, before and after calibration."""
    calibrated = [curve.apply(raw) for raw in judged.raw]
    before, after = (reliability(one, judged.is_right) for one in (judged.raw, calibrated))
    return {
        "set": judged.name,
        "words": len(judged.raw),
        "accuracy": round(sum(judged.is_right) / max(len(judged.raw), 1), 4),
        "ece_raw": round(calibration_error(before), 4),
        "ece_calibrated": round(calibration_error(after), 4),
        "bins_raw": [asdict(one) for one in before],
        "bins_calibrated": [asdict(one) for one in after],
    }


def write_card(store: Path, ref: ModuleRef, curve: ConfidenceCurve) -> None:
    """Put the curve on a module's card."""
    card = read_card(store, ref)
    calibration = replace(
        card.calibration,
        confidence_scale=round(curve.scale, 4),
        confidence_offset=round(curve.offset, 4),
    )
    path = store / ref.name / ref.version / CARD
    path.write_text(replace(card, calibration=calibration).to_toml(), "utf-8")


def read_material(encoder: LoadedModule, path: Path, *, limit: int | None) -> Material:
    """A set as the encoder reads it: a folder of recordings, or a table of sentence pairs."""
    if encoder.card.kind is ModuleKind.SPEECH_ENCODER:
        return read_speech(encoder, read_speech_set(path, limit=limit))
    return read_text(encoder, read_text_set(path, encoder.card.source_language, limit=limit))


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, fit, write."""
    parser = argparse.ArgumentParser(prog="python -m legonn_core.evaluate.confidence")
    parser.add_argument("--modules", type=Path, default=Path("modules"))
    parser.add_argument("--encoder", type=ModuleRef.parse, required=True, metavar="NAME/VERSION")
    parser.add_argument("--decoder", type=ModuleRef.parse, required=True, metavar="NAME/VERSION")
    parser.add_argument("--fit", type=Path, required=True, help="the set to fit the curve on")
    parser.add_argument("--set", type=Path, action="append", required=True, help="sets to judge")
    parser.add_argument("--limit", type=int, help="items of each set, evenly spread")
    parser.add_argument("--out", type=Path, required=True, help="where the numbers go, as JSON")
    parser.add_argument("--plot", type=Path, help="where the reliability plot goes, as SVG")
    parser.add_argument("--write-card", action="store_true", help="put the curve on the card")
    asked = parser.parse_args(arguments)
    encoder = load_module(asked.modules, asked.encoder)
    decoder = load_module(asked.modules, asked.decoder)
    judged = []
    for path in (asked.fit, *asked.set):
        material = read_material(encoder, path, limit=asked.limit)
        judged.append(judge(material, readings(material, decoder)))
        print(f"{judged[-1].name}: {len(judged[-1].raw)} words", file=sys.stderr, flush=True)
    curve = fit_curve(judged[0].raw, judged[0].is_right)
    reports = [report(one, curve) for one in judged]
    content = {
        "encoder": str(asked.encoder),
        "decoder": str(asked.decoder),
        "fitted_on": judged[0].name,
        "limit": asked.limit,
        "curve": asdict(curve),
        "sets": reports,
    }
    asked.out.write_text(json.dumps(content, indent=1) + "\n", "utf-8")
    if asked.plot:
        asked.plot.write_text(_plot(judged, curve, title=str(asked.encoder)), "utf-8")
    if asked.write_card:
        write_card(asked.modules, asked.encoder, curve)
    for one in reports:
        print(f"{one['set']}: ECE {one['ece_raw']} raw, {one['ece_calibrated']} calibrated")
    return 0


def _plot(judged: Sequence[Judged], curve: ConfidenceCurve, *, title: str) -> str:
    """Sets that the curve was not fitted on, before and after."""
    lines = {}
    for one in judged[1:]:
        lines[f"{one.name}, raw"] = reliability(one.raw, one.is_right)
        calibrated = [curve.apply(raw) for raw in one.raw]
        lines[f"{one.name}, calibrated"] = reliability(calibrated, one.is_right)
    return reliability_svg(lines, title=title)


if __name__ == "__main__":
    sys.exit(main())
