"""An engine process without torch: the fake behind the embedded backend's protocol.

Run as a program with ``--fd N``; what it should do wrong is said by more arguments.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import pickle
import socket
import sys
from pathlib import Path

from legonn_core.errors import BadModule, LegonnError
from legonn_core.runtime.messages import DecodeJob, EncodeStep, EncodeText
from legonn_server.backends.fake import FakeBackend, FakeScript, fake_modules


async def answer(backend: FakeBackend, payload: object) -> object:
    """What the fake says, or the error that it raises."""
    try:
        match payload:
            case EncodeStep():
                return await backend.step(payload)
            case EncodeText():
                if "die" in payload.text:
                    os._exit(3)
                return await backend.encode_text(payload)
            case DecodeJob():
                return await backend.decode(payload)
            case (str() as method, *arguments):
                return await getattr(backend, method)(*arguments)
    except LegonnError as error:
        return error
    raise AssertionError(payload)


async def serve(channel: socket.socket, latency_s: float, wanted: list[str]) -> None:
    """Answer until the parent is gone or says so."""
    reader, writer = await asyncio.open_connection(sock=channel)
    backend = FakeBackend(FakeScript(latency_s=latency_s))

    def send(request_id: int, result: object) -> None:
        content = pickle.dumps((request_id, result))
        writer.write(len(content).to_bytes(4, "big") + content)

    async def work(request_id: int, payload: object) -> None:
        send(request_id, await answer(backend, payload))

    send(-1, "loading the fake")
    for one in fake_modules():
        if wanted and str(one.ref) not in wanted:
            await backend.unload(one.ref)
    send(0, await backend.describe())
    async with asyncio.TaskGroup() as group:
        while True:
            try:
                length = int.from_bytes(await reader.readexactly(4), "big")
                request_id, payload = pickle.loads(await reader.readexactly(length))
            except (asyncio.IncompleteReadError, ConnectionError):
                os._exit(0)
            if payload == ("shutdown",):
                os._exit(0)
            if isinstance(payload, tuple) and payload[0] == "cancel":
                continue
            group.create_task(work(request_id, payload))


def main() -> None:
    """Read the arguments and serve."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--fd", type=int, required=True)
    parser.add_argument("--latency", type=float, default=0.0)
    parser.add_argument(
        "--refuse", action="store_true", help="announce an error in place of modules"
    )
    parser.add_argument("--die", action="store_true", help="die before anything is said")
    parser.add_argument("--pid-file", type=Path)
    parser.add_argument("--load", action="append", default=[], help="serve these alone")
    args = parser.parse_args()
    if args.pid_file:
        args.pid_file.write_text(str(os.getpid()))
    channel = socket.socket(fileno=args.fd)
    if args.die:
        sys.exit(1)
    if args.refuse:
        content = pickle.dumps((0, BadModule("the weights of decoder-en/1 are damaged")))
        channel.sendall(len(content).to_bytes(4, "big") + content)
        sys.exit(1)
    asyncio.run(serve(channel, args.latency, args.load))


if __name__ == "__main__":
    main()
