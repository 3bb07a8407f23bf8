"""Triton servers as a home of modules: each call goes to the least loaded one that can be trusted.

A slot lives on one server and dies with it; sentences and decodes are pure and may go to any. A
server that fails one call of the transport is not relied on any more: its slots answer
``StateLost``, its calls ``BackendDown``, and callers replay elsewhere. Nothing is retried here.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from legonn_core.errors import AdmissionRefused, BadAudio, InternalFault, LegonnError, StateLost
from legonn_core.runtime.messages import (
    BackendHealth,
    DecodeJob,
    DecodeResult,
    EncodeResult,
    EncodeStep,
    EncodeText,
    ModuleDescription,
    ModuleRef,
    SlotRef,
)
from legonn_core.runtime.wire import Call, Op
from legonn_server.backends.triton_endpoint import TritonEndpoint
from legonn_server.backends.triton_fleet import Served, TritonFleet
from legonn_server.backends.triton_options import TritonOptions


@dataclass(frozen=True, slots=True)
class _Held:
    """Where a slot is, and what it is called there."""

    endpoint: TritonEndpoint
    generation: int
    model: str
    life: str
    slot: int
    epoch: int


class TritonBackend:
    """``Backend`` over several Triton servers; see the module's docstring.

    Args:
        options: Which servers, and how they are used.
        modules: What to serve from the start; empty takes the newest good version of each.
        on_progress: Told how loading goes, and who was lost.
        on_state: Told True when a server serves all modules, False when none does any more.
    """

    def __init__(
        self,
        options: TritonOptions,
        *,
        modules: tuple[ModuleRef, ...] = (),
        on_progress: Callable[[str], None] = lambda _: None,
        on_state: Callable[[bool], None] = lambda _: None,
    ) -> None:
        self._fleet = TritonFleet(
            options, modules=modules, on_progress=on_progress, on_state=on_state
        )
        self._held: dict[SlotRef, _Held] = {}
        self._epochs = itertools.count(1)

    async def start(self) -> None:
        """Load the modules on every server that is up; returns when they serve."""
        try:
            await self._fleet.start()
        except LegonnError:
            await self._fleet.stop()
            raise

    async def stop(self) -> None:
        """Give every connection back; the servers go on."""
        await self._fleet.stop()

    async def describe(self) -> tuple[ModuleDescription, ...]:
        """The modules in service."""
        return tuple(module.about for module in self._fleet.modules.values())

    async def load(self, ref: ModuleRef) -> ModuleDescription:
        """Load a version from the Triton repository on every server that is up."""
        return (await self._fleet.load(ref)).about

    async def unload(self, ref: ModuleRef) -> None:
        """Forget a version on every server; its open slots are lost."""
        self._held = {slot: held for slot, held in self._held.items() if slot.module != ref}
        await self._fleet.unload(ref)

    def _load(self, endpoint: TritonEndpoint) -> float:
        """Slots held and calls in flight."""
        held = sum(one.endpoint is endpoint for one in self._held.values())
        return held + endpoint.num_in_flight

    async def open(self, ref: ModuleRef) -> SlotRef:
        """Take a slot on the least loaded server that has one."""
        module, full = self._fleet.find(ref), set[str]()
        while True:
            endpoint = await self._fleet.choose(self._load, but=full)
            opening = self._fleet.spawn(self._open(endpoint, module))
            try:
                return await asyncio.shield(opening)
            except AdmissionRefused:
                full.add(endpoint.address)
            except asyncio.CancelledError:
                opening.add_done_callback(self._close_unwanted)
                raise

    async def _open(self, endpoint: TritonEndpoint, module: Served) -> SlotRef:
        generation = endpoint.generation
        asking = endpoint.ask(module.model, Call(Op.OPEN))
        answer = await self._fleet.on(endpoint, asking)
        slot = SlotRef(module.about.ref, answer.slot, next(self._epochs))
        self._held[slot] = _Held(
            endpoint, generation, module.model, answer.life, answer.slot, answer.epoch
        )
        return slot

    def _close_unwanted(self, opening: asyncio.Task[SlotRef]) -> None:
        """The caller left before its slot came."""
        if not opening.cancelled() and opening.exception() is None:
            self._release(opening.result())

    async def step(self, request: EncodeStep) -> EncodeResult:
        """Feed one chunk to where the slot is."""
        held = self._held.get(request.slot)
        if held is None:
            raise StateLost("the slot is not held any more")
        if not held.endpoint.is_up or held.generation != held.endpoint.generation:
            raise StateLost("the Triton server that held the stream's state was lost")
        size = self._fleet.find(request.slot.module).about.chunk_samples
        if request.samples.ndim != 1 or len(request.samples) > size:
            raise BadAudio(f"a step takes {size} samples, not {request.samples.shape}")
        samples = np.zeros(size, np.float32)
        samples[: len(request.samples)] = request.samples
        call = Call(
            Op.STEP,
            life=held.life,
            slot=held.slot,
            epoch=held.epoch,
            seq=request.seq,
            num_samples=len(request.samples),
            is_last=request.is_last,
        )
        asking = held.endpoint.ask(held.model, call, samples=samples)
        answer = await self._fleet.on(held.endpoint, asking)
        if answer.encoded is None:
            raise InternalFault(f"{held.model} answered a step without rows")
        return answer.encoded

    async def close_slot(self, slot: SlotRef) -> None:
        """Give a slot back, without waiting for the answer."""
        self._release(slot)

    def _release(self, slot: SlotRef) -> None:
        held = self._held.pop(slot, None)
        if held is not None:
            call = Call(Op.CLOSE, life=held.life, slot=held.slot, epoch=held.epoch)
            self._fleet.give_back(held.endpoint, held.model, call)

    async def encode_text(self, request: EncodeText) -> EncodeResult:
        """Encode one sentence on any server."""
        module = self._fleet.find(request.module)
        endpoint = await self._fleet.choose(self._load)
        asking = endpoint.ask(module.model, Call(Op.TEXT, text=request.text))
        answer = await self._fleet.on(endpoint, asking)
        if answer.encoded is None:
            raise InternalFault(f"{module.model} answered a sentence without rows")
        return answer.encoded

    async def decode(self, job: DecodeJob) -> DecodeResult:
        """Decode one segment on any server."""
        module = self._fleet.find(job.module)
        endpoint = await self._fleet.choose(self._load)
        asking = endpoint.decode(module.model, Call(Op.DECODE, job=job))
        answer = await self._fleet.on(endpoint, asking)
        if answer.decoded is None:
            raise InternalFault(f"{module.model} answered a decode without text")
        return answer.decoded

    async def health(self) -> BackendHealth:
        """How many servers can be relied on, and what they hold for this gateway."""
        endpoints = self._fleet.endpoints
        up = sum(endpoint.is_up for endpoint in endpoints)
        return BackendHealth(
            is_alive=up > 0,
            open_slots=len(self._held),
            waiting_jobs=sum(endpoint.num_in_flight for endpoint in endpoints),
            detail=f"{up} of {len(endpoints)} Triton servers",
        )
