"""``legonn evaluate exchange`` once its arguments are known: read the runs, exchange, report."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from legonn_core.evaluate.exchange import Heard, Report, exchanged, gaps
from legonn_core.evaluate.material import read_samples
from legonn_core.evaluate.result import Result
from legonn_core.evaluate.systems import (
    Reader,
    Writer,
    module_reader,
    module_writer,
    read_run,
)
from legonn_core.interface.reference import ModuleRef
from legonn_core.runtime.decoder_engine import PEAKS
from legonn_core.scoring.sets import BadSet, SpeechSet, read_speech_set, read_text_set
from legonn_core.search.joint import JointSettings


def run(arguments: argparse.Namespace, command: str, report: Report) -> Result:
    """Measure.

    Args:
        arguments: Of the command line.
        command: What makes the result again.
        report: Called as each pair is done.

    Raises:
        BadSet: If there is nothing to measure, or on nothing.
        LegonnError: If a run or a module cannot be used.
    """
    if not arguments.sets:
        raise BadSet("nothing to do: give exchange a --set FILE:LANGUAGE")
    writers, readers = participants(arguments)
    if not writers or not readers:
        raise BadSet("nothing to do: name runs, or an --encoder and a --decoder")
    ways = [
        JointSettings(beam=arguments.beam, ctc_weight=weight, length_bonus=bonus, peaks=PEAKS)
        for weight, bonus in arguments.decoding or [(0.55, 1.5)]
    ]
    materials = [
        heard for chosen in arguments.sets for heard in _heard(chosen, writers, arguments.limit)
    ]
    cells = exchanged(materials, readers, ways, against=arguments.against, report=report)
    facts = {"limit": arguments.limit, "relative_swap_gap_percent": gaps(cells)}
    return Result("legonn evaluate exchange", command, tuple(cells), facts=facts)


def participants(arguments: argparse.Namespace) -> tuple[list[Writer], list[Reader]]:
    """Encoders and decoders of the runs and modules that were named."""
    found = [read_run(folder, root=Path.cwd()) for folder in arguments.runs]
    store = arguments.store
    writers = [writer for writer, _ in found]
    writers += [module_writer(store, ModuleRef.parse(one)) for one in arguments.encoder]
    readers = [reader for _, reader in found if reader is not None]
    readers += [module_reader(store, ModuleRef.parse(one)) for one in arguments.decoder]
    return writers, readers


def _heard(chosen: str, writers: Sequence[Writer], limit: int | None) -> list[Heard]:
    path, colon, language = chosen.rpartition(":")
    if not colon:
        return _listened(read_speech_set(Path(chosen), limit=limit), writers)
    texts = read_text_set(Path(path), language, limit=limit)
    return [
        Heard(writer, texts.name, texts.references, tuple(writer.read(texts.sources)))
        for writer in writers
        if writer.source is not None
    ]


def _listened(recordings: SpeechSet, writers: Sequence[Writer]) -> list[Heard]:
    samples = [read_samples(recording.path) for recording in recordings.recordings]
    references = tuple(recording.normalized for recording in recordings.recordings)
    return [
        Heard(writer, recordings.name, references, tuple(writer.hear(samples)))
        for writer in writers
        if writer.source is None
    ]
