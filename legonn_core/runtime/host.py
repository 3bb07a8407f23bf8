"""All engines of one process, and the requests that wait for them.

``accept`` files a request, ``turn`` does one round of work and gives the answers that are ready.
No socket and no thread: the process loop and the tests drive it alike.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from legonn_core.errors import (
    BackendDown,
    BrokenInvariant,
    LegonnError,
    StateLost,
    UnknownModule,
)
from legonn_core.interface.card import ModuleCard, ModuleKind
from legonn_core.interface.contract import check
from legonn_core.interface.reference import ModuleDescription, ModuleRef
from legonn_core.modules import golden
from legonn_core.modules.check import check_bands
from legonn_core.modules.registry import describe, find_modules, load_module, read_card
from legonn_core.modules.signatures import ANYONE, Trust
from legonn_core.runtime.decoder_engine import DecoderEngine
from legonn_core.runtime.encoder_engine import EncoderEngine
from legonn_core.runtime.isolation import IsolatedDecoder, as_fault
from legonn_core.runtime.memory import (
    available_bytes,
    give_back,
    needed_bytes,
    refuse_too_large,
)
from legonn_core.runtime.messages import (
    BackendHealth,
    DecodeJob,
    EncodeStep,
    EncodeText,
    SlotRef,
)
from legonn_core.runtime.text_engine import TextEngine
from legonn_core.runtime.warming import Engine, Warmth, warm

Answer = tuple[int, object]
TEXT_BATCH = 16


@dataclass(frozen=True, slots=True)
class Prepared:
    """An engine that is checked and warm, and serves nobody yet."""

    engine: Engine
    described: ModuleDescription
    warmth: Warmth


class EngineHost:
    """Loads modules and runs their engines.

    Args:
        store: Module store.
        slots: Streams of each speech encoder.
        trust: Whose modules may be loaded.
        device: Where encoders compute. A decoder's token loop is code for CPUs and stays there.
    """

    def __init__(
        self, store: Path, *, slots: int, trust: Trust = ANYONE, device: str = "cpu"
    ) -> None:
        self._store, self._slots, self._trust = store, slots, trust
        self._device = device
        self._engines: dict[ModuleRef, Engine] = {}
        self._isolated: dict[ModuleRef, IsolatedDecoder[int]] = {}
        self._described: dict[ModuleRef, ModuleDescription] = {}
        self._step_seconds: dict[ModuleRef, float] = {}
        self._steps: list[tuple[int, EncodeStep]] = []
        self._texts: list[tuple[int, EncodeText]] = []
        self._answers: list[Answer] = []

    @property
    def has_work(self) -> bool:
        """Whether ``turn`` would do anything."""
        return bool(self._steps or self._texts or self._answers) or any(
            engine.num_jobs for engine in self._decoders()
        )

    def newest(self) -> list[ModuleRef]:
        """The highest version of each module in the store."""
        return list({ref.name: ref for ref in find_modules(self._store)}.values())

    def candidates(self) -> dict[str, list[ModuleRef]]:
        """All versions of each module in the store, highest first."""
        found: dict[str, list[ModuleRef]] = {}
        for ref in find_modules(self._store):
            found.setdefault(ref.name, []).insert(0, ref)
        return found

    def describe(self) -> tuple[ModuleDescription, ...]:
        """What is loaded."""
        return tuple(self._described.values())

    def load(self, ref: ModuleRef) -> ModuleDescription:
        """Read a module, check it against its card, its partners and its golden output.

        Raises:
            LegonnError: With the reason; nothing has changed then.
        """
        if ref in self._described:
            return self._described[ref]
        return self.adopt(self.prepare(ref))

    def prepare(self, ref: ModuleRef) -> Prepared:
        """Everything of a load that takes time; may run in another thread beside ``turn``.

        Raises:
            LegonnError: With the reason.
        """
        began = time.perf_counter()
        refuse_too_large(read_card(self._store, ref, self._trust), self._slots, available_bytes())
        module = load_module(self._store, ref, self._trust)
        self._check_partners(module.card)
        if module.card.kind is not ModuleKind.DECODER:
            module.network.to(self._device)
        folder = self._store / ref.name / ref.version
        difference = golden.check(module, folder)
        check_bands(module, folder)
        engine: Engine
        match module.card.kind:
            case ModuleKind.SPEECH_ENCODER:
                engine = EncoderEngine(module, capacity=self._slots)
            case ModuleKind.TEXT_ENCODER:
                engine = TextEngine(module)
            case ModuleKind.DECODER:
                engine = DecoderEngine(module)
        warmth = warm(engine)
        described = replace(
            describe(module.card),
            memory_bytes=needed_bytes(module.card, self._slots),
            load_seconds=time.perf_counter() - began - warmth.seconds,
            warm_seconds=warmth.seconds,
            golden_difference=difference,
        )
        return Prepared(engine, described, warmth)

    def adopt(self, prepared: Prepared) -> ModuleDescription:
        """Take a prepared engine into service, if it still fits the others.

        Raises:
            ContractMismatch: If a partner that came meanwhile does not fit.
        """
        ref = prepared.described.ref
        if ref in self._described:
            return self._described[ref]
        self._check_partners(prepared.engine.module.card)
        self._engines[ref] = prepared.engine
        self._step_seconds[ref] = prepared.warmth.step_seconds
        if isinstance(prepared.engine, DecoderEngine):
            self._isolated[ref] = IsolatedDecoder(prepared.engine)
        self._described[ref] = prepared.described
        return prepared.described

    def reap(self) -> int:
        """Free the slots of streams that sent nothing since the last call; gives their number."""
        engines = [e for e in self._engines.values() if isinstance(e, EncoderEngine)]
        return sum(engine.reap() for engine in engines)

    def _check_partners(self, card: ModuleCard) -> None:
        for engine in tuple(self._engines.values()):
            cards = (card, engine.module.card)
            encoders = [c for c in cards if c.kind is not ModuleKind.DECODER]
            decoders = [c for c in cards if c.kind is ModuleKind.DECODER]
            if encoders and decoders:
                check(encoders[0].contract, decoders[0].contract)

    def _forget(self, ref: ModuleRef) -> None:
        """Drop an engine with everything that waits for it, and give its memory back."""
        engine = self._engine(ref)
        decoder = self._isolated.pop(ref, None)
        if decoder is not None:
            lost = BackendDown(f"{ref} was unloaded while it worked")
            self._answers += [(key, lost) for key in decoder.keys]
        del self._engines[ref], self._described[ref], self._step_seconds[ref]
        del engine, decoder
        give_back()

    def accept(self, request_id: int, payload: object) -> None:
        """File a request; cheap ones are answered with the next ``turn``."""
        match payload:
            case EncodeStep():
                self._steps.append((request_id, payload))
            case EncodeText():
                self._texts.append((request_id, payload))
            case DecodeJob():
                self._try(
                    request_id,
                    lambda: self._decoder(payload.module).submit(request_id, payload),
                    keep=False,
                )
            case Prepared() | LegonnError():
                self._try(request_id, lambda: self._delivered(payload), keep=True)
            case ("cancel", int() as cancelled):
                self._cancel({cancelled})
            case _:
                self._try(request_id, lambda: self._command(payload), keep=True)

    def _try(self, request_id: int, action: Callable[[], object], *, keep: bool) -> None:
        try:
            result = action()
        except LegonnError as error:
            self._answers.append((request_id, error))
        except Exception as error:  # noqa: BLE001 - fails the request, not the engine
            self._answers.append((request_id, as_fault(error)))
        else:
            if keep:
                self._answers.append((request_id, result))

    def _delivered(self, made: Prepared | LegonnError) -> ModuleDescription:
        """What the loader made beside the turns."""
        if isinstance(made, LegonnError):
            raise made
        return self.adopt(made)

    def _command(self, payload: object) -> object:
        match payload:
            case ("describe",):
                return self.describe()
            case ("load", ModuleRef() as ref):
                return self.load(ref)
            case ("unload", ModuleRef() as ref):
                self._forget(ref)
                return None
            case ("open", ModuleRef() as ref):
                engine = self._engine(ref)
                if not isinstance(engine, EncoderEngine):
                    raise UnknownModule(f"{ref} is not a speech encoder")
                return engine.open()
            case ("close_slot", SlotRef() as slot):
                holder = self._engines.get(slot.module)
                if isinstance(holder, EncoderEngine):
                    holder.close(slot)
                return None
            case ("health",):
                return self._health()
        raise BrokenInvariant(f"the engine does not know {type(payload).__name__}")

    def _health(self) -> BackendHealth:
        engines = self._engines.values()
        slots = sum(e.slots.num_open for e in engines if isinstance(e, EncoderEngine))
        jobs = len(self._steps) + len(self._texts) + sum(d.num_jobs for d in self._decoders())
        turn = sum(self._step_seconds.values())
        return BackendHealth(is_alive=True, open_slots=slots, waiting_jobs=jobs, turn_seconds=turn)

    def _decoders(self) -> list[IsolatedDecoder[int]]:
        return list(self._isolated.values())

    def _engine(self, ref: ModuleRef) -> Engine:
        engine = self._engines.get(ref)
        if engine is None:
            raise UnknownModule(f"{ref} is not loaded")
        return engine

    def _decoder(self, ref: ModuleRef) -> IsolatedDecoder[int]:
        self._engine(ref)
        if ref not in self._isolated:
            raise UnknownModule(f"{ref} is not a decoder")
        return self._isolated[ref]

    def _cancel(self, ids: set[int]) -> None:
        self._steps = [entry for entry in self._steps if entry[0] not in ids]
        self._texts = [entry for entry in self._texts if entry[0] not in ids]
        for decoder in self._decoders():
            decoder.cancel(ids)

    def turn(self) -> list[Answer]:
        """One batch of each encoder and one token step of each decoder."""
        answers, self._answers = self._answers, []
        answers += self._encode_speech()
        answers += self._encode_text()
        for decoder in self._decoders():
            if decoder.num_jobs:
                answers += decoder.step()
        return answers

    def _encode_speech(self) -> list[Answer]:
        steps, self._steps = self._steps, []
        answers: list[Answer] = []
        by_module: dict[ModuleRef, list[tuple[int, EncodeStep]]] = {}
        taken: set[tuple[ModuleRef, int]] = set()
        for request_id, step in steps:
            row = (step.slot.module, step.slot.slot)
            if row in taken:  # one chunk of a stream a turn, in order
                self._steps.append((request_id, step))
                continue
            taken.add(row)
            by_module.setdefault(step.slot.module, []).append((request_id, step))
        for ref, entries in by_module.items():
            engine = self._engines.get(ref)
            if not isinstance(engine, EncoderEngine):
                answers += [(i, StateLost(f"{ref} is not loaded any more")) for i, _ in entries]
                continue
            results = engine.step([step for _, step in entries])
            answers += [(i, result) for (i, _), result in zip(entries, results, strict=True)]
        return answers

    def _encode_text(self) -> list[Answer]:
        if not self._texts:
            return []
        ref = self._texts[0][1].module
        entries = [entry for entry in self._texts if entry[1].module == ref][:TEXT_BATCH]
        chosen = {request_id for request_id, _ in entries}
        self._texts = [entry for entry in self._texts if entry[0] not in chosen]
        engine = self._engines.get(ref)
        if not isinstance(engine, TextEngine):
            return [(i, UnknownModule(f"{ref} is not a loaded text encoder")) for i, _ in entries]
        results = engine.encode([request for _, request in entries])
        return [(i, result) for (i, _), result in zip(entries, results, strict=True)]
