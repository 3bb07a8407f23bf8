"""Attacks one after another beside live streams: ``python -m tests.hostile.run OUT [SECONDS]``.

Says of each attack what it did, how much later partials of the well-behaved streams came than in
the quiet time around it, and whether the server was alive and clean afterwards. Ends with 1 if it
was not; delays are reported, since a machine shared with others is no place to fail on them.
"""

from __future__ import annotations

import json
import os
import platform
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path

from legonn_server.access.table import find_key, parse
from tests.hostile.attacks import ADMIN, ATTACKER, ATTACKS, GREEDY
from tests.support.access import Signer, key_entry
from tests.support.process import free_port

BYSTANDER = "lk_bystander"
STREAMS = 4
SETTLE_S, WARM_S = 3.0, 6.0
BOUND = 1.5
READY = re.compile(r"legonn is ready at (\S+:\d+)")
QUOTAS = """
[tenants.attacker]
max_streams = 4

[tenants.greedy]
max_streams = 4
audio_seconds_per_minute = 240
"""


@dataclass
class Server:
    """``legonn serve`` with the fake backend, so that what is measured is the gateway alone."""

    folder: Path
    rpc: str = field(default_factory=lambda: f"127.0.0.1:{free_port()}")
    web: str = field(default_factory=lambda: f"127.0.0.1:{free_port()}")
    metrics: str = field(default_factory=lambda: f"127.0.0.1:{free_port()}")

    def start(self) -> None:
        """Start it and wait until it serves."""
        access = self.folder / "access.toml"
        signer = Signer(self.folder)
        access.write_text(
            key_entry(BYSTANDER, "bystander", "speech")
            + key_entry(ATTACKER, "attacker", "speech", "translate")
            + key_entry(GREEDY, "greedy", "speech")
            + key_entry(ADMIN, "ops", "admin")
            + signer.entry
            + QUOTAS
        )
        command = [sys.executable, "-m", "legonn_server", "--backend", "fake", "--listen", self.rpc]
        command += ["--http", self.web, "--metrics", self.metrics, "--access", str(access)]
        self.log = (self.folder / "server.log").open("w+")
        self.process = subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=self.log,
            text=True,
            env={**os.environ, "LEGONN_ACCESS__OPEN_METRICS": "true", "LEGONN_LOG__LEVEL": "ERROR"},
        )
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert READY.search(line), line

    def numbers(self) -> dict[str, float]:
        """What /metrics says, summed over labels."""
        with urllib.request.urlopen(f"http://{self.metrics}/metrics", timeout=30) as answer:
            found: dict[str, float] = {}
            for line in answer.read().decode().splitlines():
                if not line.startswith("#"):
                    name, value = line.rsplit(" ", 1)
                    plain = name.partition("{")[0]
                    found[plain] = found.get(plain, 0.0) + float(value)
                    if plain == "legonn_errors_total":
                        found[name] = float(value)
            return found

    def stop(self) -> int:
        """Ask it to leave; gives its exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(60)


class Bystanders:
    """The well-behaved streams, whose delays are kept with the time."""

    def __init__(self, server: Server, seconds: float) -> None:
        command = [sys.executable, "-m", "tests.hostile.bystander", server.rpc, BYSTANDER]
        self._process = subprocess.Popen(
            [*command, str(STREAMS), str(seconds)], stdout=subprocess.PIPE, text=True
        )
        self._delays: list[tuple[float, float]] = []
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if not line.startswith("done"):
                at, delay = line.split()
                self._delays.append((float(at), float(delay)))

    def between(self, start: float, end: float) -> list[float]:
        """Delays of the partials that came in this time, in ms."""
        return [delay * 1_000 for at, delay in tuple(self._delays) if start <= at < end]

    @property
    def is_speaking(self) -> bool:
        """Whether none of them has failed."""
        return self._process.poll() is None

    def stop(self) -> None:
        """End them."""
        self._process.kill()
        self._process.wait()


def quantiles(delays: list[float]) -> dict[str, float]:
    """Median, p99 and how many, in ms."""
    if len(delays) < 2:
        return {"partials": len(delays), "p50": 0.0, "p99": 0.0}
    cuts = statistics.quantiles(delays, n=100, method="inclusive")
    return {"partials": len(delays), "p50": round(cuts[49], 2), "p99": round(cuts[98], 2)}


def attacked(
    server: Server, bystanders: Bystanders, name: str, seconds: float
) -> dict[str, object]:
    """Quiet, the attack, quiet; and how the server is then."""
    quiet_s = max(2.0, 0.6 * seconds)
    quiet_from = time.monotonic()
    time.sleep(quiet_s)
    before = server.numbers()
    quiet_until = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-m", "tests.hostile.attacks", name, server.rpc, server.web, str(seconds)],
        capture_output=True,
        text=True,
        timeout=seconds + 300,
        check=False,
    )
    told = json.loads(done.stdout) if done.returncode == 0 else {}
    begun, ended = told.get("begun", quiet_until), told.get("ended", time.monotonic())
    time.sleep(SETTLE_S + quiet_s)
    quiet_to = time.monotonic()
    after = server.numbers()
    quiet = quantiles(
        bystanders.between(quiet_from, quiet_until) + bystanders.between(ended + SETTLE_S, quiet_to)
    )
    during = quantiles(bystanders.between(begun, ended))
    faults = [key for key in after if key.startswith("legonn_errors_total") and "INTERNAL" in key]
    held = after.get("legonn_sessions_open", 0.0)
    is_clean = (
        held <= STREAMS
        and after.get("legonn_invariant_violations_total", 0.0) == 0.0
        and not sum(after[key] for key in faults)
        and told
        and after["process_open_fds"] - before["process_open_fds"] <= 5
    )
    return {
        "attack": name,
        "did": told.get("did", done.stderr[-2_000:]),
        "quiet_ms": quiet,
        "during_ms": during,
        "p99_ratio": round(during["p99"] / quiet["p99"], 2) if quiet["p99"] else None,
        "is_alive": server.process.poll() is None and bystanders.is_speaking,
        "is_clean": bool(is_clean),
        "calls_open_after": held,
        "open_files": [before["process_open_fds"], after["process_open_fds"]],
        "memory_mib": [
            round(one["process_resident_memory_bytes"] / 2**20, 1) for one in (before, after)
        ],
    }


def key_timing(rounds: int = 20_000) -> dict[str, float]:
    """Time to refuse a key in ns, by how much of a right one it begins with; interleaved."""
    right = "lk_" + "k" * 43
    table = parse(key_entry(right, "a", "speech") + key_entry("other", "b", "speech"), str)
    wrong = {shared: right[:shared] + "!" * (46 - shared) for shared in (0, 3, 23, 45)}
    times: dict[int, list[int]] = {shared: [] for shared in wrong}
    for _ in range(rounds):
        for shared, key in wrong.items():
            begun = time.perf_counter_ns()
            find_key(key, table.keys)
            times[shared].append(time.perf_counter_ns() - begun)
    medians = {f"{shared} characters right": statistics.median(t) for shared, t in times.items()}
    spread = max(medians.values()) / min(medians.values())
    return {**medians, "largest over smallest": round(spread, 4)}


def main(out: Path, seconds: float) -> int:
    """Run all attacks and write what was seen."""
    with tempfile.TemporaryDirectory() as folder:
        server = Server(Path(folder))
        server.start()
        bystanders = Bystanders(server, 3_600)
        time.sleep(WARM_S)
        found = []
        for name in ATTACKS:
            found.append(attacked(server, bystanders, name, seconds))
            print(json.dumps(found[-1]), flush=True)
        bystanders.stop()
        code = server.stop()
    report = {
        "command": f"make test-hostile OUT={out} SECONDS={seconds:g}",
        "machine": f"{os.cpu_count()} shared cores, {platform.machine()}, Python"
        f" {platform.python_version()}",
        "bystanders": f"{STREAMS} live streams of 100 ms messages, fake backend; attackers at a"
        " lower priority on the same cores",
        "bound": BOUND,
        "attacks": found,
        "key_refusal_ns": key_timing(),
        "exit_code": code,
    }
    out.write_text(json.dumps(report, indent=2) + "\n")
    above = [one["attack"] for one in found if (one["p99_ratio"] or 0) > BOUND]
    bad = [one["attack"] for one in found if not (one["is_alive"] and one["is_clean"])]
    print(f"above {BOUND} x: {above or 'none'}; not alive or not clean: {bad or 'none'}")
    return 1 if bad or code else 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), float(sys.argv[2]) if len(sys.argv) > 2 else 8.0))
