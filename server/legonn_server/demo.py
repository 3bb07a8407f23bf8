"""What ``make demo`` shows: a server, a live caption, two translations, and a clean goodbye.

Everything goes through the same commands that a user types, in processes of their own, so that a
demo that works is a product that works. It must not know how server or client do it.
"""

from __future__ import annotations

import re
import shlex
import signal
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable
from functools import partial
from pathlib import Path

CLIP = Path("tests/data/jfk.flac")
GERMAN = "Ich habe heute keine Zeit. Wo ist der Bahnhof?"
ROMANIAN = "Tom spune că va aștepta. Nu cred că ai dreptate."

READY = re.compile(r"legonn is ready at (\S+:\d+)")
START_SECONDS = 120  # torch from a cold disk and the first run of every module
STOP_SECONDS = 30
COMMAND_SECONDS = 120
SHELL = "import sys; from legonn.cli import main; sys.exit(main())"


class DemoFailed(Exception):
    """A step did not do what it shows."""


class Server:
    """``legonn serve`` as a child, on a port that the kernel chooses."""

    def __init__(self) -> None:
        self.last_lines: deque[str] = deque(maxlen=40)
        self._address = ""
        self._settled = threading.Event()
        self._process = subprocess.Popen(
            [sys.executable, "-m", "legonn_server", "--listen", "127.0.0.1:0", "--http", ""],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        # Reads to the end: a child whose pipe nobody empties stops at its next line.
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self.last_lines.append(line.rstrip())
            if not self._settled.is_set() and (found := READY.search(line)):
                self._address = found[1]
                self._settled.set()
        self._settled.set()

    def address(self) -> str:
        """Wait until the server says where it listens.

        Raises:
            DemoFailed: If it ends, or says nothing in time.
        """
        if not self._settled.wait(START_SECONDS):
            raise DemoFailed(f"the server was not ready after {START_SECONDS} s")
        if not self._address:
            raise DemoFailed("the server ended before it was ready")
        return self._address

    def stop(self) -> None:
        """Ask it to drain and leave.

        Raises:
            DemoFailed: If it was gone already, does not leave, or leaves with an error.
        """
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
        try:
            code = self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
            raise DemoFailed(f"the server was still there after {STOP_SECONDS} s") from None
        finally:
            self._reader.join(STOP_SECONDS)
        if code != 0:
            raise DemoFailed(f"the server left with status {code}")


def legonn(*arguments: str, address: str) -> None:
    """Run one command line of the client and show it.

    Raises:
        DemoFailed: If it fails or does not end.
    """
    print(f"\n$ legonn {shlex.join(arguments)}", flush=True)
    command = [sys.executable, "-c", SHELL, *arguments, "--address", address]
    try:
        code = subprocess.run(command, timeout=COMMAND_SECONDS, check=False).returncode
    except subprocess.TimeoutExpired:
        raise DemoFailed(f"legonn {arguments[0]} took over {COMMAND_SECONDS} s") from None
    if code != 0:
        raise DemoFailed(f"legonn {arguments[0]} ended with status {code}")


def show(server: Server) -> None:
    """The three steps.

    Raises:
        DemoFailed: With the first step that fails.
    """
    address = server.address()
    print(f"ready at {address}", flush=True)
    legonn("transcribe", "--live", str(CLIP), address=address)
    legonn("translate", "--from", "de", GERMAN, address=address)
    legonn("translate", "--from", "ro", ROMANIAN, address=address)


def main() -> int:
    """Run the demo; 0 if every step worked."""
    if not CLIP.is_file():
        print(f"demo: {CLIP} is not here: run it in the root of the repository", file=sys.stderr)
        return 2
    print("$ legonn serve --listen 127.0.0.1:0", flush=True)
    server = Server()
    failures: list[str] = []
    steps: tuple[Callable[[], None], ...] = (partial(show, server), server.stop)
    for step in steps:
        try:
            step()
        except DemoFailed as failure:
            failures.append(str(failure))
    if failures:
        print("\ndemo failed: " + "; ".join(failures), file=sys.stderr)
        print("the server's last lines:", *server.last_lines, sep="\n  ", file=sys.stderr)
        return 1
    print("\nThe server drained and left. One decoder wrote all of it.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
