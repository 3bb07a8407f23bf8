"""Where the time of a chunk goes: a child process beside a Triton server, in turn, hop by hop.

    make triton                                   # in another terminal
    python -m benchmarks.triton_hops --rounds 20 --out docs/results/triton.json

Every round feeds the same recording, chunk by chunk, first to the one and then to the other, so
that what else the machine does meets both. Of Triton's time its own statistics give the queue and
the model process as the server sees it, and the answers say what the engine took; the rest is JSON,
gRPC and the server's front.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from tritonclient.grpc.aio import InferenceServerClient

from legonn_core.interface.reference import ModuleRef
from legonn_core.runtime.messages import DecodeJob, EncodeStep
from legonn_core.runtime.wire import Call, Op, parse_model_name
from legonn_server.backends.embedded import EmbeddedBackend, EmbeddedOptions
from legonn_server.backends.triton_endpoint import TritonEndpoint
from legonn_server.backends.triton_options import TritonOptions

Samples = dict[str, list[float]]


def add(samples: Samples, **values: float) -> None:
    """Note one measurement of each name, in milliseconds."""
    for name, value in values.items():
        samples.setdefault(name, []).append(value)


async def child(
    backend: EmbeddedBackend, speech: ModuleRef, decoder: ModuleRef, chunks: list[Any], out: Samples
) -> None:
    """One recording through the child process."""
    slot, blocks = await backend.open(speech), []
    for seq, chunk in enumerate(chunks):
        began = time.perf_counter()
        blocks.append((await backend.step(EncodeStep(slot, seq, chunk))).marginals)
        add(out, child_step=1e3 * (time.perf_counter() - began))
    await backend.close_slot(slot)
    began = time.perf_counter()
    await backend.decode(DecodeJob(decoder, tuple(blocks), row_ms=80.0))
    add(out, child_decode=1e3 * (time.perf_counter() - began))


async def triton(
    endpoint: TritonEndpoint,
    models: dict[str, str],
    job: DecodeJob,
    chunks: list[Any],
    out: Samples,
) -> None:
    """The same through Triton."""
    speech = models["speech-en"]
    slot, blocks = await endpoint.ask(speech, Call(Op.OPEN)), []
    for seq, chunk in enumerate(chunks):
        call = Call(
            Op.STEP,
            life=slot.life,
            slot=slot.slot,
            epoch=slot.epoch,
            seq=seq,
            num_samples=len(chunk),
        )
        began = time.perf_counter()
        answer = await endpoint.ask(speech, call, samples=chunk)
        took = 1e3 * (time.perf_counter() - began)
        assert answer.encoded is not None
        blocks.append(answer.encoded.marginals)
        add(out, triton_step=took, triton_engine=answer.compute_us / 1e3)
    close = Call(Op.CLOSE, life=slot.life, slot=slot.slot, epoch=slot.epoch)
    await endpoint.ask(speech, close)
    full = DecodeJob(job.module, tuple(blocks), row_ms=job.row_ms)
    began = time.perf_counter()
    await endpoint.decode(models["decoder-en"], Call(Op.DECODE, job=full))
    add(out, triton_decode=1e3 * (time.perf_counter() - began))


async def totals(client: InferenceServerClient, model: str) -> dict[str, float]:
    """Triton's own account of a model so far, in milliseconds, and its number of calls."""
    found = (await client.get_inference_statistics(model)).model_stats[0].inference_stats
    names = ("queue", "compute_input", "compute_infer", "compute_output")
    return {"count": found.success.count} | {n: getattr(found, n).ns / 1e6 for n in names}


def spread(values: list[float]) -> dict[str, float]:
    """What is reported of a list."""
    p10, p50, p90, p99 = np.percentile(values, (10, 50, 90, 99))
    return {"n": len(values), "p10": p10, "p50": p50, "p90": p90, "p99": p99}


async def measure(arguments: argparse.Namespace) -> dict[str, Any]:
    """Both, in turn, so many rounds."""
    command = (sys.executable, "-m", "legonn_core.runtime.process")
    options = EmbeddedOptions(
        command=(*command, f"--modules={arguments.modules}", "--threads=1"),
        environment={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    backend = EmbeddedBackend(options)
    await backend.start()
    endpoint = TritonEndpoint(arguments.endpoint, TritonOptions(), lambda: None)
    endpoint.connect()
    client = InferenceServerClient(arguments.endpoint)
    try:
        refs = {parse_model_name(name): name for name in await endpoint.index()}
        models = {ref.name: name for ref, name in sorted(refs.items(), key=str) if ref is not None}
        about = {one.ref.name: one for one in await backend.describe()}
        speech, decoder = about["speech-en"], about["decoder-en"]
        rng = np.random.default_rng(1)
        audio = 0.1 * rng.standard_normal(arguments.chunks * speech.chunk_samples)
        chunks = list(audio.astype(np.float32).reshape(arguments.chunks, -1))
        out: Samples = {}
        job = DecodeJob(decoder.ref, (), row_ms=80.0)
        for number in range(arguments.rounds + 1):
            before = await totals(client, models["speech-en"])
            found: Samples = {}
            await child(backend, speech.ref, decoder.ref, chunks, found)
            await triton(endpoint, models, job, chunks, found)
            after = await totals(client, models["speech-en"])
            calls = after["count"] - before["count"]
            for name in ("queue", "compute_input", "compute_infer", "compute_output"):
                add(found, **{f"triton_{name}_mean": (after[name] - before[name]) / calls})
            ratio = np.median(found["triton_step"]) / np.median(found["child_step"])
            add(found, step_ratio=float(ratio))
            if number:  # the first round warms both
                for name, values in found.items():
                    out.setdefault(name, []).extend(values)
    finally:
        await client.close()
        await endpoint.close()
        await backend.stop()
    return {
        "command": " ".join(["python -m benchmarks.triton_hops", *sys.argv[1:]]),
        "machine": "2 shared cores, busy with other work (see load)",
        "load_average": os.getloadavg(),
        "modules": [str(speech.ref), str(decoder.ref)],
        "chunk_ms": 1000 * speech.chunk_samples / speech.sample_rate_hertz,
        "rounds": arguments.rounds,
        "milliseconds": {name: spread(values) for name, values in sorted(out.items())},
        "raw": out,
    }


def main() -> None:
    """Read the command line, measure, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--modules", type=Path, default=Path("modules"))
    parser.add_argument("--endpoint", default="127.0.0.1:8001")
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--chunks", type=int, default=12)
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    result = asyncio.run(measure(arguments))
    arguments.out.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(result["milliseconds"], indent=1))


if __name__ == "__main__":
    main()
