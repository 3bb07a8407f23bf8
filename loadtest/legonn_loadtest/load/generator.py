"""One generator process: reads its job from standard input, plays its share, writes what it saw.

Started by ``driver.py``. All processes of a run begin at the same moment of the machine's monotonic
clock.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from dataclasses import dataclass

import legonn
from legonn_loadtest.load import scenario as scenarios
from legonn_loadtest.load.scenario import Scenario
from legonn_loadtest.load.sources import Repertoire, Sentence, load_clips, load_sentences
from legonn_loadtest.load.speech_user import SpeechUser
from legonn_loadtest.load.tally import Tally
from legonn_loadtest.load.traffic import TextPlan, is_measured, plan

STREAMS_A_CONNECTION = 50
"""HTTP/2 connections are shared, but not by so many that one TCP window is the bottleneck."""


@dataclass(frozen=True, slots=True)
class Job:
    """What one process does.

    Attributes:
        addresses: Servers; streams are dealt out in turn.
        process: Which share of the traffic.
        began: Monotonic time at which the run begins.
    """

    scenario: Scenario
    addresses: tuple[str, ...]
    process: int
    began: float


async def play(job: Job) -> Tally:
    """Play one share of the traffic."""
    traffic = plan(job.scenario, process=job.process)
    repertoire = Repertoire(load_clips(job.scenario.speech) if traffic.streams else ())
    sentences = load_sentences(job.scenario.text) if traffic.texts else ()
    tally = Tally()
    clients = _connections(job, len(traffic.streams))
    try:
        async with asyncio.TaskGroup() as group:
            for number, one in enumerate(traffic.streams):
                line = repertoire.session(one.number, one.seconds)
                user = SpeechUser(job.scenario, one, line, tally, began=job.began)
                group.create_task(user.speak(clients[number % len(clients)]))
            for number, text in enumerate(traffic.texts):
                sentence = sentences[text.number % len(sentences)]
                client = clients[number % len(clients)]
                group.create_task(_translate(client, job, text, sentence, tally))
    finally:
        for client in clients:
            await client.close()
    return tally


def _connections(job: Job, num_streams: int) -> list[legonn.AsyncClient]:
    count = max(num_streams // STREAMS_A_CONNECTION, len(job.addresses), 2)
    return [legonn.AsyncClient(job.addresses[n % len(job.addresses)]) for n in range(count)]


async def _translate(
    client: legonn.AsyncClient, job: Job, text: TextPlan, sentence: Sentence, tally: Tally
) -> None:
    due = job.began + text.start_s
    await asyncio.sleep(max(due - time.monotonic(), 0.0))
    tally.counts["texts"] += 1
    try:
        answer = await client.translate(sentence.source, source=job.scenario.text.language)
    except legonn.LegonnError as error:
        tally.counts["failed"] += 1
        tally.counts[f"failed:{error.reason}"] += 1
        return
    took = time.monotonic() - due
    measured = is_measured(job.scenario, text.start_s)
    tally.latency("translation", took, at_s=text.start_s, is_measured=measured)
    if sentence.reference:
        tally.translated.append((sentence.reference, answer))


def main() -> int:
    """Run one job."""
    given = json.loads(sys.stdin.read())
    job = Job(
        scenarios.parse(given["scenario"]),
        tuple(given["addresses"]),
        given["process"],
        given["began"],
    )
    used = time.process_time()
    tally = asyncio.run(play(job))
    result = {**tally.as_json(), "cpu_seconds": time.process_time() - used}
    sys.stdout.write(json.dumps(result))
    return 0


if __name__ == "__main__":
    sys.exit(main())
