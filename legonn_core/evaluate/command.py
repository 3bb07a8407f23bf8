"""``legonn evaluate``: what modules are worth, alone and exchanged; figures with intervals."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from legonn_core.errors import LegonnError
from legonn_core.evaluate import exchange_options
from legonn_core.evaluate.result import Cell, Result, draw, table, write
from legonn_core.interface.card import ModuleKind
from legonn_core.interface.reference import ModuleRef
from legonn_core.scoring.sets import BadSet, read_speech_set, read_text_set

if TYPE_CHECKING:
    from legonn_core.evaluate.material import Material
    from legonn_core.modules.registry import LoadedModule

HELP = "measure modules: asr, mt, swap, exchange, wire and reuse (needs legonn[train])"
EXAMPLES = """examples:
  legonn evaluate asr --set ../shared/data/speech/eval/ljspeech_heldout --json asr.json
  legonn evaluate mt --set ../shared/data/text/dev/tatoeba-dev.de-en.tsv:de --limit 300
  legonn evaluate swap --synthetic                 LegoNN's claims on a made-up language, 2 minutes
  legonn evaluate swap --set test.tsv:de --set recordings/ --picture swap.svg
  legonn evaluate wire --set test.tsv:de           what top-k and 8 bits cost
  legonn evaluate exchange work/no-ctc-1 work/no-ctc-2 --set test.tsv:de    runs, baselines too
  legonn evaluate reuse                            what one decoder for all tasks saves

A set is a folder of recordings with its TSV, or FILE:LANGUAGE with source TAB English lines; each
is read by the newest encoder of its language, unless --encoder names another. Modules run in this
process as they are served (chunks, calibration, top 16 and 8 bits on the wire, joint search);
what a running server gives is measured by `python -m legonn_loadtest.quality`.
A table goes to standard output; --json FILE keeps the raw figures, --picture FILE draws them.
WER is counted after NFKC, lower-casing and dropping punctuation; BLEU and chrF are sacreBLEU's.
Exit code: 0 all went well; 1 something failed or a claim did not hold; 2 wrong usage."""


REF = "NAME/VERSION"
TOP = [1, 2, 4, 8, 16, 0]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the sub-commands and their arguments."""
    tasks = parser.add_subparsers(dest="task", required=True, metavar="TASK")
    told = {
        "asr": "word error rate, with the lag and erasure of partials",
        "mt": "BLEU and chrF, with the lag and erasure of re-translation",
        "swap": "encoders and decoders exchanged, with controls",
        "wire": "quality against the classes a row and 8 bits",
    }
    for name, what in told.items():
        task = tasks.add_parser(name, help=what, description=what)
        add = task.add_argument
        folder = "a folder of recordings, or FILE:LANGUAGE; repeatable"
        add("--set", metavar="SET", action="append", default=[], dest="sets", help=folder)
        add("--limit", metavar="N", type=int, help="an even stride of N items")
        encoders = "in place of the newest of a set's language; repeatable"
        add("--encoder", metavar=REF, type=_module, action="append", default=[], help=encoders)
        decoders = "default: the newest; swap takes several"
        add("--decoder", metavar=REF, type=_module, action="append", default=[], help=decoders)
        _add_common(task)
        if name == "swap":
            add("--every", action="store_true", help="not the newest alone: all of the store's")
            add("--synthetic", action="store_true", help="train tiny systems on a made-up language")
        if name == "wire":
            classes = "classes a row; 0 is all"
            add("--top", metavar="K", type=int, nargs="+", default=TOP, help=classes)
    reuse = tasks.add_parser("reuse", help="what one decoder for all tasks saves")
    _add_common(reuse)
    exchange = tasks.add_parser(
        "exchange",
        help=exchange_options.HELP,
        epilog=exchange_options.EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    exchange_options.add_arguments(exchange)
    _add_common(exchange)


def _module(argument: str) -> ModuleRef:
    try:
        return ModuleRef.parse(argument)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def _add_common(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--store", metavar="DIR", type=Path, default=Path("modules"))
    parser.add_argument("--json", metavar="FILE", type=Path, help="write the raw result")
    parser.add_argument("--picture", metavar="FILE", type=Path, help="draw it (.svg or .png)")


def run(arguments: argparse.Namespace) -> int:
    """Run the command; the exit status."""
    try:
        return _finish(_result(arguments), arguments)
    except (LegonnError, BadSet, OSError) as error:
        print(f"legonn evaluate: {error}", file=sys.stderr)
        return 1


def _result(arguments: argparse.Namespace) -> Result:
    if arguments.task == "reuse":
        return _reuse(arguments)
    if arguments.task == "exchange":
        from legonn_core.evaluate.exchange_command import run as exchange

        return exchange(arguments, _command(arguments), _say)
    if arguments.task == "swap" and arguments.synthetic:
        from legonn_core.evaluate.synthetic import Effort, SyntheticExperiment

        return SyntheticExperiment(Effort(), report=_say).run()
    if not arguments.sets:
        raise BadSet(f"nothing to do: give {arguments.task} a --set FOLDER or --set FILE:LANGUAGE")
    from legonn_core.evaluate import experiments
    from legonn_core.evaluate.pipeline import Wire

    decoders = _decoders(arguments)
    wire = Wire(decoders[0].card.contract.top_k)
    materials = [
        material for chosen in arguments.sets for material in _materials(chosen, arguments)
    ]
    cells: list[Cell] = []
    match arguments.task:
        case "swap":
            cells = experiments.swap_matrix(materials, decoders, wire, _say)
        case "wire":
            cells = _wire(arguments, materials, decoders[0])
        case _:
            for material in materials:
                cells += experiments.plain(material, decoders[0], wire)
                follow = experiments.streamed if material.is_speech else experiments.retranslated
                cells += follow(material, wire)
                _say(f"{material.name}: done")
    skipped = [line for material in materials for line in material.skipped]
    facts = {"limit": arguments.limit, "wire": str(wire), "skipped": skipped}
    return Result(
        f"legonn evaluate {arguments.task}", _command(arguments), tuple(cells), facts=facts
    )


def _wire(
    arguments: argparse.Namespace, materials: Sequence[Material], decoder: LoadedModule
) -> list[Cell]:
    from legonn_core.evaluate import experiments
    from legonn_core.evaluate.pipeline import Wire
    from legonn_core.train.text_data import EnglishPieces

    pieces = EnglishPieces(arguments.store / decoder.card.vocabulary)
    wires = [Wire(k, is_coded) for k in arguments.top for is_coded in (False, True)]
    return [
        cell
        for material in materials
        for cell in experiments.wire_cells(
            material, decoder, wires=wires, pieces=pieces, report=_say
        )
    ]


def _decoders(arguments: argparse.Namespace) -> list[LoadedModule]:
    from legonn_core.modules.registry import find_modules, load_module, read_card

    refs: list[ModuleRef] = (
        list(arguments.decoder)
        or [
            ref
            for ref in find_modules(arguments.store)
            if read_card(arguments.store, ref).kind is ModuleKind.DECODER
        ][_first(arguments) :]
    )
    if not refs:
        raise BadSet(f"{arguments.store}: no decoder in this module store")
    return [load_module(arguments.store, ref) for ref in refs]


def _first(arguments: argparse.Namespace) -> int:
    """Where to begin in a list of modules by age: at the last, unless all are wanted."""
    return 0 if getattr(arguments, "every", False) else -1


def _materials(chosen: str, arguments: argparse.Namespace) -> list[Material]:
    """A set as each encoder reads it that was named for its kind and language, or the newest."""
    from legonn_core.evaluate.material import read_speech, read_text
    from legonn_core.modules.registry import find_modules, load_module, read_card

    path, colon, language = chosen.rpartition(":")
    wanted = ModuleKind.TEXT_ENCODER if colon else ModuleKind.SPEECH_ENCODER
    cards = {ref: read_card(arguments.store, ref) for ref in find_modules(arguments.store)}
    fitting = [
        ref
        for ref, card in cards.items()
        if card.kind is wanted and card.source_language == (language if colon else "en")
    ]
    named = [ref for ref in arguments.encoder if ref in fitting]
    refs = named or fitting[_first(arguments) :]
    if not refs:
        raise BadSet(f"{chosen}: no encoder in {arguments.store} reads it")
    encoders = [load_module(arguments.store, ref) for ref in refs]
    if colon:
        text = read_text_set(Path(path), language, limit=arguments.limit)
        return [read_text(encoder, text) for encoder in encoders]
    speech = read_speech_set(Path(chosen), limit=arguments.limit)
    return [read_speech(encoder, speech) for encoder in encoders]


def _reuse(arguments: argparse.Namespace) -> Result:
    from legonn_core.evaluate.reuse import measured, saved
    from legonn_core.modules.registry import find_modules, read_card

    newest = {ref.name: ref for ref in find_modules(arguments.store)}
    facts = saved([read_card(arguments.store, ref) for ref in newest.values()])
    facts |= measured(arguments.store, list(newest.values()))
    for name, value in facts.items():
        print(f"{name}: {value}")
    return Result("what reuse saves", _command(arguments), (), facts=facts)


def _command(arguments: argparse.Namespace) -> str:
    """What makes the result again, without the places it was written to."""
    words = ["legonn evaluate", arguments.task]
    words += map(str, getattr(arguments, "runs", []))
    for name in ("sets", "limit", "encoder", "decoder", "top", "decoding", "against"):
        value = getattr(arguments, name, None)
        option = f"--{'set' if name == 'sets' else name}"
        match value:
            case None | [] | "":
                continue
            case list() if name == "top":
                words.append(f"{option} {' '.join(map(str, value))}")
            case list() if name == "decoding":
                words += [f"{option} {weight:g}:{bonus:g}" for weight, bonus in value]
            case list():
                words += [f"{option} {one}" for one in value]
            case _:
                words.append(f"{option} {value}")
    words += ["--every"] if getattr(arguments, "every", False) else []
    return " ".join(words)


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _finish(result: Result, arguments: argparse.Namespace) -> int:
    if result.cells:
        print(table(result))
    if gap := result.facts.get("relative_swap_gap_percent"):
        assert isinstance(gap, dict)
        print(f"\nmean relative swap gap over {len(gap['pairs'])} exchanges: {gap['mean']} %")
    if arguments.json:
        write(result, arguments.json)
    if arguments.picture and result.cells:
        draw(result, arguments.picture)
    return 0 if all(claim.holds for claim in result.claims) else 1
