"""A backend without weights: deterministic answers, latency and faults by script.

It ships: servers are tried out and load-tested with it (`legonn serve --backend fake`), and every
policy above it is tested against it. Its "speech" is in the samples: a word is heard wherever the
audio is louder than ``loud`` over one row, and its name is the loudness itself, so that the text is
a function of the audio alone, as with a real encoder. Its "translation" is upper case.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
import math
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from legonn_core.errors import (
    BackendDown,
    BadAudio,
    LegonnError,
    Overloaded,
    ProtocolViolation,
    StateLost,
    UnknownModule,
)
from legonn_core.runtime.messages import (
    BackendHealth,
    DecodedText,
    DecodeJob,
    DecodeResult,
    EncodeResult,
    EncodeStep,
    EncodeText,
    ModuleDescription,
    ModuleRef,
    Prefix,
    SlotRef,
    Word,
)

SAMPLE_RATE = 16_000
CHUNK_SAMPLES = 5_120
ROW_MS = 80
_ROW_SAMPLES = SAMPLE_RATE * ROW_MS // 1000
_FINGERPRINT = "fake000000000000"


def fake_modules() -> tuple[ModuleDescription, ...]:
    """One decoder, a speech encoder for English, text encoders for German and Romanian."""

    def module(name: str, kind: str, source: str, **more: float) -> ModuleDescription:
        return ModuleDescription(
            ref=ModuleRef(name, "1"),
            kind=kind,
            source_language=source,
            target_language="en",
            fingerprint=_FINGERPRINT,
            vocabulary="fake/1",
            weights_digest="0" * 64,
            num_parameters=0,
            sample_rate_hertz=int(more.get("rate", 0)),
            chunk_samples=int(more.get("chunk", 0)),
            row_ms=more.get("row_ms", 0.0),
        )

    return (
        module("decoder-en", "DECODER", ""),
        module(
            "speech-en",
            "SPEECH_ENCODER",
            "en",
            rate=SAMPLE_RATE,
            chunk=CHUNK_SAMPLES,
            row_ms=ROW_MS,
        ),
        module("text-de", "TEXT_ENCODER", "de"),
        module("text-ro", "TEXT_ENCODER", "ro"),
    )


@dataclass(frozen=True, slots=True)
class FakeScript:
    """What the fake does beside answering.

    Attributes:
        latency_s: Awaited before every answer.
        max_slots: Speech streams at once.
        loud: Root mean square above which a row holds a word.
        fault: Called before every answer with the method's name and how often it was called before;
            an error that it returns is raised in place of the answer.
    """

    latency_s: float = 0.0
    max_slots: int = 64
    loud: float = 0.01
    fault: Callable[[str, int], LegonnError | None] | None = None


@dataclass(slots=True)
class _Slot:
    next_seq: int = 0
    rest: NDArray[np.float32] = field(default_factory=lambda: np.zeros(0, np.float32))
    tokens: list[int] = field(default_factory=list)
    positions: list[int] = field(default_factory=list)
    num_rows: int = 0


class FakeBackend:
    """See the module's docstring.

    Args:
        script: What it does beside answering.
        modules: In memory from the start.
        absent: In the store, and in memory when they are loaded.

    Attributes:
        num_calls: Calls of each method, for tests.
    """

    def __init__(
        self,
        script: FakeScript | None = None,
        *,
        modules: tuple[ModuleDescription, ...] | None = None,
        absent: tuple[ModuleDescription, ...] = (),
    ) -> None:
        self._script = script or FakeScript()
        self._loaded = {one.ref: one for one in (modules or fake_modules())}
        self._store = self._loaded | {one.ref: one for one in absent}
        self._slots: dict[SlotRef, _Slot] = {}
        self._free = list(range(self._script.max_slots))
        self._epochs = itertools.count(1)
        self._is_alive = True
        self.num_calls: Counter[str] = Counter()

    @property
    def num_open_slots(self) -> int:
        """Slots that nobody gave back yet."""
        return len(self._slots)

    async def start(self) -> None:
        """Nothing to load."""
        self._is_alive = True

    async def stop(self) -> None:
        """Every later call fails."""
        self._is_alive = False

    async def describe(self) -> tuple[ModuleDescription, ...]:
        """The loaded modules."""
        await self._answer("describe")
        return tuple(self._loaded.values())

    async def load(self, ref: ModuleRef) -> ModuleDescription:
        """Take a module of the store into service."""
        await self._answer("load")
        if ref not in self._store:
            raise UnknownModule(f"the module store has no {ref}")
        self._loaded[ref] = self._store[ref]
        return self._loaded[ref]

    async def unload(self, ref: ModuleRef) -> None:
        """Take a module out of service."""
        await self._answer("unload")
        self._module(ref)
        del self._loaded[ref]
        self._forget([slot for slot in self._slots if slot.module == ref])

    async def open(self, ref: ModuleRef) -> SlotRef:
        """Take a slot."""
        await self._answer("open")
        self._module(ref)
        if len(self._slots) >= self._script.max_slots:
            raise Overloaded(f"all {self._script.max_slots} slots of {ref} are taken")
        slot = SlotRef(ref, heapq.heappop(self._free), next(self._epochs))
        self._slots[slot] = _Slot()
        return slot

    async def step(self, request: EncodeStep) -> EncodeResult:
        """Cut the samples into rows and hear one word in each loud one."""
        await self._answer("step")
        state = self._slots.get(request.slot)
        if state is None:
            raise StateLost(f"slot {request.slot.slot} is not held any more")
        if len(request.samples) > CHUNK_SAMPLES:
            raise BadAudio(f"a step takes {CHUNK_SAMPLES} samples, not {len(request.samples)}")
        if request.seq != state.next_seq:
            raise ProtocolViolation(f"step {request.seq} came where {state.next_seq} was due")
        state.next_seq += 1
        samples = np.concatenate([state.rest, request.samples])
        keep = 0 if request.is_last else len(samples) % _ROW_SAMPLES
        state.rest = samples[len(samples) - keep :]
        first = state.num_rows
        readings = self._hear(samples[: len(samples) - keep])
        for row, token in enumerate(readings, start=first):
            if token:
                state.tokens.append(token)
                state.positions.append(row)
        state.num_rows += len(readings)
        last = state.positions[-1] if state.positions else -1
        return EncodeResult(
            marginals=np.array(readings, "<i4").tobytes(),
            num_rows=len(readings),
            total_rows=state.num_rows,
            best=Prefix(tuple(state.tokens), tuple(state.positions)),
            trailing_blank_ms=(state.num_rows - 1 - last) * ROW_MS,
            blank_probs=tuple(0.0 if token else 1.0 for token in readings),
            times_ms=tuple(row * ROW_MS + ROW_MS // 2 for row in range(first, state.num_rows)),
        )

    async def close_slot(self, slot: SlotRef) -> None:
        """Give the slot back."""
        self.num_calls["close_slot"] += 1
        self._forget([slot])

    async def encode_text(self, request: EncodeText) -> EncodeResult:
        """One row a character, which is its code point."""
        await self._answer("encode_text")
        self._module(request.module)
        tokens = [ord(character) for character in request.text.upper()]
        return EncodeResult(
            marginals=np.array(tokens, "<i4").tobytes(),
            num_rows=len(tokens),
            total_rows=len(tokens),
            best=Prefix(tuple(tokens), tuple(range(len(tokens)))),
        )

    async def decode(self, job: DecodeJob) -> DecodeResult:
        """Read the rows as they are; forced tokens first."""
        await self._answer("decode")
        self._module(job.module)
        rows = np.frombuffer(b"".join(job.marginals), "<i4")[: job.max_row].tolist()
        heard = [(token, row) for row, token in enumerate(rows) if token]
        promised = job.forced or tuple(map(_LETTERS.index, job.forced_text.split()))
        places = [row for _, row in heard] or [0]
        forced = [
            (token, places[min(index, len(places) - 1)]) for index, token in enumerate(promised)
        ]
        is_text = any(token >= _FIRST_CHARACTER for token, _ in heard)
        best = _decoded(forced + heard[len(forced) :], is_text=is_text)
        others = (
            _decoded(heard[: max(len(heard) - lost, len(forced))], is_text=is_text)
            for lost in range(1, job.num_best)
        )
        return DecodeResult((best, *others))

    async def health(self) -> BackendHealth:
        """Alive until stopped."""
        return BackendHealth(is_alive=self._is_alive, open_slots=len(self._slots))

    def lose_state(self) -> None:
        """Forget every slot, as an engine does that dies and comes back."""
        self._forget(list(self._slots))

    def _forget(self, slots: list[SlotRef]) -> None:
        for slot in slots:
            if self._slots.pop(slot, None) is not None:
                heapq.heappush(self._free, slot.slot)

    def _module(self, ref: ModuleRef) -> ModuleDescription:
        if ref not in self._loaded:
            raise UnknownModule(f"module {ref} is not loaded")
        return self._loaded[ref]

    def _hear(self, samples: NDArray[np.float32]) -> list[int]:
        """For each row of (N,) samples, the last may be short: 0 if quiet, else 1 to 24."""
        # Dot products of single rows: no temporary array, and a row is summed in the same way
        # whatever came with it, so that a replay hears what was heard.
        rows = (samples[at : at + _ROW_SAMPLES] for at in range(0, len(samples), _ROW_SAMPLES))
        levels = [math.sqrt(float(np.dot(row, row)) / len(row)) for row in rows]
        return [
            0 if level < self._script.loud else 1 + min(int(level * 24), 23) for level in levels
        ]

    async def _answer(self, method: str) -> None:
        """Count the call, wait, then raise what the script says."""
        count = self.num_calls[method]
        self.num_calls[method] += 1
        if self._script.latency_s:
            await asyncio.sleep(self._script.latency_s)
        if not self._is_alive:
            raise BackendDown("the fake engine is stopped")
        error = self._script.fault(method, count) if self._script.fault else None
        if error is not None:
            raise error


_LETTERS = "abcdefghijklmnopqrstuvwxyz"
_FIRST_CHARACTER = 25
"""Tokens below are loudness classes, the others code points of text."""


def _decoded(heard: list[tuple[int, int]], *, is_text: bool) -> DecodedText:
    tokens = tuple(token for token, _ in heard)
    if is_text:
        return _decoded_text(tokens)
    words = tuple([_word(token, row) for token, row in heard])
    text = " ".join([_LETTERS[token] for token in tokens])
    return DecodedText(tokens, text, 0.0, 0.9, words)


@lru_cache(maxsize=16_384)
def _word(token: int, row: int) -> Word:
    """A word of a reading; every later reading of the segment has it again."""
    return Word(
        text=_LETTERS[token],
        start_ms=row * ROW_MS,
        end_ms=(row + 1) * ROW_MS,
        confidence=0.9,
        num_tokens=1,
        last_position=row,
    )


def _decoded_text(tokens: tuple[int, ...]) -> DecodedText:
    text = "".join(map(chr, tokens))
    parts = text.split(" ")
    lengths = [len(part) + 1 for part in parts[:-1]] + [len(parts[-1])]
    words = tuple(Word(part, 0, 0, 0.9, n, 0) for part, n in zip(parts, lengths, strict=True))
    return DecodedText(tokens, text, 0.0, 0.9, words)
