"""`legonn serve` as a child, on ports that stay the same when it is killed and started again."""

from __future__ import annotations

import os
import random
import re
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
READY = re.compile(r"legonn is ready at (\S+:\d+)")
START_SECONDS = 900


def free_port() -> int:
    """A port that nobody has at this moment, below those that the kernel gives to callers.

    One of theirs was taken now and then by somebody's connection before the server had it.
    """
    while True:
        port = random.randrange(15_000, 32_000)
        try:
            with socket.create_server(("127.0.0.1", port)):
                return port
        except OSError:
            continue


class ServerProcess:
    """One server.

    Args:
        backend: ``fake`` or ``embedded``.
        environment: More settings.

    Attributes:
        address: Of gRPC.
        page: URL of the captions page.
    """

    def __init__(self, backend: str = "fake", **environment: str) -> None:
        self._backend = backend
        self._environment = environment
        self.http_port = free_port()
        self.address = f"127.0.0.1:{free_port()}"
        self.page = f"http://127.0.0.1:{self.http_port}/"
        self.lines: list[str] = []
        self._process: subprocess.Popen[str] | None = None

    def __enter__(self) -> ServerProcess:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.end(signal.SIGTERM)

    def start(self) -> None:
        """Start it and wait until it serves."""
        path = os.pathsep.join(str(ROOT / one) for one in (".", "server", "protos/python"))
        command = [sys.executable, "-m", "legonn_server", "--backend", self._backend]
        command += ["--listen", self.address, "--http", f"127.0.0.1:{self.http_port}"]
        self._process = subprocess.Popen(
            [*command, "--metrics", "", "--grace-seconds", "2"],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": path, **self._environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.lines.clear()
        is_settled = threading.Event()
        threading.Thread(target=self._read, args=(self._process, is_settled), daemon=True).start()
        assert is_settled.wait(START_SECONDS), self.lines[-20:]
        assert READY.search("\n".join(self.lines)), self.lines[-20:]

    def _read(self, process: subprocess.Popen[str], is_settled: threading.Event) -> None:
        assert process.stdout is not None
        with process.stdout:
            for line in process.stdout:
                self.lines.append(line.rstrip())
                if READY.search(line):
                    is_settled.set()
        is_settled.set()

    def end(self, number: signal.Signals) -> None:
        """Send it a signal and wait until it is gone; SIGKILL is a crash."""
        if self._process is None:
            return
        self._process.send_signal(number)
        self._process.wait(30)
        self._process = None
