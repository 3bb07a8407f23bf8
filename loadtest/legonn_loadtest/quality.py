"""``python -m legonn_loadtest.quality``: how good the text of a running server is.

What users get is measured, with what users have: recordings streamed through StreamingRecognize,
texts sent in batches through Translate, both by the client of ``legonn``. It must not know how the
server works, or where its modules lie.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import legonn
from legonn.cli.connection import add_address, explain
from legonn_core.scoring.sets import BadSet, SpeechSet, TextSet, read_speech_set, read_text_set

if TYPE_CHECKING:
    from legonn_loadtest.report import Report

DESCRIPTION = """Measure the quality of a running server: word error rate of streamed recordings,
BLEU and chrF of translated texts, each with its 95 % bootstrap interval. Every stream is also
checked against the promises of the contract: messages numbered without a gap, stable text that
only grows, finals that begin with it, word times in order, all samples accounted for."""

EXAMPLES = """examples (after `legonn serve` in another terminal):
  python -m legonn_loadtest.quality --asr ../shared/data/speech/eval/librispeech_test_other_100
  python -m legonn_loadtest.quality --mt ../shared/data/text/test/tatoeba-v2021.de-en.tsv:de \\
      --limit 1000 --json work/quality.json
  python -m legonn_loadtest.quality --asr eval/ljspeech_heldout --paced --streams 4
  python -m legonn_loadtest.quality --table work/quality.json

WER is counted after NFKC, lower-casing and dropping punctuation; apostrophes inside words stay.
A set whose corpus also writes figures and abbreviations gets a second WER, "as written". BLEU and
chrF are sacreBLEU's, on the text as it is. What fails is scored as empty text, and named.
Exit code: 0 all went well; 1 something failed or a promise was broken; 2 wrong usage."""

TIMEOUT_S = 600.0  # of a batch: a busy laptop may be slow, and slow is no failure here


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command line and return its exit code."""
    parser = _parser()
    options = parser.parse_args(arguments)
    if not (options.table or options.asr or options.mt):
        parser.error("nothing to do: give --asr FOLDER, --mt FILE:LANGUAGE or --table JSON")
    try:
        if options.table:
            from legonn_loadtest import report

            print(report.markdown(report.read(options.table)))
            return 0
        speech = [read_speech_set(folder, limit=options.limit) for folder in options.asr]
        text = [read_text_set(file, code, limit=options.limit) for file, code in options.mt]
        return asyncio.run(_measure(options, speech, text))
    except ModuleNotFoundError as error:
        needed = "this needs more than the plain install: pip install 'legonn[loadtest]'"
        return _fail(f"{needed} ({error.name} is not installed)")
    except legonn.LegonnError as error:
        return _fail(explain(error, options.address))
    except BadSet as error:
        return _fail(str(error))
    except OSError as error:
        return _fail(f"{error.filename}: {error.strerror}" if error.filename else str(error))
    except KeyboardInterrupt:
        print(file=sys.stderr)
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m legonn_loadtest.quality",
        description=DESCRIPTION,
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add(
        "--asr",
        metavar="FOLDER",
        type=Path,
        action="append",
        default=[],
        help="recordings with NAME.tsv (id, path, transcript, normalized); repeatable",
    )
    add(
        "--mt",
        metavar="FILE:LANGUAGE",
        type=_text_file,
        action="append",
        default=[],
        help="source TAB English lines, and the language of the sources; repeatable",
    )
    add("--limit", metavar="N", type=_positive, help="an even stride of N items of each set")
    add("--streams", metavar="N", type=_positive, default=2, help="calls at a time; default 2")
    add(
        "--interim",
        choices=("on", "off"),
        default="on",
        help="ask for partials; without them finals may be better; default on",
    )
    add("--paced", action="store_true", help="send audio in real time, and measure latencies")
    add("--json", metavar="FILE", type=Path, help="write the raw result, set by set as they end")
    add(
        "--table",
        metavar="JSON",
        type=Path,
        help="measure nothing: print the Markdown table of an earlier --json",
    )
    add_address(parser)
    return parser


def _text_file(argument: str) -> tuple[Path, str]:
    file, colon, language = argument.rpartition(":")
    if not colon or not file or not language.replace("-", "").isalnum():
        raise argparse.ArgumentTypeError(f"{argument!r} is not FILE:LANGUAGE, such as test.tsv:de")
    return Path(file), language


def _positive(argument: str) -> int:
    if not argument.isdecimal() or int(argument) < 1:
        raise argparse.ArgumentTypeError(f"{argument!r} is not a whole number from 1 up")
    return int(argument)


async def _measure(
    options: argparse.Namespace, speech: Sequence[SpeechSet], text: Sequence[TextSet]
) -> int:
    from legonn_loadtest import report as reports
    from legonn_loadtest.measurement import Plan, list_modules, recognize_set, translate_set

    plan = Plan(options.streams, options.interim == "on", options.paced, sys.stderr)
    async with legonn.AsyncClient(options.address, timeout_s=TIMEOUT_S) as client:
        report = reports.Report(
            started_at=datetime.now(UTC).isoformat(timespec="seconds"),
            client_version=legonn.__version__,
            num_streams=plan.num_streams,
            interim_results=plan.interim_results,
            is_paced=plan.is_paced,
            limit=options.limit,
            modules=await list_modules(client),
        )
        runs = [
            *(partial(recognize_set, client, one, plan) for one in speech),
            *(partial(translate_set, client, one, plan, modules=report.modules) for one in text),
        ]
        for run in runs:
            report = replace(report, results=(*report.results, await run()))
            if options.json:  # after each set: what an hour has measured outlives the next failure
                reports.write(report, options.json)
    print(reports.plain(report))
    return 0 if _is_clean(report) else 1


def _is_clean(report: Report) -> bool:
    return not any(one.num_failed or one.num_broken_promises for one in report.results)


def _fail(sentence: str) -> int:
    print(f"quality: {sentence}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
