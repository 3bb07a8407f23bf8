"""Start, watch and stop a Triton server out of the wheel nvidia-pytriton (Linux, x86-64).

The wheel is a carrier of binaries; its Python package is never imported. ``make triton`` and the
tests use this; in a cluster the container does it. What is not obvious here was measured:

* The stub that runs a model embeds an isolated interpreter. ``PYTHONPATH`` is ignored; the first
  ``python3`` on ``PATH`` decides which packages it finds, ``LD_LIBRARY_PATH`` which libpython.
* Triton never restarts a stub that died, and goes on saying READY. ``dead_stubs`` sees zombies.
* Stubs outlive a server that is killed, and their shared memory stays. The server gets a session of
  its own, so that all of it can be found and removed.
* A server with an open decoupled stream does not stop on SIGTERM: SIGKILL follows.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import sysconfig
import time
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path

HOST = "127.0.0.1"
STUB = "triton_python_backend_stub"
SHARED_MEMORY = Path("/dev/shm")


class LaunchError(Exception):
    """The server cannot be started; the message says why and what to do."""


@dataclass(frozen=True, slots=True)
class Ports:
    """Where a server listens, all on loopback."""

    grpc: int = 8001
    http: int = 8000
    metrics: int = 8002

    @classmethod
    def free(cls) -> Ports:
        """Three that nobody uses now."""
        with contextlib.ExitStack() as stack:
            found = []
            for _ in range(3):
                sock = stack.enter_context(socket.socket())
                sock.bind((HOST, 0))
                found.append(sock.getsockname()[1])
        return cls(*found)


@dataclass(frozen=True, slots=True)
class Stub:
    """One model process of a server.

    Attributes:
        pid: Its process.
        is_dead: A zombie: its model says READY and answers nothing.
        model: Path of its ``model.py``; empty for a zombie.
    """

    pid: int
    is_dead: bool
    model: str


@dataclass(slots=True)
class TritonServer:
    """One server process and its stubs.

    Attributes:
        wheel: Folder into which nvidia-pytriton was installed.
        repository: Model repository.
        scratch: Folder for links and the log.
        ports: Where it listens.
    """

    wheel: Path
    repository: Path
    scratch: Path
    ports: Ports = field(default_factory=Ports)
    _process: subprocess.Popen[bytes] | None = None

    @property
    def address(self) -> str:
        """``HOST:PORT`` of gRPC."""
        return f"{HOST}:{self.ports.grpc}"

    @property
    def metrics_address(self) -> str:
        """URL of the server's own metrics."""
        return f"http://{HOST}:{self.ports.metrics}/metrics"

    @property
    def log(self) -> Path:
        """What the server and its stubs wrote."""
        return self.scratch / "triton.log"

    @property
    def pid(self) -> int:
        """The server's process."""
        assert self._process is not None, "not started"
        return self._process.pid

    @property
    def is_running(self) -> bool:
        """Whether the server's process lives; its stubs may be dead all the same."""
        return self._process is not None and self._process.poll() is None

    def start(self, *, timeout_s: float = 60.0) -> None:
        """Start the server without models; gateways load what they want.

        Raises:
            LaunchError: If it does not come up.
        """
        backends = self._link_backend()
        self._remove_shared_memory()
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                self._command(backends),
                env=self._environment(),
                stdout=log,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                start_new_session=True,
            )
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            if not self.is_running:
                raise LaunchError(f"the Triton server ended at once; its log is {self.log}")
            with contextlib.suppress(OSError):
                ready = f"http://{HOST}:{self.ports.http}/v2/health/ready"
                with urllib.request.urlopen(ready, timeout=1):
                    return
            time.sleep(0.05)
        self.kill()
        raise LaunchError(f"the Triton server is not ready; its log is {self.log}")

    def stop(self, *, timeout_s: float = 12.0) -> None:
        """Ask the server to end, wait, and kill what is left."""
        if self.is_running:
            assert self._process is not None
            self._process.send_signal(signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(timeout_s)
        self.kill()

    def kill(self) -> None:
        """End the server and its stubs at once, and remove their shared memory."""
        if self._process is None:
            return
        stubs = self.stubs()
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()
        for stub in stubs:
            with contextlib.suppress(ProcessLookupError):
                os.kill(stub.pid, signal.SIGKILL)
        self._remove_shared_memory()

    def stubs(self) -> list[Stub]:
        """The model processes of this server, found by its session."""
        found = []
        for entry in Path("/proc").iterdir():
            if not entry.name.isdigit():
                continue
            try:
                if os.getsid(int(entry.name)) != self.pid or int(entry.name) == self.pid:
                    continue
                name, _, rest = (entry / "stat").read_text().rpartition(")")
                words = (entry / "cmdline").read_bytes().split(b"\0")
            except (OSError, ValueError):  # gone meanwhile
                continue
            if STUB[:15] in name:
                model = words[1].decode() if len(words) > 1 else ""
                found.append(Stub(int(entry.name), rest.split()[0] == "Z", model))
        return found

    def dead_stubs(self) -> list[Stub]:
        """Model processes that died; only a restart of the server brings them back for good."""
        return [stub for stub in self.stubs() if stub.is_dead]

    def shared_memory(self) -> list[str]:
        """Regions that belong to this server."""
        return sorted(path.name for path in SHARED_MEMORY.glob(f"{self._prefix}*"))

    @property
    def _prefix(self) -> str:
        return f"legonn-triton-{self.ports.grpc}-"

    def _remove_shared_memory(self) -> None:
        for name in self.shared_memory():
            (SHARED_MEMORY / name).unlink(missing_ok=True)

    def _link_backend(self) -> Path:
        """A backend folder with the stub of this Python, which the wheel keeps elsewhere."""
        root = self.wheel / "pytriton/tritonserver"
        python = f"{sys.version_info.major}.{sys.version_info.minor}"
        folder = self.scratch / "backends/python"
        folder.mkdir(parents=True, exist_ok=True)
        for source in (
            root / "backends/python/libtriton_python.so",
            root / "backends/python/triton_python_backend_utils.py",
            root / "python_backend_stubs" / python / STUB,
        ):
            if not source.exists():
                raise LaunchError(f"no Triton server for Python {python} in {self.wheel}")
            (folder / source.name).unlink(missing_ok=True)
            (folder / source.name).symlink_to(source.resolve())
        return folder.parent

    def _environment(self) -> dict[str, str]:
        libraries = (self.wheel / "nvidia_pytriton.libs", sysconfig.get_config_var("LIBDIR"))
        return {
            **{k: v for k, v in os.environ.items() if k not in ("PYTHONHOME", "PYTHONPATH")},
            "PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin",
            "LD_LIBRARY_PATH": ":".join(map(str, libraries)),
            "OMP_NUM_THREADS": "1",
        }

    def _command(self, backends: Path) -> list[str]:
        flags = {
            "model-repository": self.repository,
            "model-control-mode": "explicit",
            "model-load-thread-count": 1,
            "backend-directory": backends,
            "allow-gpu-metrics": "false",
            "exit-timeout-secs": 10,
            "grpc-keepalive-time": 10_000,
            "grpc-keepalive-timeout": 5_000,
            "grpc-keepalive-permit-without-calls": "true",
            "grpc-http2-max-pings-without-data": 0,
            "grpc-http2-min-recv-ping-interval-without-data": 5_000,
        }
        for protocol in ("grpc", "http", "metrics"):  # all three default to 0.0.0.0
            flags[f"{protocol}-address"] = HOST
            flags[f"{protocol}-port"] = getattr(self.ports, protocol)
        python = {
            "shm-default-byte-size": 1 << 20,
            "shm-growth-byte-size": 1 << 20,
            "shm-region-prefix-name": self._prefix,
            "stub-timeout-seconds": 300,
        }
        return [
            str(self.wheel / "pytriton/tritonserver/bin/tritonserver"),
            "--disable-auto-complete-config",  # else every stub is started twice
            *(f"--{name}={value}" for name, value in flags.items()),
            *(f"--backend-config=python,{name}={value}" for name, value in python.items()),
        ]
