"""The shipped modules' engines behind the server's sessions, in one process and without sockets."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path

import numpy as np
from prometheus_client import CollectorRegistry

from legonn_core.interface.reference import ModuleDescription, ModuleRef
from legonn_core.modules.registry import describe, load_module
from legonn_core.runtime.decoder_engine import DecoderEngine
from legonn_core.runtime.encoder_engine import EncoderEngine
from legonn_core.runtime.messages import (
    DecodeJob,
    DecodeResult,
    EncodeResult,
    EncodeStep,
    SlotRef,
)
from legonn_server.gateway.stream import StreamRunner, Workers
from legonn_server.pools.decoder_pool import DecoderLimits, DecoderPool
from legonn_server.pools.encoder_pool import EncoderPool
from legonn_server.pools.module_manager import Pair
from legonn_server.session import commands as c
from legonn_server.session import events as e
from legonn_server.session.endpoint import EndpointRule
from legonn_server.session.machine import SessionMachine
from legonn_server.session.policy import DecodingPolicy
from legonn_server.telemetry.metrics import Metrics


class Engines:
    """One speech encoder and one decoder; as much of ``Backend`` as a stream needs.

    Attributes:
        num_calls: Calls of each kind.
    """

    def __init__(self, store: Path, encoder: str, decoder: str) -> None:
        self._encoder = EncoderEngine(load_module(store, ModuleRef.parse(encoder)), capacity=1)
        self._decoder: DecoderEngine[int] = DecoderEngine(
            load_module(store, ModuleRef.parse(decoder))
        )
        self.num_calls: Counter[str] = Counter()

    @property
    def pair(self) -> Pair:
        """The two modules."""
        return Pair(self._description(self._encoder), self._description(self._decoder))

    @staticmethod
    def _description(engine: EncoderEngine | DecoderEngine[int]) -> ModuleDescription:
        return describe(engine.module.card)

    async def open(self, ref: ModuleRef) -> SlotRef:
        """Take the slot."""
        assert ref == self._encoder.module.ref
        return self._encoder.open()

    async def close_slot(self, slot: SlotRef) -> None:
        """Give it back."""
        self._encoder.close(slot)

    async def step(self, request: EncodeStep) -> EncodeResult:
        """Feed one chunk."""
        self.num_calls["step"] += 1
        (answer,) = self._encoder.step([request])
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def decode(self, job: DecodeJob) -> DecodeResult:
        """Decode one segment."""
        self.num_calls["decode"] += 1
        self._decoder.submit(0, job)
        while True:
            for _, answer in self._decoder.step():
                if isinstance(answer, Exception):
                    raise answer
                return answer

    async def hear(self, samples: np.ndarray, *, interim_results: bool = True) -> list[c.Command]:
        """Everything that a stream of these samples emits."""
        metrics = Metrics(CollectorRegistry())
        workers = Workers(
            EncoderPool(self, metrics), DecoderPool(self, metrics, DecoderLimits()), metrics
        )
        runner = StreamRunner(
            SessionMachine(DecodingPolicy()),
            workers,
            find_pair=lambda: self.pair,
            max_pending_s=2.0,
        )

        async def events() -> AsyncIterator[e.Event]:
            yield e.Opened(sample_rate=16_000, rule=EndpointRule(), interim_results=interim_results)
            for start in range(0, len(samples), 16_000):
                yield e.AudioReceived(samples[start : start + 16_000])

        emitted: list[c.Command] = []

        async def emit(command: c.Command) -> None:
            emitted.append(command)

        await runner.run(events(), emit)
        return emitted
