"""From the end of a spoken word to the word on the page, measured in a browser with real modules.

    python -m tests.browser.measure OUT.json [--backend fake] [--runs N] [--sound FILE ...]

Chromium hears each recording through its fake microphone, in real time. For every word of a final
the page itself notes when the word first stood there as it stayed (shown) and when it was
committed, and subtracts when the audio of its last sample was captured. The text is compared with
what gRPC makes of exactly the samples that the page sent.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
import soundfile
import soxr

from tests.browser.speech import RATE, over_grpc
from tests.support.browser import browser
from tests.support.process import ROOT, ServerProcess

CLIP = ROOT / "tests/data/jfk.flac"
QUANTILES = (0.5, 0.9, 0.99)


def heard(path: Path) -> np.ndarray:
    """A recording at 16 kHz with a second of silence behind it; (N,) float32."""
    samples, rate = soundfile.read(path, dtype="float32", always_2d=True)
    mono = soxr.resample(samples.mean(axis=1), rate, RATE)
    return np.concatenate([mono, np.zeros(RATE, np.float32)])


def once(server: ServerProcess, samples: np.ndarray, mode: str = "transcript") -> dict:
    """One reading of a recording by the page.

    Args:
        server: With real modules.
        samples: (N,) at 16 kHz.
        mode: ``transcript`` shows words at once, ``captions`` rolls two lines.
    """
    with tempfile.TemporaryDirectory() as folder, browser(Path(folder), samples) as window:
        window.open(server.page)
        window.js(f"document.querySelector('input[value={mode}]').click()")
        window.click("start")
        window.wait_for_state("live")
        time.sleep(len(samples) / RATE + 0.5)
        window.click("start")
        state = window.wait_for_state("ended", "failed", seconds=900)
        assert state == "ended", server.lines[-10:]
        sent = window.audio_sent()
        return {
            "mode": mode,
            "seconds": round(len(sent) / 2 / RATE, 2),
            "text": window.text(),
            "text_over_grpc": over_grpc(server.address, sent),
            "words": json.loads(window.saved("json"))["delays"] if window.text() else [],
            "load": os.getloadavg()[0],
        }


def summary(words: list[dict]) -> dict:
    """Quantiles of both times in seconds."""
    found: dict = {"num_words": len(words)}
    for name in ("shown", "committed"):
        times = sorted(word[name] for word in words)
        found[name] = {
            f"p{round(100 * share)}": round(times[min(len(times) - 1, int(share * len(times)))], 3)
            for share in QUANTILES
        }
        found[name]["mean"] = round(statistics.fmean(times), 3)
    return found


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("out", type=Path)
    parser.add_argument("--backend", choices=("embedded", "fake"), default="embedded")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--sound", type=Path, nargs="*", default=[])
    arguments = parser.parse_args()
    runs = []
    with ServerProcess(arguments.backend) as server:
        for number in range(arguments.runs):
            for path in (CLIP, *arguments.sound):
                for mode in ("transcript", "captions"):
                    found = {"sound": path.name, "run": number, **once(server, heard(path), mode)}
                    runs.append(found)
    by_mode = {
        mode: summary([word for run in runs if run["mode"] == mode for word in run["words"]])
        for mode in ("transcript", "captions")
    }
    machine = f"{os.cpu_count()} CPU cores, {platform.machine()}, shared with other work"
    same = all(run["text"] == run["text_over_grpc"] for run in runs)
    report = {
        "machine": machine,
        "backend": arguments.backend,
        "text_equals_grpc": same,
        "summary": by_mode,
        "runs": runs,
    }
    arguments.out.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
