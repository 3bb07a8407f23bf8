"""What lossy formats cost in words: the same recordings through the server in each of them.

    python -m tests.benchmarks.formats OUT.json [--minutes M] FOLDER ...

Each recording goes to ``Recognize`` of a server with the shipped modules as WAV, and in each lossy
format as its file is. Word errors are paired: of each recording, those in the format less those in
WAV. The interval resamples recordings. Recordings are taken in a seeded order until the time is
up, and the report is written anew behind each, so a run may be ended at any moment.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import random
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
import jiwer
import numpy as np
import soundfile

from legonn.v1 import audio_pb2, speech_service_pb2_grpc
from legonn.v1 import speech_service_pb2 as pb
from legonn_core.scoring.scores import NORMALIZER, normalized
from legonn_core.scoring.sets import Recording, read_speech_set
from tests.support.process import ServerProcess
from tests.support.recordings import ENCODINGS, LOSSY, encoded, webm

REFERENCE = "wav"
NUM_RESAMPLES = 2_000
SEED = 12345
DEADLINE_SECONDS = 1_800.0
PATIENT = {"LEGONN_LIMITS__UNARY_SECONDS": f"{DEADLINE_SECONDS:g}"}
"""On a machine with other work, six decodes at once may outlast the usual deadline of a call."""

Errors = dict[str, int]
"""Word errors by format, of one recording."""


def requests(samples: np.ndarray, rate: int) -> dict[str, pb.RecognizeRequest]:
    """The recording in each format; ``samples`` is (N,) in [-1, 1]."""

    def request(encoding: int, audio: bytes, rate: int = 0) -> pb.RecognizeRequest:
        config = pb.RecognitionConfig(encoding=encoding, sample_rate_hertz=rate, language_code="en")
        return pb.RecognizeRequest(config=config, audio=audio)

    found = {
        name: request(ENCODINGS[container], encoded(samples, rate, container, subtype))
        for name, (container, subtype) in {REFERENCE: ("WAV", "PCM_16"), **LOSSY}.items()
    }
    found["webm opus"] = request(ENCODINGS["WEBM"], webm(samples, rate))
    mulaw = encoded(samples, rate, "RAW", "ULAW")
    found["mu-law"] = request(audio_pb2.AUDIO_ENCODING_MULAW, mulaw, rate)
    return found


def measure(stub: speech_service_pb2_grpc.SpeechServiceStub, recording: Recording) -> dict:
    """Texts, word errors and bytes of one recording, by format; all formats at once."""
    samples, rate = soundfile.read(recording.path, dtype="float32", always_2d=True)
    asked = requests(samples.mean(axis=1), rate)

    def text(request: pb.RecognizeRequest) -> str:
        answer = stub.Recognize(request, timeout=DEADLINE_SECONDS)
        return " ".join(one.alternatives[0].text for one in answer.segments)

    with ThreadPoolExecutor(len(asked)) as threads:
        texts = dict(zip(asked, threads.map(text, asked.values()), strict=True))
    reference = normalized(recording.normalized)
    return {
        "name": recording.name,
        "seconds": round(len(samples) / rate, 2),
        "words": len(reference.split()),
        "errors": {name: _errors(reference, normalized(one)) for name, one in texts.items()},
        "bytes": {name: len(one.audio) for name, one in asked.items()},
        "texts": texts,
    }


def _errors(reference: str, hypothesis: str) -> int:
    found = jiwer.process_words(reference, hypothesis)
    return found.substitutions + found.deletions + found.insertions


def summary(runs: list[dict]) -> dict[str, dict[str, object]]:
    """WER by format, and how much more than WAV's it is, in points with a 95 % interval."""
    words = np.array([run["words"] for run in runs])
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
            "kilobits_a_second": round(
                sum(run["bytes"][name] for run in runs) / 125 / sum(run["seconds"] for run in runs),
                1,
            ),
        }
    return found


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("out", type=Path)
    parser.add_argument("sets", type=Path, nargs="+", metavar="FOLDER")
    parser.add_argument("--minutes", type=float, default=30.0)
    arguments = parser.parse_args()
    recordings = [one for path in arguments.sets for one in read_speech_set(path).recordings]
    random.Random(SEED).shuffle(recordings)
    runs: list[dict] = []
    with (
        ServerProcess("embedded", **PATIENT) as server,
        grpc.insecure_channel(server.address) as channel,
    ):
        stub = speech_service_pb2_grpc.SpeechServiceStub(channel)
        end = time.monotonic() + 60 * arguments.minutes
        for recording in recordings:
            if time.monotonic() > end:
                break
            runs.append(measure(stub, recording))
            cores = f"{os.cpu_count()} CPU cores, {platform.machine()}"
            report = {
                "machine": f"{cores}, shared with other work",
                "sets": [path.name for path in arguments.sets],
                "recordings": len(runs),
                "words": sum(run["words"] for run in runs),
                "norm": NORMALIZER,
                "formats": summary(runs),
                "runs": runs,
            }
            arguments.out.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
