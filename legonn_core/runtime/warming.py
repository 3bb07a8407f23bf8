"""Run a fresh engine once on made-up input: no shape is new in service, and its time is known.

The times are what a gateway derives its step deadline from, so that an engine that hangs is found
by the pace of its own modules and not by a guess.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np

from legonn_core.errors import BadModule, LegonnError
from legonn_core.interface import codec
from legonn_core.interface.marginals import Marginals
from legonn_core.runtime.decoder_engine import DecoderEngine
from legonn_core.runtime.encoder_engine import EncoderEngine
from legonn_core.runtime.messages import DecodeJob, EncodeStep, EncodeText
from legonn_core.runtime.text_engine import TextEngine

Engine = EncoderEngine | TextEngine | DecoderEngine[int]

DECODER_ROWS, DECODER_BEAM = 48, 5
DECODER_REQUESTS = (1, 4)
"""Few rows and many go through different compiled steps."""
TEXT_PIECES = 24


@dataclass(frozen=True, slots=True)
class Warmth:
    """What warming took.

    Attributes:
        seconds: In all.
        step_seconds: The longest single step: the largest batch of an encoder, one token step of a
            decoder. Everything else of the process waits so long.
    """

    seconds: float = 0.0
    step_seconds: float = 0.0


def warm(engine: Engine) -> Warmth:
    """Run it once in the ways that service will.

    Raises:
        BadModule: If the module cannot do it.
    """
    began = time.perf_counter()
    match engine:
        case EncoderEngine():
            longest = _warm_speech(engine)
        case TextEngine():
            longest = _warm_text(engine)
        case DecoderEngine():
            longest = _warm_decoder(engine)
    return Warmth(time.perf_counter() - began, longest)


def _warm_speech(engine: EncoderEngine) -> float:
    """Batches of 1, 2, 4 and 8 slots, a chunk each; the time of a full one by a line through them.

    On a CPU nothing is compiled for a shape, and a full batch costs as much as all of these.
    """
    chunk = np.zeros(engine.network.shape.chunk_samples, np.float32)
    capacity = engine.slots.capacity
    sizes = [size for size in (1, 2, 4, 8) if size <= capacity]
    seconds = []
    for size in (1, *sizes):  # the first call of all pays for what is set up once
        slots = [engine.open() for _ in range(size)]
        began = time.perf_counter()
        answers = engine.step([EncodeStep(slot, 0, chunk) for slot in slots])
        seconds.append(time.perf_counter() - began)
        for slot, answer in zip(slots, answers, strict=True):
            engine.close(slot)
            _refuse(engine, answer)
    single, largest = seconds[1], seconds[-1]
    slope = max(largest - single, 0.0) / max(sizes[-1] - 1, 1)
    return max(*seconds[1:], single + slope * (capacity - 1))


def _warm_text(engine: TextEngine) -> float:
    text = engine.made_up(TEXT_PIECES)
    began = time.perf_counter()
    (answer,) = engine.encode([EncodeText(engine.module.ref, text)])
    _refuse(engine, answer)
    return time.perf_counter() - began


def _warm_decoder(engine: DecoderEngine[int]) -> float:
    contract = engine.module.card.contract
    logits = np.zeros((DECODER_ROWS, contract.num_classes), np.float32)
    logits[np.arange(DECODER_ROWS), 1 + np.arange(DECODER_ROWS) % (contract.num_classes - 1)] = 9.0
    log_probs = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
    block = Marginals.from_dense(
        log_probs,
        contract.top_k,
        times_ms=np.arange(DECODER_ROWS, dtype=np.int32),
        fingerprint=contract.fingerprint,
    )
    job = DecodeJob(engine.module.ref, (codec.encode(block),), beam=DECODER_BEAM)
    longest = 0.0
    for requests in DECODER_REQUESTS:
        _decode(engine, [job] * requests)  # pays for what is compiled or set up once
        longest = max(longest, _decode(engine, [job] * requests))
    return longest


def _decode(engine: DecoderEngine[int], jobs: list[DecodeJob]) -> float:
    """Decode them together; the seconds of the longest token step."""
    for number, job in enumerate(jobs):
        engine.submit(number, job)
    longest = 0.0
    while engine.num_jobs:
        began = time.perf_counter()
        ended = engine.step()
        longest = max(longest, time.perf_counter() - began)
        for _, answer in ended:
            _refuse(engine, answer)
    return longest


def _refuse(engine: Engine, answer: object) -> None:
    if isinstance(answer, LegonnError):
        raise BadModule(f"{engine.module.ref} fails on made-up input: {answer.message}")
