"""Engine messages as the few tensors that a model server carries: JSON for facts, bytes for data.

A call is one JSON string (``CALL``) and beside it what is large: the samples of a chunk
(``SAMPLES``) or the codec bytes of a segment's marginals (``MARGINALS``). An answer is one JSON
string (``ANSWER``) and, from an encoder, the codec bytes of its new rows. The dataclasses of
``messages`` are the schema, so a field added there travels without a change here. Nothing that is
read can run code. Free of torch and of any server: gateways and models speak it alike.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from legonn_core.errors import BrokenInvariant, InternalFault, LegonnError, error_classes
from legonn_core.interface.tables import TableError, read_table, write_table
from legonn_core.runtime.messages import (
    BackendHealth,
    DecodeJob,
    DecodeResult,
    EncodeResult,
    ModuleDescription,
    ModuleRef,
)

CALL, SAMPLES, MARGINALS, ANSWER = "CALL", "SAMPLES", "MARGINALS", "ANSWER"
"""Names of the tensors."""

_BY_REASON = {error.reason: error for error in error_classes()}
_NO_SAMPLES = np.zeros(0, np.float32)

_NAME = re.compile(r"(?P<name>[a-z0-9]+(?:-[a-z0-9]+)*)-(?P<version>[1-9]\d*)-[0-9a-f]{16}")

T = TypeVar("T")


def model_name(module: ModuleDescription) -> str:
    """Name of a module version on a model server: ``speech-en-1-`` and the weights' digest."""
    return f"{module.ref.name}-{module.ref.version}-{module.weights_digest}"


def parse_model_name(name: str) -> ModuleRef | None:
    """The module version that a model on a server is; None if it is not one of ours."""
    match = _NAME.fullmatch(name)
    return ModuleRef(match["name"], match["version"]) if match else None


class Op(Enum):
    """What is asked for. PROBE is a real, tiny inference: ready is not alive."""

    PROBE = "probe"
    OPEN = "open"
    STEP = "step"
    CLOSE = "close"
    TEXT = "text"
    DECODE = "decode"


@dataclass(frozen=True, slots=True)
class Call:
    """One request to one module.

    Attributes:
        op: What is asked for.
        life: The engine's life that the slot belongs to, from the answer to OPEN. Slots are counted
            from anew in each life, so a slot without it could name another stream's.
        slot: STEP and CLOSE.
        epoch: STEP and CLOSE.
        seq: STEP.
        num_samples: STEP: how many of ``samples`` are audio; the rest fills a chunk.
        is_last: STEP.
        text: TEXT.
        job: DECODE; its marginals travel beside it.
    """

    op: Op
    life: str = ""
    slot: int = 0
    epoch: int = 0
    seq: int = 0
    num_samples: int = 0
    is_last: bool = False
    text: str = ""
    job: DecodeJob | None = None


@dataclass(frozen=True, slots=True)
class Fault:
    """An error of the tree: its reason and its sentence."""

    reason: str
    message: str

    @classmethod
    def of(cls, error: LegonnError) -> Fault:
        """How an error is written."""
        return cls(error.reason, error.message)

    def error(self) -> LegonnError:
        """The error of the tree; an unknown reason is a fault of the engine."""
        known = _BY_REASON.get(self.reason)
        return InternalFault("the engine failed") if known is None else known(self.message)


@dataclass(frozen=True, slots=True)
class Answer:
    """What a module says; a bare one is a sign of life while a decode is under way.

    Attributes:
        life: Of the engine that answers.
        fault: What went wrong; then the rest is empty.
        slot: OPEN.
        epoch: OPEN.
        encoded: STEP and TEXT.
        decoded: DECODE.
        health: PROBE.
        batch_rows: How many calls were answered together with this one.
        compute_us: How long that took in the engine, in microseconds.
    """

    life: str = ""
    fault: Fault | None = None
    slot: int = 0
    epoch: int = 0
    encoded: EncodeResult | None = None
    decoded: DecodeResult | None = None
    health: BackendHealth | None = None
    batch_rows: int = 0
    compute_us: int = 0


@dataclass(frozen=True, slots=True)
class Letter:
    """What travels: the JSON and what goes beside it.

    Attributes:
        text: The JSON of a call or an answer, UTF-8.
        samples: (N,) float32.
        blocks: Codec bytes of marginals.
    """

    text: bytes
    samples: NDArray[np.float32] = field(default_factory=lambda: _NO_SAMPLES)
    blocks: tuple[bytes, ...] = ()


def write_call(call: Call, *, samples: NDArray[np.float32] = _NO_SAMPLES) -> Letter:
    """Put a call in a letter.

    Args:
        call: The call.
        samples: Of a STEP, already filled up to the card's chunk.
    """
    blocks: tuple[bytes, ...] = ()
    if call.job is not None:
        blocks = call.job.marginals
        call = replace(call, job=replace(call.job, marginals=()))
    return Letter(_json(write_table(call)), samples, blocks)


def read_call(letter: Letter) -> Call:
    """Take a call out of a letter; an empty letter is a PROBE, as a server's warm-up sends it.

    Raises:
        BrokenInvariant: If it is anything else than a call.
    """
    if not letter.text:
        return Call(Op.PROBE)
    call = _read(Call, letter.text)
    if call.job is not None:
        kept = tuple(block for block in letter.blocks if block)
        call = replace(call, job=replace(call.job, marginals=kept))
    return call


def write_answer(answer: Answer) -> Letter:
    """Put an answer in a letter."""
    table = write_table(answer)
    if answer.encoded is None:
        return Letter(_json(table))
    encoded = table["encoded"]
    assert isinstance(encoded, dict)
    del encoded["marginals"]
    return Letter(_json(table), blocks=(answer.encoded.marginals,))


def read_answer(letter: Letter) -> Answer:
    """Take an answer out of a letter.

    Raises:
        BrokenInvariant: If it is anything else than an answer.
    """
    return _read(Answer, letter.text, letter.blocks)


def _json(table: object) -> bytes:
    return json.dumps(table, ensure_ascii=False, separators=(",", ":")).encode()


def _read(kind: type[T], text: bytes, blocks: tuple[bytes, ...] = ()) -> T:
    try:
        table = json.loads(text)
        if isinstance(table, dict) and isinstance(table.get("encoded"), dict):
            table["encoded"]["marginals"] = b"".join(blocks)
        if not isinstance(table, dict):
            raise TableError("it is no table")
        return read_table(kind, table)
    except TableError as error:
        # The key's path alone: what stands there may be what somebody said.
        where = str(error).partition(" ")[0]
        raise BrokenInvariant(f"no {kind.__name__.lower()} of this version: {where}") from None
    except (UnicodeDecodeError, json.JSONDecodeError):
        raise BrokenInvariant(f"no {kind.__name__.lower()} of this version: no JSON") from None
