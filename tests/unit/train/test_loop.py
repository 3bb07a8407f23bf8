from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from torch import nn

from legonn_core.train.loop import Budget, TrainingLoop, averaged_checkpoints
from legonn_core.train.optimize import MasterOptimizer


class Regression:
    """A job that draws from torch's generator, as the trainers do."""

    def __init__(self, *, fails_at: int = -1) -> None:
        torch.manual_seed(0)
        self.network = nn.Linear(4, 1)
        self.optimizer = MasterOptimizer(self.network.named_parameters(), rate=0.01)
        self.fails_at, self.seen = fails_at, 0

    def draw_from(self, step: int) -> None:
        torch.manual_seed(100 + step)

    def backward(self, progress: float) -> dict[str, float]:
        if self.optimizer.steps == self.fails_at:
            raise KeyboardInterrupt
        x = torch.randn(8, 4)
        loss = (self.network(x)[:, 0] - x.sum(dim=1)).square().mean()
        loss.backward()
        self.seen += 8
        return {"loss": float(loss.detach())}

    def work(self) -> tuple[float, str]:
        return self.seen, "rows"

    def remarks(self) -> str:
        return "fine"

    def extra(self) -> dict[str, object]:
        return {"kind": "toy"}


BUDGET = Budget(0.0, steps=12, warmup_steps=2, report_every=3, save_steps=5, keep=2)


def test_a_resumed_run_takes_the_steps_of_an_unbroken_one(tmp_path, capsys):
    whole = Regression()
    TrainingLoop(whole, BUDGET, tmp_path / "whole").run()
    with pytest.raises(KeyboardInterrupt):
        TrainingLoop(Regression(fails_at=8), BUDGET, tmp_path / "broken").run()
    resumed = Regression()
    TrainingLoop(resumed, BUDGET, tmp_path / "broken").run()
    assert "resumed at step 5" in capsys.readouterr().out
    assert resumed.optimizer.steps == whole.optimizer.steps == 12
    for name, values in whole.optimizer.masters.items():
        assert torch.equal(values, resumed.optimizer.masters[name])


def test_progress_and_curves_are_left(tmp_path, capsys):
    TrainingLoop(Regression(), BUDGET, tmp_path).run()
    points = [json.loads(line) for line in (tmp_path / "curves.jsonl").read_text().splitlines()]
    assert [point["step"] for point in points] == [3, 6, 9, 12]
    assert points[-1]["loss"] < points[0]["loss"] * 2
    assert "<svg" in (tmp_path / "curves.svg").read_text()
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("step ")]
    assert len(lines) == 4
    assert "rows/s" in lines[0] and lines[0].endswith("fine")


def test_the_last_checkpoints_can_be_averaged(tmp_path):
    job = Regression()
    TrainingLoop(job, BUDGET, tmp_path).run()
    kept = sorted((tmp_path / "older").glob("*.pt"))
    assert [path.stem for path in kept] == ["00000010", "00000012"]
    both = [torch.load(path, weights_only=True)["masters"]["weight"] for path in kept]
    mean = averaged_checkpoints(tmp_path, 2)["weight"]
    torch.testing.assert_close(mean, (both[0] + both[1]) / 2)
    assert not torch.equal(both[0], both[1])
    with pytest.raises(FileNotFoundError, match="2 checkpoints were kept, not 3"):
        averaged_checkpoints(tmp_path, 3)


def test_minutes_count_where_steps_do_not(tmp_path):
    job = Regression()
    TrainingLoop(job, Budget(0.002, report_every=1000), tmp_path).run()
    assert job.optimizer.steps > 1
    assert torch.load(tmp_path / "checkpoint.pt", weights_only=True)["seconds"] >= 0.12
    assert Path(tmp_path / "checkpoint.pt").exists()
    assert Budget(2.0).progress(60.0, 7) == 0.5
    assert Budget(2.0, steps=14).progress(60.0, 7) == 0.5
