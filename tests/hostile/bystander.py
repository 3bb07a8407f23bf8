"""Well-behaved live streams: ``python -m tests.hostile.bystander ADDRESS KEY STREAMS SECONDS``.

Each says when a partial came and how long after the last of its audio was due, as ``time delay``.
"""

from __future__ import annotations

import asyncio
import sys
import time

import grpc
import numpy as np

from legonn.v1 import speech_service_pb2_grpc
from tests.support.gateway import audio, first, linear16, silence, tone

CHUNK_S = 0.1


def talk() -> list[bytes]:
    """Speech with pauses, as chunks of LINEAR16 at 16 kHz."""
    parts = [tone(2.0), silence(1.0), tone(3.0, level=0.6), silence(1.0), tone(2.0, level=0.8)]
    content = linear16(np.concatenate(parts))
    size = round(CHUNK_S * 32_000)
    return [content[at : at + size] for at in range(0, len(content), size)]


async def one_stream(stub: object, key: str, *, delay_s: float) -> None:
    """Speak in real time and listen; begin late, so that streams are out of step."""
    await asyncio.sleep(delay_s)
    call = stub.StreamingRecognize(metadata=(("authorization", f"Bearer {key}"),))
    await call.write(first(interim_results=True))
    begun = time.monotonic()

    async def speak() -> None:
        for number, chunk in enumerate(talk(), 1):
            await asyncio.sleep(max(0.0, begun + number * CHUNK_S - time.monotonic()))
            await call.write(audio(chunk))
        await call.done_writing()

    speaking = asyncio.create_task(speak())
    while (answer := await call.read()) is not grpc.aio.EOF:
        if answer.HasField("partial"):
            heard_s = answer.partial.end_offset.ToMicroseconds() / 1e6
            # The chunk that completed it was due when its last sample was spoken.
            due = begun + np.ceil(heard_s / CHUNK_S - 1e-6) * CHUNK_S
            now = time.monotonic()
            print(f"{now:.6f} {now - due:.6f}", flush=True)
    await speaking


async def main(address: str, key: str, streams: int, seconds: float) -> None:
    """Speak on ``streams`` streams at once until the time is over."""
    end = time.monotonic() + seconds
    async with grpc.aio.insecure_channel(address) as channel:
        stub = speech_service_pb2_grpc.SpeechServiceStub(channel)
        number = 0

        async def speak_on(delay_s: float) -> None:
            nonlocal number
            while time.monotonic() < end:
                await one_stream(stub, key, delay_s=delay_s)
                number += 1

        async with asyncio.TaskGroup() as group:
            for index in range(streams):
                group.create_task(speak_on(index * CHUNK_S / streams))
    print(f"done {number}", flush=True)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3]), float(sys.argv[4])))
