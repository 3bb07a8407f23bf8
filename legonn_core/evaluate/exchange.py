"""Encoders and decoders of several trainings exchanged: what LegoNN promises, and what it costs.

Every encoder is read by every decoder that reads what it hands on, its own among them. The gap of
an exchange is relative to the encoder's own decoder (legonn.md, section 9.1); a difference to a
named baseline is paired item by item.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from legonn_core.evaluate.pipeline import BATCH, search_batch
from legonn_core.evaluate.reading import read_off
from legonn_core.evaluate.result import Cell, mean
from legonn_core.evaluate.systems import Reader, Writer
from legonn_core.scoring.paired import error_difference, translation_difference
from legonn_core.scoring.scores import Score, translation_scores, word_error_rate
from legonn_core.search.joint import JointSettings
from legonn_core.train.composition import Handed

Report = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Heard:
    """One test set as one encoder reads it.

    Attributes:
        test_set: Name of the data.
        references: English, one an item.
        logits: (U, V) of each item.
    """

    writer: Writer
    test_set: str
    references: tuple[str, ...]
    logits: tuple[Tensor, ...]

    @property
    def is_speech(self) -> bool:
        """Whether it is scored as recognition."""
        return self.writer.source is None

    def scores(self, texts: Sequence[str]) -> tuple[Score, ...]:
        """WER of recognition, BLEU and chrF of translation."""
        if self.is_speech:
            return (word_error_rate(self.references, texts),)
        return translation_scores(self.references, texts)

    def difference(self, texts: Sequence[str], others: Sequence[str]) -> Score:
        """Paired, of the first score."""
        measure = error_difference if self.is_speech else translation_difference
        return measure(self.references, texts, others)


@torch.inference_mode()
def decoded(heard: Heard, reader: Reader, settings: JointSettings) -> list[str]:
    """What a decoder makes of an encoder's rows; nothing is cut from them."""
    found: list[tuple[int, ...]] = [()] * len(heard.logits)
    order = sorted(range(len(found)), key=lambda index: len(heard.logits[index]))
    for start in range(0, len(order), BATCH):
        chosen = order[start : start + BATCH]
        rows = [heard.logits[index] for index in chosen]
        handed = Handed(
            nn.utils.rnn.pad_sequence(rows, batch_first=True),
            torch.tensor([len(one) for one in rows]),
        )
        dense = [one.log_softmax(dim=-1).numpy() for one in rows]
        best = search_batch(reader.decoder, reader.network.remember(handed), dense, settings)
        for index, tokens in zip(chosen, best, strict=True):
            found[index] = tokens
    return [heard.writer.vocabulary.text(tokens) for tokens in found]


def exchanged(
    materials: Sequence[Heard],
    readers: Sequence[Reader],
    decodings: Sequence[JointSettings],
    *,
    against: str = "",
    report: Report,
) -> list[Cell]:
    """Every encoder under every decoder, searched in every way.

    Args:
        materials: Test sets as the encoders read them.
        readers: Decoders; one is paired only with encoders that hand on what it reads.
        decodings: Ways to search; CTC is left out where it says nothing of the rows.
        against: Name of a run: every cell is also compared with its own pair, searched best.
        report: Called as each pair is done.
    """
    cells: list[Cell] = []
    said: dict[str, list[tuple[Cell, Heard, list[str]]]] = {}
    for heard in materials:
        name = heard.writer.name
        if heard.writer.is_grounded:
            texts = [heard.writer.vocabulary.text(read_off(one.numpy())) for one in heard.logits]
            cells += _cells(heard, "–", "greedy", texts)
        for reader in readers:
            if reader.link is not heard.writer.link:
                continue
            for settings in _ways(decodings, heard.writer):
                texts = decoded(heard, reader, settings)
                found = _cells(heard, reader.name, _told(settings), texts)
                cells += found
                said.setdefault(heard.test_set, []).append((found[0], heard, texts))
            report(f"{heard.test_set}: {name} under {reader.name}")
    if against:
        for entries in said.values():
            cells += _differences(entries, against)
    return cells


def _differences(entries: Sequence[tuple[Cell, Heard, list[str]]], against: str) -> list[Cell]:
    base = [entry for entry in entries if entry[0].encoder == entry[0].decoder == against]
    if not base:
        return []
    sign = 1.0 if base[0][0].score.name == "WER" else -1.0
    best = min(base, key=lambda entry: sign * entry[0].score.value)
    return [
        Cell(
            cell.encoder,
            cell.decoder,
            f"{cell.condition}, less {against}",
            cell.test_set,
            cell.items,
            heard.difference(texts, best[2]),
        )
        for cell, heard, texts in entries
        if cell is not best[0]
    ]


def _ways(decodings: Sequence[JointSettings], writer: Writer) -> list[JointSettings]:
    """Without CTC, ways that differ by its weight are one."""
    if writer.is_grounded:
        return list(decodings)
    kept = {one.length_bonus: one for one in decodings}
    return [
        JointSettings(beam=one.beam, ctc_weight=0.0, length_bonus=one.length_bonus)
        for one in kept.values()
    ]


def _told(settings: JointSettings) -> str:
    return f"beam {settings.beam}, CTC {settings.ctc_weight:g}, bonus {settings.length_bonus:g}"


def _cells(heard: Heard, decoder: str, condition: str, texts: Sequence[str]) -> list[Cell]:
    return [
        Cell(heard.writer.name, decoder, condition, heard.test_set, len(texts), score)
        for score in heard.scores(texts)
    ]


def gaps(cells: Sequence[Cell]) -> dict[str, object]:
    """Relative swap gaps in percent, positive is worse; over encoders that have their own decoder.

    Returns:
        ``pairs`` by "encoder under decoder, test set, condition", and the ``mean`` of all.
    """
    scores = {
        (cell.encoder, cell.decoder, cell.test_set, cell.condition): cell.score
        for cell in cells
        if cell.score.name in ("WER", "BLEU")
    }
    found: dict[str, float] = {}
    for (encoder, decoder, test_set, condition), score in scores.items():
        own = scores.get((encoder, encoder, test_set, condition))
        if decoder in (encoder, "–") or own is None or not own.value:
            continue
        sign = 1.0 if score.name == "WER" else -1.0
        gap = 100.0 * sign * (score.value - own.value) / own.value
        found[f"{encoder} under {decoder}, {test_set}, {condition}"] = round(gap, 2)
    return {"pairs": found, "mean": round(mean(list(found.values())), 2)} if found else {}
