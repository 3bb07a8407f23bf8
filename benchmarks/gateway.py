"""How many paced streams one gateway carries on one core: ``make bench-gateway OUT=FILE``.

A real ``legonn serve --backend fake`` on a core of its own, beeps in messages of 100 ms over gRPC,
one generator process (``paced_frames.py``). Every latency counts from the moment at which the audio
was due; the fake answers at once, so all of it is the gateway's and the generator's. Every answer
is checked against the promises of the contract after the run. A run whose generator was late is
reported as such and proves nothing.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import math
import os
import platform
import random
import resource
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.paced_frames import Call, Connection, message_bytes, play
from legonn import _convert, streams
from legonn.v1 import audio_pb2
from legonn.v1 import speech_service_pb2 as pb
from legonn_loadtest.load.scenario import SpeechLoad
from legonn_loadtest.load.server import increase, scrape, serving
from legonn_loadtest.load.sources import RATE_HERTZ, Clip, load_clips
from legonn_loadtest.load.tally import Latencies
from legonn_loadtest.promises import PromiseCheck

METHOD = "/legonn.v1.SpeechService/StreamingRecognize"
CHUNK_MS = 100
SPREAD_S = 1.0
STREAMS_A_CONNECTION = 50
LATE_MS = 5.0
"""A generator whose messages leave later than this (p99) measured itself."""


def messages(clip: Clip, seconds: float) -> list[bytes]:
    """A config and the clip in a loop, in messages of a tenth of a second."""
    config = pb.RecognitionConfig(
        encoding=audio_pb2.AUDIO_ENCODING_LINEAR16,
        sample_rate_hertz=RATE_HERTZ,
        language_code="en",
        interim_results=True,
    )
    size = 2 * RATE_HERTZ * CHUNK_MS // 1000
    number = round(seconds * 1000 / CHUNK_MS)
    line = clip.content * (number * size // len(clip.content) + 1)
    chunks = (line[at * size : (at + 1) * size] for at in range(number))
    whole = [
        pb.StreamingRecognizeRequest(config=config),
        *(pb.StreamingRecognizeRequest(audio=audio_pb2.AudioChunk(content=one)) for one in chunks),
    ]
    return [message_bytes(one.SerializeToString()) for one in whole]


def calls(num_streams: int, seconds: float, *, began: float) -> list[Call]:
    """Streams of random phase: they begin within a second, each somewhere in its recording.

    Streams that are in step would all end their segments in the same tenth of a second, which no
    callers do.
    """
    dice = random.Random(num_streams)
    clips = load_clips(SpeechLoad())
    unit = 2 * RATE_HERTZ // 100
    found = []
    for number in range(num_streams):
        content = clips[number % len(clips)].content
        turn = unit * dice.randrange(len(content) // unit)
        line = Clip(content[turn:] + content[:turn], "")
        start = began + dice.random() * SPREAD_S
        found.append(Call(messages(line, seconds), start, CHUNK_MS / 1000))
    return found


def read(call: Call, latencies: Latencies, *, since: float) -> list[str]:
    """Time the answers of one stream from ``since`` on; returns what was promised and not kept."""
    check = PromiseCheck()
    for at, content in call.answers:
        event = _convert.event(pb.StreamingRecognizeResponse.FromString(content))
        if event is None:
            continue
        check.see(event)
        if isinstance(event, streams.Partial) and at >= since:
            # Message 0 is the config, so the audio up to N periods went with message N.
            number = math.ceil(event.end_s / call.period_s - 1e-6)
            latencies.record("partial", at - (call.start + number * call.period_s))
    num_samples = (len(call.messages) - 1) * RATE_HERTZ * CHUNK_MS // 1000
    return list(check.end(num_samples))


async def once(num_streams: int, options: argparse.Namespace) -> dict[str, Any]:
    """One number of streams."""
    if options.realtime:
        os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(1))
    cpus = [int(one) for one in options.server_cpus.split(",") if one]
    async with serving("fake", max_streams=num_streams + 16, cpus=cpus) as served:
        if options.realtime:
            # Above the server, which began at 1: a generator that waits for it measures itself.
            os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(2))
        began = time.monotonic() + 1.0
        whole = options.warm_up + options.seconds
        every = calls(num_streams, whole, began=began)
        before = await scrape(served.metrics)
        connections = [
            Connection(served.address, METHOD)
            for _ in range(math.ceil(num_streams / STREAMS_A_CONNECTION))
        ]
        used = _cpu_s()
        started = time.monotonic()
        await asyncio.to_thread(play, connections, every, until=began + whole + 20)
        wall = time.monotonic() - started
        used = _cpu_s() - used
        after = await scrape(served.metrics)
    latencies = Latencies()
    broken = [one for call in every for one in read(call, latencies, since=began + options.warm_up)]
    for call in every:
        for late in call.lateness[int(options.warm_up * 1000 / CHUNK_MS) :]:
            latencies.record("send_lateness", late)
    num_messages = sum(call.next_message - 1 for call in every)
    cpu = increase(before, after, "process_cpu_seconds_total")
    lateness = latencies.percentile_ms("send_lateness", 99)
    return {
        "streams": num_streams,
        "messages": num_messages,
        "answers": sum(len(call.answers) for call in every),
        "broken_promises": len(broken),
        "broken": sorted(set(broken))[:5],
        "server_cpu_s": round(cpu, 3),
        "server_micros_a_message": round(1e6 * cpu / num_messages, 1),
        "server_share_of_a_core": round(cpu / whole, 3),
        "generator_share_of_a_core": round(used / wall, 3),
        "latencies_ms": {
            name: {
                f"p{level:g}": round(latencies.percentile_ms(name, level), 2)
                for level in (50.0, 95.0, 99.0, 100.0)
            }
            for name in latencies.names()
        },
        "generator_was_late": lateness > LATE_MS,
    }


def _cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print, keep."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("--streams", type=int, nargs="+", default=[100, 200, 400])
    parser.add_argument("--seconds", type=float, default=15.0, help="measured")
    parser.add_argument("--warm-up", type=float, default=4.0)
    parser.add_argument("--server-cpus", default="", metavar="N,…", help="cores of the server")
    parser.add_argument(
        "--realtime",
        action="store_true",
        help="schedule server and generator before all else (root; on a machine with other work)",
    )
    options = parser.parse_args(arguments)
    results = []
    for number in options.streams:
        results.append(asyncio.run(once(number, options)))
        print(json.dumps(results[-1]), flush=True)
    content = {
        "command": ["python", "-m", "benchmarks.gateway", *sys.argv[1:]],
        "machine": {"cores": os.cpu_count(), "python": platform.python_version()},
        "results": results,
    }
    options.out.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
