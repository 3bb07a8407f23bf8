"""Looks at the gateway once a second: how late the loop is, how far behind each stream is.

Once a second and not once a message, because a histogram observed ten times a second for each of a
thousand streams would cost more than it tells.
"""

from __future__ import annotations

import asyncio

from legonn_core.errors import (
    AdmissionRefused,
    BackendDown,
    ModuleDraining,
    StateLost,
    Unavailable,
)
from legonn_server.gateway.entrance import SPEECH, TEXT
from legonn_server.gateway.services import Services
from legonn_server.session.promises import Promise
from legonn_server.telemetry.metrics import Metrics

PERIOD_S = 1.0


class Sampler:
    """Fills the metrics that are looked at rather than counted.

    Args:
        services: What the handlers share.
    """

    def __init__(self, services: Services) -> None:
        self._services = services
        self._metrics = services.workers.metrics

    async def run(self) -> None:
        """Sample until cancelled."""
        clock = asyncio.get_running_loop().time
        while True:
            due = clock() + PERIOD_S
            await asyncio.sleep(PERIOD_S)
            self._metrics.event_loop_lag.observe(max(clock() - due, 0.0))
            self.sample()

    def sample(self) -> None:
        """Look at everything once."""
        metrics = self._metrics
        ring_bytes = 0
        num_segments = 0
        for runner in tuple(self._services.runners):
            ring_bytes += runner.ring_bytes
            num_segments += runner.has_segment
            metrics.stream_lag.observe(runner.backlog_s)
            metrics.unsent_answers.observe(runner.num_unsent)
        metrics.ring_bytes.set(ring_bytes)
        metrics.segments_active.set(num_segments)


def begin_at_zero(metrics: Metrics) -> None:
    """Series of closed sets are there from the first scrape: the first increase is seen as one."""
    for promise in Promise:
        metrics.invariant_violations.labels(promise.value)
    for error in (AdmissionRefused, ModuleDraining, Unavailable):
        metrics.admission_rejected.labels(error.reason)
    for lost in (BackendDown, StateLost):
        metrics.replays.labels(lost.reason.lower())
    for kind in (SPEECH, TEXT):
        metrics.sessions_admitted.labels(kind)
        metrics.sessions_open.labels(kind)
