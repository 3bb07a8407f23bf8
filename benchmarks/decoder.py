"""Speed of the decoder engine beside CTranslate2: the same dimensions, steps, beam and batch.

Both get B inputs of U rows at once and write N tokens for each with one thread; the clock runs from
the whole inputs to the whole texts, so ours pays for reading marginals, ingestor, joint search and
word times, theirs for encoder and beam search. The two take turns within a round, so that what
else the machine does meets both; a ratio is the median of the rounds' ratios. ``cpu_ratio`` is the
same by processor time of the process, which is what remains comparable on a shared machine.

Weights are random on both sides and sentences are not allowed to end before N tokens. Random text
repeats itself, so our guard against loops is off. CTranslate2 has no CTC scores; ours is measured
without them (the ratio) and with them (``ours_ctc_tok_s``, in rows of their own N).
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import median
from time import perf_counter, process_time

import numpy as np
import torch

from benchmarks import rival
from legonn_core.decoders.decoder import END, Decoder
from legonn_core.decoders.prepared import Precision
from legonn_core.errors import LegonnError
from legonn_core.interface import codec
from legonn_core.interface.marginals import Marginals
from legonn_core.interface.reference import ModuleRef
from legonn_core.modules.registry import LoadedModule, load_module
from legonn_core.runtime.decoder_engine import DecoderEngine
from legonn_core.runtime.messages import DecodeJob, DecodeResult
from legonn_core.search import history, joint

ROWS = 40
STEPS = ROWS + joint.LENGTH_MARGIN
"""Our search allows a few tokens more than rows; both sides write so many."""

WIDTHS = ((1, 1), (1, 4), (32, 1), (32, 4))


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the report; rates are medians of rounds, ``ratio_spread`` its quartiles."""

    device: str
    dtype: str
    batch: int
    beam: int
    ours_tok_s: float
    ct2_tok_s: float
    ratio: float
    ratio_spread: tuple[float, float]
    ours_ctc_tok_s: float
    ratio_ctc: float
    cpu_ratio: float
    cpu_ratio_ctc: float
    rounds: int


def endless(store: Path, ref: ModuleRef, *, seed: int = 0) -> LoadedModule:
    """The decoder with random weights that never end a sentence."""
    module = load_module(store, ref)
    assert isinstance(module.network, Decoder)
    torch.manual_seed(seed)
    network = Decoder(module.network.shape).eval()
    for parameter in network.parameters():
        parameter.requires_grad_(False)
    network.output_bias[END] = -1e4
    return replace(module, network=network)


def spoken(module: LoadedModule, count: int, *, rows: int = ROWS, seed: int = 0) -> list[bytes]:
    """``count`` inputs: half of the rows blank, the others sure of some token."""
    rng = np.random.default_rng(seed)
    classes = module.card.contract.num_classes
    blocks = []
    for _ in range(count):
        logits = rng.standard_normal((rows, classes)).astype(np.float32)
        heard = np.where(rng.random(rows) < 0.5, 0, rng.integers(1, classes, rows))
        logits[np.arange(rows), heard] += 9.0
        block = Marginals.from_dense(
            logits - np.log(np.exp(logits).sum(axis=1, keepdims=True)),
            module.card.contract.top_k,
            times_ms=range(rows),
            fingerprint=module.card.contract.fingerprint,
        )
        blocks.append(codec.encode(block))
    return blocks


def decode(engine: DecoderEngine[int], jobs: list[DecodeJob]) -> int:
    """Run all jobs to their ends; returns the tokens of the best hypotheses."""
    for key, job in enumerate(jobs):
        engine.submit(key, job)
    tokens = 0
    while engine.num_jobs:
        for _, answer in engine.step():
            if isinstance(answer, LegonnError):
                raise answer
            assert isinstance(answer, DecodeResult)
            tokens += len(answer.hypotheses[0].tokens)
    return tokens


def rate(work: Callable[[], int]) -> tuple[float, float]:
    """Tokens a second of one run: of the clock, and of processor time of this process."""
    began, used = perf_counter(), process_time()
    tokens = work()
    return tokens / (perf_counter() - began), tokens / (process_time() - used)


def compare(module: LoadedModule, dtype: str, batch: int, beam: int, *, rounds: int) -> Row:
    """Measure one line: rounds of ours, theirs, ours with CTC, after one round to warm up."""
    assert isinstance(module.network, Decoder)
    shape = module.network.shape
    translator = rival.build(shape, compute_type=dtype)
    texts = rival.sources(batch, ROWS, shape.num_classes)
    engine: DecoderEngine[int] = DecoderEngine(module, precision=Precision(dtype))
    jobs = [
        DecodeJob(module.ref, (block,), beam=beam, ctc_weight=0.0, length_bonus=0.0)
        for block in spoken(module, batch)
    ]
    heard = [replace(job, ctc_weight=0.3) for job in jobs]
    works: tuple[Callable[[], int], ...] = (
        lambda: decode(engine, jobs),
        lambda: rival.decode(translator, texts, beam=beam, tokens=STEPS),
        lambda: decode(engine, heard),
    )
    for index, work in enumerate(works):
        tokens = work()
        if index < 2 and tokens != batch * STEPS:
            raise RuntimeError(f"{tokens} tokens in place of {batch * STEPS}: not the same work")
    found = np.array([[rate(work) for work in works] for _ in range(rounds)])
    ours, theirs, with_ctc = found[:, :, 0].T
    cpu_ours, cpu_theirs, cpu_with_ctc = found[:, :, 1].T
    ratios = ours / theirs
    return Row(
        device="cpu, 1 thread",
        dtype=dtype,
        batch=batch,
        beam=beam,
        ours_tok_s=round(median(ours), 1),
        ct2_tok_s=round(median(theirs), 1),
        ratio=round(median(ratios), 3),
        ratio_spread=(
            round(float(np.quantile(ratios, 0.25)), 3),
            round(float(np.quantile(ratios, 0.75)), 3),
        ),
        ours_ctc_tok_s=round(median(with_ctc), 1),
        ratio_ctc=round(median(with_ctc / theirs), 3),
        cpu_ratio=round(median(cpu_ours / cpu_theirs), 3),
        cpu_ratio_ctc=round(median(cpu_with_ctc / cpu_theirs), 3),
        rounds=rounds,
    )


def machine() -> dict[str, object]:
    """What was measured on."""
    model = "unknown"
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.is_file():
        lines = cpuinfo.read_text("utf-8").splitlines()
        model = next((x.partition(":")[2].strip() for x in lines if "model name" in x), model)
    return {
        "processor": model,
        "architecture": platform.machine(),
        "cores": os.cpu_count(),
        "torch": torch.__version__,
        "python": platform.python_version(),
    }


def commit() -> str:
    """What was measured; ends with ``+`` where files differ from the commit."""

    def git(*words: str) -> str:
        return subprocess.run(["git", *words], capture_output=True, text=True, check=True).stdout

    return git("rev-parse", "--short", "HEAD").strip() + (
        "+" if git("status", "-s", "-uno") else ""
    )


def main() -> None:
    """``python -m benchmarks.decoder OUT``."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("out", type=Path, help="JSON file to write")
    parser.add_argument("--modules", type=Path, default=Path("modules"))
    parser.add_argument("--decoder", default="decoder-en/1", help="whose dimensions to measure")
    parser.add_argument("--rounds", type=int, default=9, help="rounds of each line")
    parser.add_argument("--dtypes", nargs="+", default=["float32", "int8"])
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    history.LOOP_LENGTH = sys.maxsize
    module = endless(arguments.modules, ModuleRef(*arguments.decoder.split("/")))
    assert isinstance(module.network, Decoder)
    report = {
        "machine": machine(),
        "commit": commit(),
        "rival": f"ctranslate2 {rival.VERSION}",
        "work": {"shape": asdict(module.network.shape), "rows": ROWS, "tokens": STEPS},
    }
    rows = []
    for dtype in arguments.dtypes:
        for batch, beam in WIDTHS:
            row = compare(module, dtype, batch, beam, rounds=arguments.rounds)
            print(json.dumps(asdict(row)), flush=True)
            rows.append(asdict(row))
            text = json.dumps({**report, "rows": rows}, indent=1)
            arguments.out.write_text(text + "\n", encoding="utf-8")
    print(f"written to {arguments.out}")


if __name__ == "__main__":
    main()
