"""A process that forks a reader for each file.

Started as ``python -m legonn_server.gateway.decoding.nursery``. It has FFmpeg loaded and nothing
else to lose, so a fork costs milliseconds and shares its memory. The gateway sends one end of a
socket for each file over standard input, and closes it to end this.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import sys

from legonn_server.gateway.decoding.reader import read_file


def main() -> int:
    """Fork until the gateway is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal's Ctrl-C is for the gateway
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody asks how a reader ended
    control = socket.socket(fileno=os.dup(0))
    control.sendall(b"r")
    while True:
        asked, files, _, _ = socket.recv_fds(control, 1, 1)
        if not asked:
            return 0
        for descriptor in files:
            if os.fork() == 0:
                control.close()
                with socket.socket(fileno=descriptor) as channel, contextlib.suppress(OSError):
                    read_file(channel)
                os._exit(0)
            os.close(descriptor)


if __name__ == "__main__":
    sys.exit(main())
