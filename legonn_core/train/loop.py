"""The loop around every training: budget, resuming, checkpoints, progress, curves.

A run can be ended at any moment and started again: what a checkpoint holds, and the draws that
begin anew behind each one, make the resumed run take the very steps of an unbroken one when its
budget is counted in steps (minutes also count how fast the machine was).
"""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import torch

from legonn_core.train.optimize import MasterOptimizer, cosine_rate

CHECKPOINT = "checkpoint.pt"
CURVES = "curves.jsonl"


@dataclass(frozen=True, slots=True)
class Budget:
    """How long to train, and what to keep.

    Attributes:
        minutes: Of this machine's time, over all resumptions.
        steps: Optimiser steps; if positive, minutes do not count.
        warmup_steps: Linear rise of the rate.
        report_every: Steps between two lines of progress.
        save_seconds: Between two checkpoints.
        save_steps: Between two checkpoints where it is positive, in place of seconds.
        keep: How many older checkpoints stay, for averaging (``--average``).
    """

    minutes: float
    steps: int = 0
    warmup_steps: int = 300
    report_every: int = 25
    save_seconds: float = 180.0
    save_steps: int = 0
    keep: int = 0

    def progress(self, seconds: float, steps: int) -> float:
        """Share that is spent, from 0; 1 and more ends the run."""
        if self.steps:
            return steps / self.steps
        return seconds / max(self.minutes * 60.0, 1e-9)

    def __str__(self) -> str:
        return f"{self.steps} steps" if self.steps else f"{self.minutes:g} min"


class TrainingJob(Protocol):
    """What a trainer gives the loop."""

    optimizer: MasterOptimizer

    def draw_from(self, step: int) -> None:
        """Seed every draw by the step."""

    def backward(self, progress: float) -> dict[str, float]:
        """Leave the gradients of one batch on the parameters; losses by name."""

    def work(self) -> tuple[float, str]:
        """How much was read so far, and in what."""

    def remarks(self) -> str:
        """More for the line of progress."""

    def extra(self) -> dict[str, object]:
        """What a checkpoint needs beside the optimiser's state."""


class TrainingLoop:
    """Runs a job until its budget is spent.

    Args:
        job: What to train.
        budget: How long.
        out: Folder of checkpoint and curves.
    """

    def __init__(self, job: TrainingJob, budget: Budget, out: Path) -> None:
        self.job, self.budget, self.out = job, budget, out
        self.seconds = 0.0
        self._parts: dict[str, list[float]] = {}
        out.mkdir(parents=True, exist_ok=True)

    def run(self) -> None:
        """Resume, train, save, draw the curves."""
        job, budget, optimizer = self.job, self.budget, self.job.optimizer
        self._resume()
        last, saved_at, saved_steps = time.monotonic(), self.seconds, optimizer.steps
        started, worked = last, job.work()[0]
        while (progress := budget.progress(self.seconds, optimizer.steps)) < 1.0:
            before = optimizer.steps
            parts = job.backward(progress)
            factor = cosine_rate(progress, optimizer.steps, warmup_steps=budget.warmup_steps)
            parts["norm"] = optimizer.step(factor)
            for name, value in parts.items():
                self._parts.setdefault(name, []).append(value)
            now = time.monotonic()
            self.seconds, last = self.seconds + now - last, now
            if optimizer.steps % budget.report_every == 0 and optimizer.steps > before:
                done, unit = job.work()
                self._report(f"{(done - worked) / (now - started):.0f} {unit}/s")
            if self._is_due(saved_at, saved_steps):
                self.save()
                saved_at, saved_steps = self.seconds, optimizer.steps
        self.save()
        draw_curves(self.out)

    def _resume(self) -> None:
        checkpoint = self.out / CHECKPOINT
        if checkpoint.exists():
            saved = torch.load(checkpoint, weights_only=True)
            self.job.optimizer.restore(saved)
            self.seconds = float(saved["seconds"])
            print(f"resumed at step {self.job.optimizer.steps}", flush=True)
        else:
            (self.out / CURVES).unlink(missing_ok=True)
        self.job.draw_from(self.job.optimizer.steps)

    def _is_due(self, seconds: float, steps: int) -> bool:
        if self.budget.save_steps:
            return self.job.optimizer.steps - steps >= self.budget.save_steps
        return self.seconds - seconds > self.budget.save_seconds

    def _report(self, speed: str) -> None:
        steps = self.job.optimizer.steps
        means = {name: float(np.mean(values)) for name, values in self._parts.items()}
        self._parts.clear()
        spent = f"{self.seconds / 60:.1f} min" if self.budget.steps else f"{self.seconds / 60:.1f}"
        shown = "  ".join(f"{name} {value:.3f}" for name, value in means.items())
        print(
            f"step {steps}  {spent}/{self.budget}  {shown}  {speed}  {self.job.remarks()}".rstrip(),
            flush=True,
        )
        with (self.out / CURVES).open("a", encoding="utf-8") as file:
            file.write(json.dumps({"step": steps, "seconds": self.seconds} | means) + "\n")

    def save(self) -> None:
        """Write the checkpoint, whole or not at all, and begin the draws anew behind it."""
        checkpoint, steps = self.out / CHECKPOINT, self.job.optimizer.steps
        partial = checkpoint.with_suffix(".partial")
        state = self.job.optimizer.state() | self.job.extra() | {"seconds": self.seconds}
        torch.save(state, partial)
        partial.replace(checkpoint)
        if self.budget.keep:
            older = self.out / "older"
            older.mkdir(exist_ok=True)
            torch.save({"masters": state["masters"]}, older / f"{steps:08d}.pt")
            for path in sorted(older.glob("*.pt"))[: -self.budget.keep]:
                path.unlink()
        self.job.draw_from(steps)


def averaged_checkpoints(out: Path, last: int) -> dict[str, torch.Tensor]:
    """Mean of the weights in the newest ``last`` kept checkpoints, by name.

    Raises:
        FileNotFoundError: If fewer were kept; the recipe's ``keep`` says how many are.
    """
    paths = sorted((out / "older").glob("*.pt"))[-last:]
    if len(paths) < last:
        raise FileNotFoundError(
            f"{out}: {len(paths)} checkpoints were kept, not {last}; set keep = {last} in the"
            " recipe and train on"
        )
    total: dict[str, torch.Tensor] = {}
    for path in paths:
        for name, values in torch.load(path, weights_only=True)["masters"].items():
            total[name] = total[name] + values if name in total else values.clone()
    return {name: values / last for name, values in total.items()}


def draw_curves(out: Path) -> None:
    """Draw ``curves.jsonl`` as ``curves.svg``, a panel for each loss."""
    from matplotlib.figure import Figure

    path = out / CURVES
    if not path.exists():
        return
    points = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    names = list(dict.fromkeys(n for p in points for n in p if n not in ("step", "seconds")))
    figure = Figure(figsize=(7.0, 2.0 * len(names)), layout="constrained")
    axes = figure.subplots(len(names), 1, squeeze=False, sharex=True)[:, 0]
    for axis, name in zip(axes, names, strict=True):
        known = [point for point in points if name in point]
        axis.plot([p["step"] for p in known], [p[name] for p in known], color="#2b6cb0")
        axis.set_ylabel(name)
    axes[-1].set_xlabel("optimiser steps")
    figure.savefig(out / "curves.svg")
