"""Drives the decoder for many requests at once: continuous batching, one token step a turn.

Requests of one kind and beam width are a group: they join it between two steps and leave it when
they end, whatever the others do. ``plan.py`` says whose turn it is, ``decode_jobs.py`` reads a job
and writes its answer; between steps the caller may do other work, so an encoder's chunk never waits
for a whole translation. A request is a pure function of its input and may be tried again elsewhere.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from itertools import groupby, islice
from time import monotonic
from typing import Generic, TypeVar

import numpy as np
import torch

from legonn_core.decoders.bank import TokenBank
from legonn_core.decoders.decoder import END, Decoder
from legonn_core.decoders.prepared import Precision, PreparedDecoder
from legonn_core.errors import DeadlineMissed, LegonnError, QueueFull
from legonn_core.modules.registry import LoadedModule
from legonn_core.runtime import plan
from legonn_core.runtime.decode_jobs import PEAKS, JobReader, Request
from legonn_core.runtime.messages import DecodeJob, DecodeKind, DecodeResult
from legonn_core.search import lanes as lanes_module
from legonn_core.search.lanes import Lanes

__all__ = ["PEAKS", "DecoderEngine"]

Key = TypeVar("Key", bound=Hashable)

_LOOKED_AT = 256
"""Waiting jobs of a kind that the policy sees; the ones behind them wait their turn."""

_SPARE_COLUMNS = 256
"""A group's arrays are kept for the next one, unless a long text has made them large."""

_ROWS_A_BYTE = 1 / 50
"""A row of marginals with its 16 classes takes about 50 bytes."""


@dataclass(slots=True)
class _Group(Generic[Key]):
    """Requests that take their steps together; place i of all three is the same request."""

    bank: TokenBank
    lanes: Lanes | None
    requests: list[Request[Key]]


class DecoderEngine(Generic[Key]):
    """Requests of one decoder version.

    Args:
        module: Loaded decoder.
        precision: Of token steps.
        limits: How much at once, and whose turn it is.
        clock: Seconds; a test's own.
    """

    def __init__(
        self,
        module: LoadedModule,
        *,
        precision: Precision = Precision.FLOAT32,
        limits: plan.Limits | None = None,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        assert isinstance(module.network, Decoder)
        self.module, self.network = module, module.network
        self._limits, self._clock = limits or plan.Limits(), clock
        self._prepared = PreparedDecoder(module.network, precision)
        self._reader = JobReader(module)
        self._ledger = plan.Ledger()
        self._waiting: dict[DecodeKind, dict[Key, tuple[plan.Waiting[Key], DecodeJob]]] = {
            kind: {} for kind in DecodeKind
        }
        self._groups: dict[plan.Group, _Group[Key]] = {}
        self._spare: dict[int, TokenBank] = {}
        self._refused: list[tuple[Key, DecodeResult | LegonnError]] = []

    @property
    def num_jobs(self) -> int:
        """Requests waiting or under way."""
        running = sum(len(group.requests) for group in self._groups.values())
        return running + sum(map(len, self._waiting.values())) + len(self._refused)

    @property
    def running(self) -> set[Key]:
        """Requests that have begun and not ended."""
        return {request.key for group in self._groups.values() for request in group.requests}

    def submit(self, key: Key, job: DecodeJob) -> None:
        """Queue a job; ``key`` comes back with its answer."""
        queue = self._waiting[job.kind]
        delay = plan.refusal(self._limits, self._ledger, job.kind, len(queue))
        if delay is not None:
            refusal = QueueFull(
                f"{len(queue)} decodes of this kind wait already; try again in {delay:.1f} s"
            )
            self._refused.append((key, refusal))
            return
        expires = None if job.timeout_s is None else self._clock() + job.timeout_s
        size = int(sum(map(len, job.marginals)) * _ROWS_A_BYTE)
        queue[key] = plan.Waiting(key, job.beam, size, expires), job

    @torch.inference_mode()
    def cancel(self, keys: set[Key]) -> None:
        """Forget jobs whose callers are gone; their rows are free at once."""
        for queue in self._waiting.values():
            for key in keys & queue.keys():
                del queue[key]
        for name, group in list(self._groups.items()):
            gone = [i for i, request in enumerate(group.requests) if request.key in keys]
            if gone:
                self._leave(name, group, gone)

    def step(self) -> list[tuple[Key, DecodeResult | LegonnError]]:
        """Take one turn: start who may start, then one token step of the group whose turn it is.

        Returns:
            Jobs that ended with this turn.
        """
        ended, self._refused = self._refused, []
        began = self._clock()
        turn = plan.next_turn(
            self._limits,
            self._ledger,
            queues={
                kind: [entry for entry, _ in islice(queue.values(), _LOOKED_AT)]
                for kind, queue in self._waiting.items()
            },
            running={name: len(group.requests) for name, group in self._groups.items()},
            now=began,
        )
        if turn is None:
            self._ledger = plan.idle(self._ledger)
            return ended
        busy = {kind for kind, queue in self._waiting.items() if queue}
        busy |= {name.kind for name in self._groups}
        queue = self._waiting[turn.group.kind]
        for key in turn.expired:
            del queue[key]
            ended.append((key, DeadlineMissed("the decode was not begun in time")))
        ended += self._join(turn.group, [(key, queue.pop(key)[1]) for key in turn.joins])
        ended += self._advance(turn.group)
        now = self._clock()
        self._ledger = plan.charge(
            self._limits, self._ledger, turn, busy=busy, now=now, seconds=now - began
        )
        return ended

    def _join(
        self, name: plan.Group, jobs: Sequence[tuple[Key, DecodeJob]]
    ) -> list[tuple[Key, DecodeResult | LegonnError]]:
        """Read jobs and put those that have something to decode into their group."""
        ended: list[tuple[Key, DecodeResult | LegonnError]] = []
        requests: list[Request[Key]] = []
        for key, job in jobs:
            try:
                request = self._reader.read(key, job)
            except LegonnError as error:
                ended.append((key, error))
                continue
            if request is None:
                ended.append((key, self._reader.without_rows(job)))
            else:
                requests.append(request)
        requests.sort(key=lambda request: len(request.search.forced))
        for _, alike in groupby(requests, key=lambda request: len(request.search.forced)):
            self._begin(name, list(alike))
        return ended

    @torch.inference_mode()
    def _begin(self, name: plan.Group, requests: list[Request[Key]]) -> None:
        """Ingest the marginals of requests whose forced beginnings are equally long, and join."""
        group = self._groups.get(name)
        if group is None:
            bank = self._spare.pop(name.beam, None) or TokenBank(self._prepared, name.beam)
            group = _Group(bank, None, [])
            self._groups[name] = group
        read = self._reader.ingested(requests, self.network)
        memory = self.network.remember(read.mixture, read.lengths)
        past = None
        starts = lanes_module.start([request.search for request in requests])
        if requests[0].search.forced:
            begun = torch.tensor([(END, *request.search.forced[:-1]) for request in requests])
            log_probs, past = self.network.read(begun, memory, 1)
            starts = lanes_module.read_forced(starts, log_probs.numpy())
        group.bank.join(memory, read.lengths.tolist(), past)
        group.lanes = starts if group.lanes is None else lanes_module.join(group.lanes, starts)
        group.requests += requests

    def _advance(self, name: plan.Group) -> list[tuple[Key, DecodeResult | LegonnError]]:
        """One token in every row of a group; returns what ended."""
        group = self._groups.get(name)
        if group is None or group.lanes is None:
            return []
        lanes = group.lanes
        log_probs = group.bank.step(lanes.last_tokens, lanes.parents)
        group.lanes = lanes_module.advance(lanes, log_probs)
        done = np.flatnonzero(group.lanes.is_done).tolist()
        ended: list[tuple[Key, DecodeResult | LegonnError]] = [
            (
                group.requests[place].key,
                self._reader.result(group.requests[place], lanes_module.finish(group.lanes, place)),
            )
            for place in done
        ]
        if done:
            self._leave(name, group, done)
        return ended

    def _leave(self, name: plan.Group, group: _Group[Key], places: Sequence[int]) -> None:
        """Free the rows of the requests at ``places``."""
        order = group.bank.leave(places)
        if not order:
            del self._groups[name]
            if group.bank.num_columns <= _SPARE_COLUMNS:
                self._spare[name.beam] = group.bank
            return
        assert group.lanes is not None
        group.lanes = group.lanes.select(order)
        group.requests = [group.requests[before] for before in order]
