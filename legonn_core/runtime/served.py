"""One module version behind a model server: letters in, letters out, many streams at once.

The same ``EngineHost`` as in the child process does the work; here a server brings the batches.
Slots whose gateway is gone are given back after a while: a gateway that comes back late finds its
state lost and replays. Decoders are driven by ``served_decoder``.
"""

from __future__ import annotations

import math
import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from legonn_core.errors import BrokenInvariant, LegonnError, StateLost
from legonn_core.interface import codec
from legonn_core.interface.marginals import Marginals
from legonn_core.interface.reference import ModuleDescription, ModuleRef
from legonn_core.runtime import wire
from legonn_core.runtime.host import EngineHost
from legonn_core.runtime.messages import (
    BackendHealth,
    DecodeJob,
    DecodeResult,
    EncodeResult,
    EncodeStep,
    EncodeText,
    SlotRef,
)
from legonn_core.runtime.wire import Answer, Call, Fault, Letter, Op

PROBE_TEXT = "a"
EXERCISE_SECONDS = 10.0
"""How often probes run the network: 20 ms a second would be 2 % of a core for each idle module."""

WARM_ROWS = (1, 2, 4, 8)
"""Batch sizes that are run once before anybody waits for them."""


@dataclass(frozen=True, slots=True)
class ServedOptions:
    """How a module is served.

    Attributes:
        slots: Streams of a speech encoder.
        idle_seconds: A slot not used for so long is given back.
        device: Where an encoder computes.
    """

    slots: int = 32
    idle_seconds: float = 60.0
    device: str = "cpu"

    def __post_init__(self) -> None:
        if self.slots < 1 or not self.idle_seconds > 0:
            raise ValueError("slots and idle_seconds must be positive")


class ServedModule:
    """See the module's docstring.

    Args:
        store: Module store that holds the version and its vocabulary.
        ref: The version.
        options: How it is served.
        clock: Monotonic seconds.

    Attributes:
        description: The module.
        life: Names this engine among all that ever held the same slots.

    Raises:
        LegonnError: If the module is damaged or does not compute what it promises.
    """

    def __init__(
        self,
        store: Path,
        ref: ModuleRef,
        options: ServedOptions,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._host = EngineHost(store, slots=options.slots, device=options.device)
        self._options = options
        self._clock = clock
        self._used: dict[SlotRef, float] = {}
        self._exercised = -math.inf
        self.life = uuid.uuid4().hex[:16]
        self.description: ModuleDescription = self._host.load(ref)
        rows = WARM_ROWS if self.description.kind != "DECODER" else WARM_ROWS[:1]
        for count in rows:
            self.exercise(min(count, options.slots))

    # --- encoders: a batch is answered at once

    def answer(self, letters: Sequence[Letter]) -> list[Letter]:
        """Answer a batch; a letter that cannot be read or served harms no other.

        Returns:
            One letter for each, in order.
        """
        began = time.perf_counter()
        self._reap()
        answers: dict[int, Answer] = {}
        closing: list[SlotRef] = []
        probes: list[int] = []
        for index, letter in enumerate(letters):
            try:
                call = wire.read_call(letter)
                if call.op is Op.PROBE:
                    probes.append(index)
                else:
                    self._host.accept(index, self._payload(call, letter, closing))
            except LegonnError as error:
                answers[index] = Answer(fault=Fault.of(error))
        while self._host.has_work:
            for index, result in self._host.turn():
                answers[index] = self._answered(result)
        for index in probes:
            answers[index] = self._probe()
        for slot in closing:
            self._used.pop(slot, None)
        took = int((time.perf_counter() - began) * 1e6)
        rows = len(letters)
        return [
            wire.write_answer(replace(answers[i], life=self.life, batch_rows=rows, compute_us=took))
            for i in range(rows)
        ]

    def _payload(self, call: Call, letter: Letter, closing: list[SlotRef]) -> object:
        """What the host is asked for a call."""
        match call.op:
            case Op.OPEN:
                return ("open", self.description.ref)
            case Op.TEXT:
                return EncodeText(self.description.ref, call.text)
            case Op.STEP | Op.CLOSE:
                slot = SlotRef(self.description.ref, call.slot, call.epoch)
                if call.op is Op.CLOSE or call.is_last:
                    closing.append(slot)
                if call.life != self.life:
                    raise StateLost("the engine that held the stream's state is gone")
                if call.op is Op.CLOSE:
                    return ("close_slot", slot)
                self._used[slot] = self._clock()
                samples = letter.samples[: call.num_samples]
                return EncodeStep(slot, call.seq, samples, is_last=call.is_last)
        raise BrokenInvariant(f"{self.description.ref} does not know {call.op.value}")

    def _answered(self, result: object) -> Answer:
        match result:
            case LegonnError():
                return Answer(fault=Fault.of(result))
            case SlotRef():
                self._used[result] = self._clock()
                return Answer(slot=result.slot, epoch=result.epoch)
            case EncodeResult():
                return Answer(encoded=result)
            case DecodeResult():
                return Answer(decoded=result)
            case BackendHealth():
                return Answer(health=result)
        return Answer()

    def _reap(self) -> None:
        """Give back slots that nobody used for too long."""
        limit = self._clock() - self._options.idle_seconds
        for slot in [slot for slot, used in self._used.items() if used < limit]:
            del self._used[slot]
            self._ask(("close_slot", slot))

    # --- decoders: requests join and leave between token steps

    @property
    def has_work(self) -> bool:
        """Whether ``turn`` would do anything."""
        return self._host.has_work

    def file(self, number: int, call: Call) -> None:
        """File a decode, or a probe of the decoder; ``turn`` answers it.

        Raises:
            BrokenInvariant: If it is neither.
        """
        if call.op is Op.PROBE:
            is_due = self.is_exercise_due()
            self._host.accept(number, self._tiny_job() if is_due else ("health",))
        elif call.op is Op.DECODE and call.job is not None:
            self._host.accept(number, replace(call.job, module=self.description.ref))
        else:
            raise BrokenInvariant(f"{self.description.ref} does not know {call.op.value}")

    def cancel(self, number: int) -> None:
        """Forget a decode whose caller is gone."""
        self._host.accept(0, ("cancel", number))

    def turn(self) -> list[tuple[int, Answer]]:
        """One token step; the decodes that ended with it."""
        return [(number, self._answered(result)) for number, result in self._host.turn()]

    # --- life

    def _ask(self, payload: object) -> object:
        """One request to a host that has no other."""
        self._host.accept(0, payload)
        answers: list[object] = []
        while self._host.has_work:
            answers += [answer for _, answer in self._host.turn()]
        (found,) = answers
        if isinstance(found, LegonnError):
            raise found
        return found

    def _probe(self) -> Answer:
        health = self._ask(("health",))
        assert isinstance(health, BackendHealth)
        try:
            if self.is_exercise_due() and health.open_slots < self._options.slots:
                self.exercise(1)
        except LegonnError as error:
            return Answer(fault=Fault.of(error))
        return Answer(health=health)

    def is_exercise_due(self) -> bool:
        """Whether a probe should run the network; not every one does, or idling would cost."""
        now = self._clock()
        is_due = now - self._exercised >= EXERCISE_SECONDS
        if is_due:
            self._exercised = now
        return is_due

    def exercise(self, rows: int) -> None:
        """Run a tiny input through the network, so many times in one batch.

        Raises:
            LegonnError: If the network does not answer as it should.
        """
        ref, kind = self.description.ref, self.description.kind
        if kind == "DECODER":
            self._ask(self._tiny_job())
            return
        slots: list[SlotRef] = []
        for index in range(rows):
            if kind == "TEXT_ENCODER":
                self._host.accept(index, EncodeText(ref, PROBE_TEXT))
                continue
            slot = self._ask(("open", ref))
            assert isinstance(slot, SlotRef)
            slots.append(slot)
        silence = np.zeros(self.description.chunk_samples, np.float32)
        for index, slot in enumerate(slots):
            self._host.accept(index, EncodeStep(slot, 0, silence))
        while self._host.has_work:
            for _, result in self._host.turn():
                if isinstance(result, LegonnError):
                    raise result
        for slot in slots:
            self._ask(("close_slot", slot))

    def _tiny_job(self) -> DecodeJob:
        """One row that is certain of blank."""
        row = Marginals(
            ids=np.zeros((1, 1), np.uint16),
            log_probs=np.zeros((1, 1), np.float32),
            tail=np.zeros(1, np.float32),
            times_ms=np.zeros(1, np.int32),
            first_position=0,
            fingerprint=self.description.fingerprint,
        )
        return DecodeJob(self.description.ref, (codec.encode(row),), beam=1)
