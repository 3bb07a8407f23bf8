"""What lossy formats cost in words: the same recordings, in each format, through a speech encoder.

    python -m tests.benchmarks.formats OUT.json [--minutes M] [--module NAME/VERSION] FOLDER ...

Each recording is written in each format, read by the gateway's own decoding processes, and heard by
the encoder in chunks as a stream would be. Its words are read off the rows (CTC's best path): the
decoder repairs some of what a format spoils, so what is found is no less than what users see. Word
errors are paired: of each recording, those in the format less those in WAV; the interval resamples
recordings. They are taken in a seeded order until the time is up, and the report is written anew
behind each, so a run may be ended at any moment.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import random
import time
from pathlib import Path

import jiwer
import numpy as np
import soundfile
import soxr

from legonn_core.evaluate.pipeline import speech_rows
from legonn_core.evaluate.reading import read_off
from legonn_core.interface.reference import ModuleRef
from legonn_core.modules.registry import LoadedModule, load_module
from legonn_core.scoring.scores import NORMALIZER, normalized
from legonn_core.scoring.sets import Recording, read_speech_set
from legonn_server.gateway.decoding.decoder import Decoders
from tests.support.process import ROOT
from tests.support.recordings import LOSSY, encoded, webm

REFERENCE = "wav"
RATE = 16_000
LONGEST_SECONDS = 60.0
NUM_RESAMPLES = 2_000
SEED = 12345


def files(samples: np.ndarray, rate: int) -> dict[str, bytes]:
    """The recording in each format; ``samples`` is (N,) in [-1, 1]."""
    found = {
        name: encoded(samples, rate, container, subtype)
        for name, (container, subtype) in {REFERENCE: ("WAV", "PCM_16"), **LOSSY}.items()
    }
    found["webm opus"] = webm(samples, rate)
    found["mu-law"] = encoded(samples, rate, "WAV", "ULAW")
    return found


async def measure(module: LoadedModule, decoders: Decoders, recording: Recording) -> dict:
    """Texts, word errors and bytes of one recording, by format."""
    samples, rate = soundfile.read(recording.path, dtype="float32", always_2d=True)
    contents = files(samples.mean(axis=1), rate)
    reference = normalized(recording.normalized)
    texts = {}
    for name, content in contents.items():
        heard, own_rate = await decoders.whole(content, max_seconds=LONGEST_SECONDS)
        rows = np.concatenate(speech_rows(module, soxr.resample(heard, own_rate, RATE)))
        texts[name] = module.vocabulary.text(read_off(rows))
    return {
        "name": recording.name,
        "seconds": round(len(samples) / rate, 2),
        "words": len(reference.split()),
        "errors": {name: _errors(reference, normalized(one)) for name, one in texts.items()},
        "bytes": {name: len(one) for name, one in contents.items()},
        "texts": texts,
    }


def _errors(reference: str, hypothesis: str) -> int:
    found = jiwer.process_words(reference, hypothesis)
    return found.substitutions + found.deletions + found.insertions


def summary(runs: list[dict]) -> dict[str, dict[str, object]]:
    """WER by format, and how much more than WAV's it is, in points with a 95 % interval."""
    words = np.array([run["words"] for run in runs])
    seconds = sum(run["seconds"] for run in runs)
    draws = np.random.default_rng(SEED).integers(len(runs), size=(NUM_RESAMPLES, len(runs)))
    plain = np.array([run["errors"][REFERENCE] for run in runs])
    found: dict[str, dict[str, object]] = {}
    for name in runs[0]["errors"]:
        errors = np.array([run["errors"][name] for run in runs])
        more = 100 * (errors - plain)[draws].sum(axis=1) / words[draws].sum(axis=1)
        found[name] = {
            "wer": round(100 * float(errors.sum() / words.sum()), 2),
            "more": round(100 * float((errors - plain).sum() / words.sum()), 2),
            "more_interval": [round(float(one), 2) for one in np.percentile(more, [2.5, 97.5])],
            "same_text": sum(run["texts"][name] == run["texts"][REFERENCE] for run in runs),
            "kilobits_a_second": round(sum(run["bytes"][name] for run in runs) / 125 / seconds, 1),
        }
    return found


async def run(arguments: argparse.Namespace) -> None:
    """Measure until the time is up, and write behind each recording."""
    recordings = [one for path in arguments.sets for one in read_speech_set(path).recordings]
    random.Random(SEED).shuffle(recordings)
    module = load_module(ROOT / "modules", ModuleRef.parse(arguments.module))
    decoders, runs = Decoders(), []
    end = time.monotonic() + 60 * arguments.minutes
    try:
        for recording in recordings:
            if time.monotonic() > end:
                break
            runs.append(await measure(module, decoders, recording))
            cores = f"{os.cpu_count()} CPU cores, {platform.machine()}"
            report = {
                "machine": f"{cores}, shared with other work",
                "module": arguments.module,
                "sets": [path.name for path in arguments.sets],
                "recordings": len(runs),
                "words": sum(run["words"] for run in runs),
                "norm": NORMALIZER,
                "formats": summary(runs),
                "runs": runs,
            }
            arguments.out.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    finally:
        await decoders.stop()


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("out", type=Path)
    parser.add_argument("sets", type=Path, nargs="+", metavar="FOLDER")
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--module", default="speech-en/2", metavar="NAME/VERSION")
    asyncio.run(run(parser.parse_args()))


if __name__ == "__main__":
    main()
