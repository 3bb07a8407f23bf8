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
from legonn_core.runtime.host import EngineHost

log = logging.getLogger("legonn.engine")

HEADER = struct.Struct(">I")


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


def serve(channel: Channel, host: EngineHost) -> None:
    """Answer until the gateway says ``shutdown`` or is gone."""
    inbox: queue.SimpleQueue[tuple[int, object] | None] = queue.SimpleQueue()

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
        arrived = [] if host.has_work else [inbox.get()]
        while not inbox.empty():
            arrived.append(inbox.get())
        for frame in arrived:
            if frame is None or frame[1] == ("shutdown",):
                return
            host.accept(*frame)
        for request_id, answer in host.turn():
            channel.send(request_id, answer)


def main() -> None:
    """Entry point of ``python -m legonn_core.runtime.process``."""
    parser = argparse.ArgumentParser(description="legonn's engine; started by the gateway")
    parser.add_argument("--fd", type=int, required=True, help="inherited socket to the gateway")
    parser.add_argument("--modules", type=Path, required=True, help="module store")
    parser.add_argument("--threads", type=int, default=0, help="torch threads; 0: by core count")
    parser.add_argument("--slots", type=int, default=32, help="streams of each speech encoder")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s %(message)s")
    torch.set_num_threads(arguments.threads or min(2, os.cpu_count() or 1))
    channel = Channel(socket.socket(fileno=arguments.fd))
    host = EngineHost(arguments.modules, slots=arguments.slots)
    try:
        for ref in host.newest():
            began = time.monotonic()
            host.load(ref)
            channel.send(-1, f"{ref} ready in {time.monotonic() - began:.1f} s")
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
