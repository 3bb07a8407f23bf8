"""The gateway's own work on one audio message: no network, no engine beyond the fake, CPU time.

``python -m benchmarks.gateway_messages --json FILE``. Streams of beeps in messages of 100 ms go
through everything between the transport's two ends: reading the message, resampling, the session
machine, both pools, the fake backend, and the answers as messages. What gRPC adds is not in it.
"""

from __future__ import annotations

import argparse
import asyncio
import cProfile
import json
import os
import platform
import pstats
import statistics
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path

from legonn.v1 import audio_pb2
from legonn.v1 import speech_service_pb2 as pb
from legonn_loadtest.load.scenario import SpeechLoad
from legonn_loadtest.load.sources import RATE_HERTZ, Repertoire, load_clips
from legonn_server.app import Gateway
from legonn_server.backends.fake import FakeBackend, FakeScript
from legonn_server.config.settings import Settings
from legonn_server.gateway.recognition import Recognition
from legonn_server.routing.admission import AdmissionLimits

CHUNK_BYTES = 2 * RATE_HERTZ // 10


def requests(num_streams: int, seconds: float) -> list[list[pb.StreamingRecognizeRequest]]:
    """The messages of each stream, as the transport would hand them over."""
    repertoire = Repertoire(load_clips(SpeechLoad()))
    config = pb.RecognitionConfig(
        encoding=audio_pb2.AUDIO_ENCODING_LINEAR16,
        sample_rate_hertz=RATE_HERTZ,
        language_code="en",
        interim_results=True,
    )
    streams = []
    for number in range(num_streams):
        content = repertoire.session(number, seconds).content
        chunks = [content[at : at + CHUNK_BYTES] for at in range(0, len(content), CHUNK_BYTES)]
        streams.append(
            [
                pb.StreamingRecognizeRequest(config=config),
                *(
                    pb.StreamingRecognizeRequest(audio=audio_pb2.AudioChunk(content=chunk))
                    for chunk in chunks
                ),
            ]
        )
    return streams


async def once(streams: list[list[pb.StreamingRecognizeRequest]]) -> tuple[float, int]:
    """All streams side by side; CPU seconds and messages written."""
    admission = AdmissionLimits(max_streams=len(streams) + 1)
    backend = FakeBackend(FakeScript(max_slots=len(streams) + 1))
    gateway = Gateway(Settings(admission=admission), backend)
    await gateway.services.modules.start()
    gateway.services.speech_admission.open()
    recognition = Recognition(gateway.services)
    written = 0

    async def messages(
        stream: list[pb.StreamingRecognizeRequest],
    ) -> AsyncIterator[pb.StreamingRecognizeRequest]:
        for message in stream:
            yield message
            await asyncio.sleep(0)

    async def write(message: pb.StreamingRecognizeResponse) -> None:
        nonlocal written
        message.SerializeToString()
        written += 1

    started = time.process_time()
    async with asyncio.TaskGroup() as group:
        for stream in streams:
            group.create_task(recognition.stream(messages(stream), write))
    return time.process_time() - started, written


def main() -> int:
    """Measure, print, keep."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--streams", type=int, default=50)
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--profile", action="store_true", help="print what dominates")
    options = parser.parse_args()
    streams = requests(options.streams, options.seconds)
    num_messages = sum(len(stream) - 1 for stream in streams)
    profile = cProfile.Profile()
    micros = []
    for _ in range(options.repeats):
        if options.profile:
            profile.enable()
        seconds, _ = asyncio.run(once(streams))
        profile.disable()
        micros.append(1e6 * seconds / num_messages)
    print(
        f"{statistics.median(micros):.1f} µs of CPU a message"
        f" ({min(micros):.1f} to {max(micros):.1f}, {num_messages} messages, {len(micros)} times)"
    )
    if options.profile:
        pstats.Stats(profile).sort_stats("tottime").print_stats(30)
    if options.json:
        content = {
            "command": [Path(sys.argv[0]).name, *sys.argv[1:]],
            "machine": {"cores": os.cpu_count(), "python": platform.python_version()},
            "messages": num_messages,
            "micros_a_message": [round(one, 2) for one in micros],
            "median": round(statistics.median(micros), 2),
        }
        options.json.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
