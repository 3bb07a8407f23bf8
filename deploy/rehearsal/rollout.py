"""``make rehearse-rollout``: a rolling update on one machine, under live streams.

Two gateways as processes behind Envoy, each told to stop and started again in its turn while
streams are spoken through the balancer. Every stream must end with the words of an undisturbed run,
each once, and both gateways must leave with 0 within their grace. Exit code 1 if not.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal
import socket
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import legonn
from legonn_loadtest.load.scenario import SpeechLoad
from legonn_loadtest.load.sources import RATE_HERTZ, Clip, Repertoire, load_clips
from legonn_loadtest.promises import PromiseCheck

TEMPLATE = Path(__file__).with_name("envoy.json")
GRACE_S = 30
CHUNK_S = 0.1


def free_port() -> int:
    """A port that nobody uses now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@dataclass(slots=True)
class Gateway:
    """One gateway process, on a port that it keeps over restarts."""

    backend: str
    max_streams: int
    port: int = field(default_factory=free_port)
    process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        """Start it and wait until it serves."""
        self.process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "legonn_server", "--backend", self.backend,
            "--listen", f"127.0.0.1:{self.port}", "--metrics=", "--http=",
            "--grace-seconds", str(GRACE_S),
            env={**os.environ, "LEGONN_ADMISSION__MAX_STREAMS": str(self.max_streams),
                 "LEGONN_LOG__LEVEL": "WARNING"},
            stdout=asyncio.subprocess.PIPE,
        )  # fmt: skip
        assert self.process.stdout is not None
        line = await asyncio.wait_for(self.process.stdout.readline(), 180)
        if b"is ready" not in line:
            raise SystemExit("a gateway did not start")

    async def stop(self) -> tuple[int, float]:
        """Tell it to stop; its exit code, and the seconds that its drain took."""
        assert self.process is not None
        began = time.monotonic()
        self.process.send_signal(signal.SIGTERM)
        code = await asyncio.wait_for(self.process.wait(), GRACE_S + 30)
        return code, time.monotonic() - began


@asynccontextmanager
async def envoy(gateways: list[Gateway]) -> AsyncIterator[str]:
    """The balancer before the gateways; gives its address."""
    port = free_port()
    text = TEMPLATE.read_text(encoding="utf-8").replace('"@PORT@"', str(port))
    config = json.loads(text)
    endpoints = config["static_resources"]["clusters"][0]["load_assignment"]["endpoints"]
    endpoints[0]["lb_endpoints"] = [
        {"endpoint": {"address": {"socket_address": {
            "address": "127.0.0.1", "port_value": one.port}}}}
        for one in gateways
    ]  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "envoy.json"
        path.write_text(json.dumps(config))
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-c", "from envoy._main import main; main()", "-c", str(path),
            "--log-level", "error", "--concurrency", "1", "--disable-hot-restart",
        )  # fmt: skip
        try:
            await _answers(f"127.0.0.1:{port}")
            yield f"127.0.0.1:{port}"
        finally:
            process.terminate()
            await process.wait()


async def _answers(address: str) -> None:
    async with asyncio.timeout(60), legonn.AsyncClient(address, timeout_s=2.0) as client:
        while True:
            try:
                if await client.health() == "SERVING":
                    return
            except legonn.LegonnError:
                await asyncio.sleep(0.3)


@dataclass(frozen=True, slots=True)
class Heard:
    """What came of one stream.

    Attributes:
        words: Of all finals, in order.
        broken: Promises that were not kept, or why it failed.
        moves: How often it went on elsewhere.
    """

    words: tuple[str, ...]
    broken: tuple[str, ...]
    moves: int


async def speak(address: str, line: Clip, *, delay_s: float = 0.0, is_paced: bool = True) -> Heard:
    """One stream, in real time."""
    await asyncio.sleep(delay_s)
    check, finals, moves = PromiseCheck(), [], 0
    size = round(2 * RATE_HERTZ * CHUNK_S)

    async def chunks() -> AsyncIterator[bytes]:
        began = time.monotonic()
        for number, at in enumerate(range(0, len(line.content), size)):
            if is_paced:
                await asyncio.sleep(max(began + (number + 1) * CHUNK_S - time.monotonic(), 0))
            yield line.content[at : at + size]

    try:
        async with legonn.AsyncClient(address) as client:
            async for event in client.stream(chunks(), sample_rate_hertz=RATE_HERTZ):
                check.see(event)
                if isinstance(event, legonn.Final):
                    finals.append(event.text)
                elif isinstance(event, legonn.Notice):
                    moves += event.kind == "RECOVERED"
    except legonn.LegonnError as error:
        return Heard(_words(finals), (f"failed: {error.reason}: {error.message}",), moves)
    return Heard(_words(finals), check.end(len(line.content) // 2), moves)


def _words(finals: list[str]) -> tuple[str, ...]:
    return tuple(word for text in finals for word in text.split())


def complaints(number: int, heard: Heard, expected: Heard) -> Iterator[str]:
    """What is wrong with a stream, compared with the same audio undisturbed."""
    yield from (f"stream {number}: {one}" for one in heard.broken)
    if heard.words != expected.words:
        yield (
            f"stream {number}: {len(heard.words)} words, undisturbed {len(expected.words)};"
            f" the first {_agreeing(heard.words, expected.words)} agree"
        )


def _agreeing(one: tuple[str, ...], other: tuple[str, ...]) -> int:
    for index, (left, right) in enumerate(zip(one, other, strict=False)):
        if left != right:
            return index
    return min(len(one), len(other))


async def rehearse(num_streams: int, seconds: float, backend: str) -> int:
    """The whole rehearsal; 0 if nothing was lost."""
    if not hasattr(legonn, "RetryPolicy"):
        print("this client cannot take up a session elsewhere; nothing to rehearse")
        return 1
    gateways = [Gateway(backend, 2 * num_streams + 4) for _ in range(2)]
    found: list[str] = []
    try:
        await asyncio.gather(*(one.start() for one in gateways))
        repertoire = Repertoire(load_clips(SpeechLoad()))
        lines = [repertoire.session(number, seconds) for number in range(num_streams)]
        direct = f"127.0.0.1:{gateways[0].port}"
        expected = [await speak(direct, line, is_paced=False) for line in lines]
        async with envoy(gateways) as address:
            talks = [
                asyncio.create_task(speak(address, line, delay_s=0.37 * number))
                for number, line in enumerate(lines)
            ]
            for number, gateway in enumerate(gateways):
                await asyncio.sleep(seconds / 10)
                code, took = await gateway.stop()
                print(f"gateway {number + 1}: drained in {took:.1f} s, exit code {code}")
                if code:
                    found.append(f"gateway {number + 1} ended with {code}")
                await gateway.start()
                await _answers(f"127.0.0.1:{gateway.port}")
            heard = await asyncio.gather(*talks)
    finally:
        for gateway in gateways:
            if gateway.process is not None and gateway.process.returncode is None:
                await gateway.stop()
    for number, (one, other) in enumerate(zip(heard, expected, strict=True)):
        found += complaints(number, one, other)
    words, moves = sum(len(one.words) for one in heard), sum(one.moves for one in heard)
    print(f"{num_streams} streams, {words} words, {moves} moves to the other gateway")
    print("\n".join(found) or "no word lost, none doubled, no promise broken")
    if not moves:
        print("no stream had to move, so nothing was rehearsed: give it more --seconds")
    return 1 if found or not moves else 0


def main() -> int:
    """Run the rehearsal."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--streams", type=int, default=8)
    parser.add_argument("--seconds", type=float, default=60.0, help="of audio in each stream")
    parser.add_argument("--backend", default="fake", choices=("fake", "embedded"))
    options = parser.parse_args()
    return asyncio.run(rehearse(options.streams, options.seconds, options.backend))


if __name__ == "__main__":
    sys.exit(main())
