"""Continuous against static batching, and a live final beside a pool full of bulk text.

The engine runs for real; time is the processor time that its turns take, and arrivals follow a
written trace on that clock, so a busy machine stretches nothing. A job that arrives during a turn
is seen at the turn's end, as in service.

Static batching is the same engine given its next batch (all that has arrived, at most 16) only when
the last one has ended, whose every row waits for the longest.
"""

from __future__ import annotations

import argparse
import json
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import median
from time import process_time

import numpy as np
import torch

from benchmarks.decoder import commit, machine, spoken
from legonn_core.errors import LegonnError
from legonn_core.interface.reference import ModuleRef
from legonn_core.modules.registry import LoadedModule, load_module
from legonn_core.runtime.decoder_engine import DecoderEngine
from legonn_core.runtime.messages import DecodeJob, DecodeKind, DecodeResult

STATIC_BATCH = 16


@dataclass(slots=True)
class Outcome:
    """What a run of a trace measured, in seconds of processor time."""

    first_tokens: list[float] = field(default_factory=list)
    latencies: dict[DecodeKind, list[float]] = field(default_factory=dict)
    tokens: int = 0
    seconds: float = 0.0


def play(
    module: LoadedModule,
    trace: list[tuple[float, DecodeJob]],
    *,
    is_static: bool = False,
    finals: int | None = None,
) -> Outcome:
    """Run a trace (arrival, job), ascending, to its end or until so many finals are out."""
    engine: DecoderEngine[int] = DecoderEngine(module)
    outcome, coming, arrived = Outcome(), deque(enumerate(trace)), deque[int]()
    now, begun = 0.0, set[int]()
    while coming or arrived or engine.num_jobs:
        if finals is not None and len(outcome.latencies.get(DecodeKind.FINAL, ())) == finals:
            break
        while coming and coming[0][1][0] <= now:
            arrived.append(coming.popleft()[0])
        if arrived and not (is_static and engine.num_jobs):
            for _ in range(min(len(arrived), STATIC_BATCH) if is_static else len(arrived)):
                number = arrived.popleft()
                engine.submit(number, trace[number][1])
        if not engine.num_jobs:
            now = coming[0][1][0]
            continue
        used = process_time()
        ended = engine.step()
        now += process_time() - used
        for number in engine.running - begun:
            outcome.first_tokens.append(now - trace[number][0])
        begun |= engine.running
        for number, answer in ended:
            if isinstance(answer, LegonnError):
                raise answer
            assert isinstance(answer, DecodeResult)
            outcome.tokens += len(answer.hypotheses[0].tokens)
            kind = trace[number][1].kind
            outcome.latencies.setdefault(kind, []).append(now - trace[number][0])
    outcome.seconds = now
    return outcome


def jobs_of(module: LoadedModule, count: int, *, seed: int) -> list[DecodeJob]:
    """Inputs of 12 to 80 rows, most of them short."""
    rng = np.random.default_rng(seed)
    rows = np.clip(rng.lognormal(3.3, 0.5, count), 12, 80).astype(int)
    return [
        DecodeJob(module.ref, (spoken(module, 1, rows=int(size), seed=seed + place)[0],))
        for place, size in enumerate(rows)
    ]


def mixed_trace(
    module: LoadedModule, count: int, *, seed: int, gap: float
) -> list[tuple[float, DecodeJob]]:
    """Speech and text as they come: finals, commits and sentences at random times."""
    rng = np.random.default_rng(seed)
    kinds = rng.choice(
        np.array([DecodeKind.FINAL, DecodeKind.COMMIT, DecodeKind.TEXT]), count, p=[0.2, 0.3, 0.5]
    )
    arrivals = np.cumsum(rng.exponential(gap, len(kinds)))
    return [
        (float(at), replace(job, kind=kind, beam=2 if kind is DecodeKind.COMMIT else 5))
        for at, kind, job in zip(
            arrivals, kinds, jobs_of(module, len(kinds), seed=seed), strict=True
        )
    ]


def batching(module: LoadedModule, count: int, *, repeats: int, gap: float) -> dict[str, object]:
    """The same traces, continuous and static in turn."""
    found: dict[str, list[list[float]]] = {"continuous": [], "static": []}
    for repeat in range(repeats):
        trace = mixed_trace(module, count, seed=repeat, gap=gap)
        for name, is_static in (("continuous", False), ("static", True)):
            outcome = play(module, trace, is_static=is_static)
            found[name].append(
                [outcome.tokens / outcome.seconds, float(np.quantile(outcome.first_tokens, 0.99))]
            )
            print(f"{name} gap {gap}: {found[name][-1]}", flush=True)
    return {
        "jobs": count,
        "mean_gap_s": gap,
        **{
            name: {
                "tokens_s": [round(run[0], 1) for run in runs],
                "first_token_p99_s": [round(run[1], 4) for run in runs],
            }
            for name, runs in found.items()
        },
        "throughput_ratio": _ratio(found, lambda run: run[0]),
        "first_token_p99_ratio": _ratio(found, lambda run: run[1]),
    }


def live_beside_bulk(module: LoadedModule, count: int, *, repeats: int) -> dict[str, object]:
    """Finals at random times, alone and while more bulk text waits than can be done."""
    alone, beside, moved = [], [], []
    for repeat in range(repeats):
        rng = np.random.default_rng(100 + repeat)
        arrivals = np.cumsum(rng.uniform(0.1, 0.5, count))
        finals = [
            (float(at), job)
            for at, job in zip(arrivals, jobs_of(module, count, seed=50 + repeat), strict=True)
        ]
        filling = [
            (0.0, replace(job, kind=DecodeKind.BULK))
            for job in jobs_of(module, 20 * count, seed=900)
        ]
        quiet = play(module, finals)
        busy = play(module, filling + finals, finals=count)
        alone.append(float(np.quantile(quiet.latencies[DecodeKind.FINAL], 0.99)))
        beside.append(float(np.quantile(busy.latencies[DecodeKind.FINAL], 0.99)))
        moved.append(len(busy.latencies[DecodeKind.BULK]))
        print(f"finals p99 alone {alone[-1]:.4f} beside bulk {beside[-1]:.4f}", flush=True)
    return {
        "finals": count,
        "bulk": 20 * count,
        "alone_p99_s": [round(value, 4) for value in alone],
        "beside_bulk_p99_s": [round(value, 4) for value in beside],
        "p99_ratio": round(median(b / a for a, b in zip(alone, beside, strict=True)), 3),
        "bulk_done_by_the_last_final": moved,
    }


def _ratio(found: dict[str, list[list[float]]], read: Callable[[list[float]], float]) -> float:
    pairs = zip(found["continuous"], found["static"], strict=True)
    return round(median(read(ours) / read(static) for ours, static in pairs), 3)


def main() -> None:
    """``python -m benchmarks.pool OUT``."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("out", type=Path, help="JSON file to write")
    parser.add_argument("--modules", type=Path, default=Path("modules"))
    parser.add_argument("--decoder", default="decoder-en/1")
    parser.add_argument("--jobs", type=int, default=60, help="of a trace")
    parser.add_argument("--repeats", type=int, default=3)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    module = load_module(arguments.modules, ModuleRef(*arguments.decoder.split("/")))
    play(module, mixed_trace(module, 8, seed=99, gap=0.0))
    report = {
        "machine": machine(),
        "commit": commit(),
        "clock": "processor time of the process, one thread",
        "live_beside_bulk": live_beside_bulk(module, arguments.jobs, repeats=arguments.repeats),
        "batching": [
            batching(module, arguments.jobs, repeats=arguments.repeats, gap=gap)
            for gap in (0.0, 0.12)
        ],
    }
    arguments.out.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    print(f"written to {arguments.out}")


if __name__ == "__main__":
    main()
