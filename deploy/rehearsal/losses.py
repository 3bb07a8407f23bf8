"""``make rehearse-loss``: gateways are killed under live streams, which go on at another one.

Two gateways as processes. In each round streams speak to one of them, in the middle of their audio
it is ended with SIGKILL, and the clients take their sessions up at the other. Rounds go on until so
many streams have moved. Every stream must end with the finals of an undisturbed run: each once,
with the same text and the same samples. Exit code 1 if one does not.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import statistics
import sys
import time
from collections.abc import AsyncIterator
from dataclasses import asdict, dataclass, field
from pathlib import Path

import legonn
from deploy.rehearsal.rollout import Gateway
from legonn_loadtest.load.scenario import SpeechLoad
from legonn_loadtest.load.sources import RATE_HERTZ, Clip, Repertoire, load_clips
from legonn_loadtest.promises import PromiseCheck

CHUNK_S = 0.1
SPEED = 4.0
"""Times real time: the audio is longer than what a gateway holds, and 200 moves take minutes."""

SECONDS = 12.0
AT_ONCE = 10


@dataclass(frozen=True, slots=True)
class Told:
    """One stream as its caller saw it.

    Attributes:
        finals: (index, first sample, last sample, text) of each.
        broken: Promises that were not kept, or why it failed.
        gaps_s: From each loss to the first word of the next server.
    """

    finals: tuple[tuple[int, int, int, str], ...]
    broken: tuple[str, ...]
    gaps_s: tuple[float, ...] = ()


@dataclass(slots=True)
class Result:
    """All rounds.

    Attributes:
        moved: Streams that lost their gateway and went on.
        unmoved: Streams that were not met: they had ended, or not begun.
        lost_finals: Finals of the undisturbed run that did not come.
        other_finals: Finals that came twice or otherwise.
        gaps_s: From each loss to the other gateway's first word.
    """

    rounds: int = 0
    moved: int = 0
    unmoved: int = 0
    lost_finals: int = 0
    other_finals: int = 0
    complaints: list[str] = field(default_factory=list)
    gaps_s: list[float] = field(default_factory=list)

    def add(self, told: Told, expected: Told, *, name: str) -> None:
        """Count one stream."""
        self.moved += bool(told.gaps_s)
        self.unmoved += not told.gaps_s
        self.gaps_s += told.gaps_s
        self.complaints += [f"{name}: {one}" for one in told.broken]
        lost = len(set(expected.finals) - set(told.finals))
        other = len(told.finals) - (len(set(expected.finals)) - lost)
        self.lost_finals += lost
        self.other_finals += other
        if lost or other:
            self.complaints.append(f"{name}: {lost} finals lost, {other} doubled or otherwise")


async def speak(addresses: str, line: Clip, *, speed: float = SPEED) -> Told:
    """One stream from its first sample to its summary."""
    check, finals, gaps, lost_at = PromiseCheck(), [], [], 0.0
    size = round(2 * RATE_HERTZ * CHUNK_S)

    async def chunks() -> AsyncIterator[bytes]:
        for at in range(0, len(line.content), size):
            if speed:
                await asyncio.sleep(CHUNK_S / speed)
            yield line.content[at : at + size]

    broken: tuple[str, ...] = ()
    try:
        async with legonn.AsyncClient(addresses) as client:
            async for event in client.stream(chunks(), sample_rate_hertz=RATE_HERTZ):
                check.see(event)
                match event:
                    case legonn.Final():
                        finals.append(
                            (event.segment_index, event.start_sample, event.end_sample, event.text)
                        )
                    case legonn.Notice(kind="RECONNECTING"):
                        lost_at = time.monotonic()
                    case legonn.Notice(kind="RECOVERED"):
                        gaps.append(time.monotonic() - lost_at)
        broken = check.end(len(line.content) // 2)
    except legonn.LegonnError as error:
        broken = (*check.broken, f"failed: {error.reason}: {error.message}")
    return Told(tuple(finals), broken, tuple(gaps))


async def kill(gateway: Gateway) -> None:
    """End it without a word, as a machine does that is gone."""
    assert gateway.process is not None
    gateway.process.kill()
    await gateway.process.wait()


async def play(num_streams: int, backend: str, seed: int) -> Result:
    """Rounds until so many streams have moved."""
    dice, result = random.Random(seed), Result()
    gateways = [Gateway(backend, 4 * AT_ONCE) for _ in range(2)]
    lines = Repertoire(load_clips(SpeechLoad()))
    sessions = [lines.session(number, SECONDS) for number in range(8)]
    try:
        await asyncio.gather(*(one.start() for one in gateways))
        direct = f"127.0.0.1:{gateways[0].port}"
        expected = [await speak(direct, line, speed=0.0) for line in sessions]
        while result.moved < num_streams:
            victim, other = gateways[result.rounds % 2], gateways[1 - result.rounds % 2]
            addresses = f"127.0.0.1:{victim.port},127.0.0.1:{other.port}"
            chosen = [dice.randrange(len(sessions)) for _ in range(AT_ONCE)]
            talks = [asyncio.create_task(speak(addresses, sessions[one])) for one in chosen]
            await asyncio.sleep(dice.uniform(0.2, 0.9) * SECONDS / SPEED)
            await kill(victim)
            restarting = asyncio.create_task(victim.start())
            for one, told in zip(chosen, await asyncio.gather(*talks), strict=True):
                result.add(told, expected[one], name=f"round {result.rounds}, recording {one}")
            await restarting
            result.rounds += 1
            if result.complaints or result.rounds > 20 + num_streams:
                break
    finally:
        for gateway in gateways:
            if gateway.process is not None and gateway.process.returncode is None:
                await gateway.stop()
    return result


def main() -> int:
    """Run the rehearsal."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--streams", type=int, default=200, help="that must move")
    parser.add_argument("--backend", default="fake", choices=("fake", "embedded"))
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", type=Path, help="keep the result")
    given = parser.parse_args()
    result = asyncio.run(play(given.streams, given.backend, given.seed))
    print(
        f"{result.rounds} gateways killed, {result.moved} streams moved ({result.unmoved} were not"
        f" met); {result.lost_finals} finals lost, {result.other_finals} doubled or otherwise"
    )
    if len(result.gaps_s) > 1:
        cuts = statistics.quantiles(result.gaps_s, n=20)
        print(f"from loss to the other gateway: p50 {cuts[9]:.2f} s, p95 {cuts[18]:.2f} s")
    print("\n".join(result.complaints) or "every stream ended as undisturbed")
    if given.json:
        content = {"backend": given.backend, "seed": given.seed, **asdict(result)}
        given.json.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    return 1 if result.complaints or result.moved < given.streams else 0


if __name__ == "__main__":
    sys.exit(main())
