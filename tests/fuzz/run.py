"""``make fuzz SECONDS=N``: every target gets its share of the time; prints cases run and findings.

Each target runs in a process of its own under atheris (libFuzzer, guided by coverage of our code);
where atheris is not installed, under a plain mutator of the seeds, which is said. A finding does
not stop the run: its input is kept under ``work/fuzz/TARGET`` and told once for each place where
it broke. Exit code 1 if anything was found. A finding becomes a file in ``tests/fuzz/seeds/TARGET``
that ``make test`` replays for ever.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.util
import json
import random
import re
import subprocess
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SEEDS = Path(__file__).with_name("seeds")
START_SECONDS = 120
"""Beyond its share, for imports and instrumentation, before a target counts as hung."""

_CASES = re.compile(rb"stat::number_of_executed_units:\s*(\d+)")
_COVERAGE = re.compile(rb"cov: (\d+)")


@dataclass(slots=True)
class Found:
    """What one target came to.

    Attributes:
        cases: Inputs tried.
        coverage: Branches of our code that were reached, as atheris counts them; 0 without it.
        findings: Place → sentence.
    """

    cases: int = 0
    coverage: int = 0
    findings: dict[str, str] = field(default_factory=dict)


class Witness:
    """Runs a target and keeps the input of each new finding.

    Attributes:
        cases: Inputs tried.
        findings: Place → what broke there.
    """

    def __init__(self, run: Callable[[bytes], None], folder: Path) -> None:
        self._run = run
        self._folder = folder
        self.cases = 0
        self.findings: dict[str, str] = {}

    def __call__(self, data: bytes) -> None:
        """Try one input; a finding is kept and the run goes on."""
        self.cases += 1
        try:
            self._run(data)
        except Exception as error:  # noqa: BLE001  # any kind that a target lets out is a finding
            found = traceback.extract_tb(error.__traceback__)[-1]
            place = f"{type(error).__name__} at {Path(found.filename).name}:{found.lineno}"
            if place not in self.findings:
                self._folder.mkdir(parents=True, exist_ok=True)
                name = hashlib.sha256(data).hexdigest()[:16]
                (self._folder / name).write_bytes(data)
                (self._folder / f"{name}.txt").write_text(
                    "".join(traceback.format_exception(error))
                )
                self.findings[place] = f"{place}, input {name}"
                self.save()

    def save(self) -> None:
        """Write the findings where the parent finds them."""
        (self._folder.parent / f"{self._folder.name}.json").write_text(json.dumps(self.findings))


def mutated(dice: random.Random, seeds: Sequence[bytes]) -> bytes:
    """A seed with a few bytes changed, cut out, doubled or joined with another seed."""
    data = bytearray(dice.choice(seeds))
    for _ in range(dice.randint(1, 8)):
        at = dice.randint(0, len(data))
        until = min(at + dice.randint(0, 16), len(data))
        match dice.randrange(6):
            case 0 if data:
                data[at % len(data)] ^= 1 << dice.randrange(8)
            case 1 if data:
                data[at % len(data)] = dice.choice((0, 1, 0x7F, 0x80, 0xFF, dice.randrange(256)))
            case 2:
                del data[at:until]
            case 3:
                data[at:at] = data[at:until]
            case 4:
                data[at:at] = dice.randbytes(dice.randint(1, 8))
            case 5:
                data[at:] = dice.choice(seeds)[at:]
    return bytes(data)


def seeds_of(name: str) -> list[bytes]:
    """What a target starts from: valid inputs, and all that was ever found."""
    from tests.fuzz.targets import TARGETS

    kept = sorted((SEEDS / name).glob("*")) if (SEEDS / name).is_dir() else []
    return [*TARGETS[name].seeds(), *(path.read_bytes() for path in kept)]


def child(name: str, seconds: int, folder: Path) -> None:
    """Fuzz one target until its time is over; with atheris this does not return."""
    if importlib.util.find_spec("atheris") is None:
        from tests.fuzz.targets import TARGETS

        witness = Witness(TARGETS[name].run, folder)
        seeds, dice, until = seeds_of(name), random.Random(name), time.monotonic() + seconds
        while time.monotonic() < until:
            witness(mutated(dice, seeds))
        print(f"stat::number_of_executed_units: {witness.cases}", file=sys.stderr)
        return
    import atheris

    with atheris.instrument_imports(include=["legonn_core", "legonn_server"]):
        from tests.fuzz.targets import TARGETS
    with tempfile.TemporaryDirectory() as corpus:
        folder.parent.mkdir(parents=True, exist_ok=True)
        for number, content in enumerate(seeds_of(name)):
            (Path(corpus) / str(number)).write_bytes(content)
        options = [f"-max_total_time={seconds}", "-print_final_stats=1", "-max_len=8192"]
        options += ["-timeout=30", "-rss_limit_mb=4096", "-verbosity=1"]
        options += [f"-artifact_prefix={folder}-", corpus]
        atheris.Setup([name, *options], Witness(TARGETS[name].run, folder))
        atheris.Fuzz()


def one_target(name: str, seconds: int, folder: Path) -> Found:
    """Run a target in a process of its own, and read what it came to."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    (folder.parent / f"{name}.json").unlink(missing_ok=True)
    command = [sys.executable, "-m", "tests.fuzz.run", "--child", name]
    command += ["--seconds", str(seconds), "--folder", str(folder)]
    found = Found()
    try:
        done = subprocess.run(
            command, cwd=ROOT, capture_output=True, timeout=seconds + START_SECONDS, check=False
        )
        output, code = done.stderr, done.returncode
    except subprocess.TimeoutExpired as late:
        output, code = late.stderr or b"", -1
    if cases := _CASES.findall(output):
        found.cases = int(cases[-1])
    if reached := _COVERAGE.findall(output):
        found.coverage = int(reached[-1])
    kept = folder.parent / f"{name}.json"
    if kept.exists():
        found.findings = json.loads(kept.read_text())
    if code:
        last = output.decode(errors="replace").strip().splitlines()[-3:]
        found.findings["process"] = f"the process ended with {code}: {' | '.join(last)}"
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point; 0 if nothing was found."""
    parser = argparse.ArgumentParser(description="Feed every door of the server with anything.")
    parser.add_argument("--seconds", type=int, default=60, help="for all targets together")
    parser.add_argument("--processes", type=int, default=1, help="targets at once")
    parser.add_argument("--least", type=int, default=0, help="fail with fewer cases than this")
    parser.add_argument("--only", action="append", default=[], help="these targets")
    parser.add_argument("--json", type=Path, help="keep the result")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, default=ROOT / "work/fuzz", help="where inputs go")
    given = parser.parse_args(arguments)
    if given.child:
        # Before anything of ours is imported: atheris instruments what it imports itself.
        child(given.child, given.seconds, given.folder)
        return 0
    from tests.fuzz.targets import TARGETS

    names = given.only or list(TARGETS)
    if unknown := set(names) - set(TARGETS):
        parser.error(f"no target {sorted(unknown)}; there are {sorted(TARGETS)}")
    shares = {name: TARGETS[name].share for name in names}
    each = given.processes * given.seconds / sum(shares.values())
    is_guided = importlib.util.find_spec("atheris") is not None
    if not is_guided:
        print("atheris is not installed: seeds are mutated blindly, nothing guides the search")
    with ThreadPoolExecutor(given.processes) as pool:
        running = {
            name: pool.submit(one_target, name, max(round(each * share), 1), given.folder / name)
            for name, share in shares.items()
        }
        found = {name: one.result() for name, one in running.items()}
    return report(found, given, is_guided=is_guided)


def report(found: dict[str, Found], given: argparse.Namespace, *, is_guided: bool) -> int:
    """Print the table, keep the JSON, say whether all is well."""
    print(f"{'target':20}{'cases':>10}{'branches':>10}{'findings':>10}")
    totals: Counter[str] = Counter()
    for name, one in found.items():
        print(f"{name:20}{one.cases:>10,}{one.coverage:>10,}{len(one.findings):>10}")
        totals["cases"] += one.cases
        totals["findings"] += len(one.findings)
    print(f"{'all':20}{totals['cases']:>10,}{'':10}{totals['findings']:>10}")
    for name, one in found.items():
        for sentence in one.findings.values():
            print(f"FOUND {name}: {sentence}")
    if given.json:
        content = {
            "seconds": given.seconds, "is_guided": is_guided, **totals,
            "targets": {
                name: {"cases": one.cases, "branches": one.coverage, "findings": one.findings}
                for name, one in found.items()
            },
        }  # fmt: skip
        given.json.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    is_enough = totals["cases"] >= given.least
    if not is_enough:
        print(f"only {totals['cases']:,} cases, {given.least:,} were asked for")
    return 0 if is_enough and not totals["findings"] else 1


if __name__ == "__main__":
    sys.exit(main())
