"""The engine process: owns every module, answers one gateway over a socket, one loop, one reader.

Frames are a 4-byte big-endian length and a pickle of ``(request id, payload)``, between a parent
and the child it spawned; nobody else can reach the socket. Each turn of the loop takes what has
arrived, runs one batch of each encoder, then one token step of the decoder: chunks never wait for
sentences.
"""

from __future__ import annotations

import argparse
import logging
import os
import pickle
import queue
import socket
import struct
import threading
import time
from pathlib import Path

import torch

from legonn_core.errors import InternalFault, LegonnError
from legonn_core.interface.reference import ModuleRef
from legonn_core.modules.signatures import add_trust, asked_trust
from legonn_core.runtime.faults import PlacesOnly
from legonn_core.runtime.host import EngineHost
from legonn_core.runtime.loader import Loader

log = logging.getLogger("legonn.engine")

HEADER = struct.Struct(">I")
IDLE_SECONDS = 60.0
"""A slot that nobody feeds for between once and twice this long is taken back."""

Frame = tuple[int, object]


class Channel:
    """Frames over a connected socket; sending is for one thread, receiving for another."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection

    def send(self, request_id: int, payload: object) -> None:
        """Send one frame."""
        body = pickle.dumps((request_id, payload), protocol=pickle.HIGHEST_PROTOCOL)
        self._connection.sendall(HEADER.pack(len(body)) + body)

    def receive(self) -> tuple[int, object] | None:
        """The next frame, or None when the other side is gone."""
        head = self._exactly(HEADER.size)
        if head is None:
            return None
        body = self._exactly(HEADER.unpack(head)[0])
        return None if body is None else pickle.loads(body)

    def _exactly(self, size: int) -> bytes | None:
        parts = bytearray()
        while len(parts) < size:
            part = self._connection.recv(min(size - len(parts), 1 << 20))
            if not part:
                return None
            parts += part
        return bytes(parts)


def _wait(inbox: queue.SimpleQueue[Frame | None], longest_seconds: float) -> list[Frame | None]:
    try:
        return [inbox.get(timeout=longest_seconds)]
    except queue.Empty:
        return []


def serve(channel: Channel, host: EngineHost, *, idle_seconds: float = IDLE_SECONDS) -> None:
    """Answer until the gateway says ``shutdown`` or is gone."""
    inbox: queue.SimpleQueue[Frame | None] = queue.SimpleQueue()
    loader = Loader(host.prepare, lambda *delivered: inbox.put(delivered))
    reaped_at = time.monotonic()

    def read() -> None:
        while True:
            try:
                frame = channel.receive()
            except OSError:
                frame = None
            inbox.put(frame)
            if frame is None:
                return

    threading.Thread(target=read, name="legonn-engine-reader", daemon=True).start()
    while True:
        arrived = [] if host.has_work else _wait(inbox, idle_seconds)
        while not inbox.empty():
            arrived.append(inbox.get())
        for frame in arrived:
            match frame:
                case None | (_, ("shutdown",)):
                    return
                case (int() as request_id, ("load", ModuleRef() as ref)):
                    loader.load(request_id, ref)
                case _:
                    host.accept(*frame)
        # What was delivered would else stay in memory after its unload.
        del arrived[:]
        frame = None
        if time.monotonic() - reaped_at > idle_seconds:
            reaped_at = time.monotonic()
            host.reap()
        for request_id, answer in host.turn():
            channel.send(request_id, answer)


def _load_first_good(host: EngineHost, versions: list[ModuleRef], channel: Channel) -> None:
    """Load the highest version that passes its checks, and say which ones did not.

    Raises:
        LegonnError: What the highest said, when none passes.
    """
    refused: LegonnError | None = None
    for ref in versions:
        began = time.monotonic()
        try:
            host.load(ref)
        except LegonnError as error:
            refused = refused or error
            channel.send(-1, f"{ref} is refused: {error.message}")
        else:
            channel.send(-1, f"{ref} ready in {time.monotonic() - began:.1f} s")
            return
    if refused is not None:
        raise refused


def main() -> None:
    """Entry point of ``python -m legonn_core.runtime.process``."""
    parser = argparse.ArgumentParser(description="legonn's engine; started by the gateway")
    parser.add_argument("--fd", type=int, required=True, help="inherited socket to the gateway")
    parser.add_argument("--modules", type=Path, required=True, help="module store")
    parser.add_argument("--threads", type=int, default=0, help="torch threads; 0: by core count")
    parser.add_argument(
        "--load", metavar="NAME/VERSION", action="append", default=[],
        help="what to load; may be repeated; default the highest good version of each module",
    )  # fmt: skip
    parser.add_argument("--slots", type=int, default=32, help="streams of each speech encoder")
    add_trust(parser)
    arguments = parser.parse_args()
    lines = logging.StreamHandler()
    lines.setFormatter(PlacesOnly("%(levelname)s %(name)s %(message)s"))
    logging.basicConfig(level=logging.INFO, handlers=[lines])
    torch.set_num_threads(arguments.threads or min(2, os.cpu_count() or 1))
    channel = Channel(socket.socket(fileno=arguments.fd))
    asked = [[ModuleRef.parse(text)] for text in arguments.load]
    try:
        host = EngineHost(arguments.modules, slots=arguments.slots, trust=asked_trust(arguments))
        for versions in asked or host.candidates().values():
            _load_first_good(host, versions, channel)
    except LegonnError as error:
        channel.send(0, error)
        return
    except Exception as error:
        log.exception("loading failed")
        channel.send(0, InternalFault(f"a module could not be loaded: {type(error).__name__}"))
        return
    channel.send(0, host.describe())
    try:
        serve(channel, host)
    except (BrokenPipeError, ConnectionResetError):
        log.info("the gateway is gone")


if __name__ == "__main__":
    main()
