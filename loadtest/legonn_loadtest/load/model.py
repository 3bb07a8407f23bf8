"""What a server needs for a number of streams, from what it was seen to need for a few.

Pure. Chunks of live streams come by the clock, but their phases are random and there are many, so
together they arrive as if at random; the work of one is nearly constant. That is the queue M/D/1
(Pollaczek 1930, Khinchine 1932): with work of S seconds a chunk and a load of rho the mean wait is
S·rho / (2·(1 − rho)), and its tail falls about exponentially, so one wait in twenty is longer than
three mean ones. The knee is the load at which work and such a wait fill the bound. Work a stream is
taken at two light loads, since a part of it is there without streams and a batch costs less a row.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

TAIL = 3.0
"""Mean waits in the 95th percentile of an exponential tail: ln 20."""

SLOT_MARGIN = 3.72
"""Standard deviations above the mean that are passed once in ten thousand."""


class NotEnough(Exception):
    """A result from which nothing can be predicted; the message says what is missing."""


@dataclass(frozen=True, slots=True)
class Load:
    """What a server used with so many streams, all speaking.

    Attributes:
        streams: At once.
        engine: Cores that the engine kept busy.
        gateway: Cores that the gateway kept busy.
    """

    streams: int
    engine: float
    gateway: float


@dataclass(frozen=True, slots=True)
class Line:
    """Cores as a straight line over streams: ``fixed + each·streams``."""

    fixed: float
    each: float

    def at(self, streams: float) -> float:
        """Cores for so many streams."""
        return self.fixed + self.each * streams


@dataclass(frozen=True, slots=True)
class Model:
    """A server whose work is known.

    Attributes:
        engine: What the engine needs; ``each`` is 0 if there is none.
        gateway: What the gateway needs.
        chunk_s: Audio in the unit of work: of the engine a chunk, without an engine a message.
    """

    engine: Line
    gateway: Line
    chunk_s: float

    def knee(self, *, cores: float, bound_s: float) -> float:
        """Streams at which the 95th percentile of the lag reaches the bound.

        Args:
            cores: That engine and gateway share.
            bound_s: Most that a partial may come after its audio, in seconds.
        """
        low, high = 0.0, 1e7
        for _ in range(100):
            middle = (low + high) / 2
            if self.lag_p95_s(middle, cores=cores) <= bound_s:
                low = middle
            else:
                high = middle
        return low

    def lag_p95_s(self, streams: float, *, cores: float) -> float:
        """The 95th percentile of the lag in seconds; infinity beyond what the cores can do."""
        load = (self.engine.at(streams) + self.gateway.at(streams)) / cores
        if load >= 1.0:
            return math.inf
        work = (self.engine.each + self.gateway.each) * self.chunk_s / cores
        return work + TAIL * work * load / (2 * (1 - load))


@dataclass(frozen=True, slots=True)
class Needs:
    """What a number of sessions needs.

    Attributes:
        speaking: Streams that speak at once, all but once in ten thousand moments: encoder slots.
        replicas: Servers, with one to spare.
        cores: Of all of them.
        gateway_cores: Of those, what gateways keep busy.
        ingress_bits: Audio a second that comes in, as PCM.
    """

    sessions: int
    speaking: int
    replicas: int
    cores: float
    gateway_cores: float
    ingress_bits: float


def speaking(sessions: int, speech_share: float) -> int:
    """Sessions that speak at once, all but once in ten thousand moments (binomial, near normal)."""
    spread = math.sqrt(sessions * speech_share * (1 - speech_share))
    return min(math.ceil(sessions * speech_share + SLOT_MARGIN * spread), sessions)


def needs(
    model: Model,
    sessions: int,
    *,
    cores: float,
    bound_s: float,
    speech_share: float = 0.5,
    headroom: float = 0.8,
) -> Needs:
    """What so many sessions need.

    Args:
        model: Of one server.
        sessions: Open at once.
        cores: Of one server.
        bound_s: As for ``knee``.
        speech_share: Of the time of a session in which somebody speaks.
        headroom: Share of the knee that a server is given.

    Raises:
        NotEnough: If not even one stream fits.
    """
    each = model.knee(cores=cores, bound_s=bound_s) * headroom
    if each < 1:
        raise NotEnough("one server carries less than one stream within this bound")
    active = speaking(sessions, speech_share)
    replicas = math.ceil(active / each) + 1
    return Needs(
        sessions=sessions,
        speaking=active,
        replicas=replicas,
        cores=replicas * cores,
        gateway_cores=model.gateway.each * active,
        ingress_bits=256_000.0 * sessions,
    )


def fitted(loads: Sequence[Load], *, chunk_s: float) -> Model:
    """The model through the two lightest loads.

    Raises:
        NotEnough: If there are no two different ones.
    """
    few = sorted({one.streams: one for one in loads}.values(), key=lambda one: one.streams)[:2]
    if len(few) < 2:
        raise NotEnough("a prediction needs measurements with two numbers of streams")
    one, two = few

    def line(low: float, high: float) -> Line:
        # Less than in proportion, never more: what falls with streams is noise of a small number.
        slope = (high - low) / (two.streams - one.streams)
        each = max(min(slope, high / two.streams), 0.0)
        return Line(max(high - each * two.streams, 0.0), each)

    engine = line(one.engine, two.engine)
    return Model(engine, line(one.gateway, two.gateway), chunk_s)


def loads_of(capacity: Mapping[str, Any]) -> tuple[Load, ...]:
    """The steps that held in a result of ``legonn bench capacity``.

    Raises:
        NotEnough: If its server showed no metrics.
    """
    found = []
    for step in capacity["steps"]:
        server = step["server"]
        audio = server.get("legonn_audio_received_seconds_total", 0.0)
        if not audio:
            raise NotEnough("the result holds no metrics of the server: name them with --metrics")
        streams = max(phase["streams"] for phase in step["scenario"]["phases"])
        if step["breaches"]:
            continue
        engine = server["engine_process_cpu_seconds_total"] * streams / audio
        found.append(Load(streams, engine, server["process_cpu_seconds_total"] * streams / audio))
    return tuple(found)
