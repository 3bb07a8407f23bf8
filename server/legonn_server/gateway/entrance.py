"""Letting callers in, counted: what admission decides, as metrics."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from legonn_core.errors import LegonnError
from legonn_server.routing.admission import Admission
from legonn_server.telemetry.metrics import Metrics

SPEECH = "speech"
TEXT = "text"


@contextmanager
def entered(admission: Admission, metrics: Metrics, kind: str) -> Iterator[None]:
    """Hold a place for the length of a ``with`` block.

    Raises:
        LegonnError: What admission refuses with.
    """
    with ExitStack() as stack:
        try:
            stack.enter_context(admission.enter())
        except LegonnError as refusal:
            metrics.admission_rejected.labels(refusal.reason).inc()
            raise
        metrics.sessions_admitted.labels(kind).inc()
        stack.enter_context(metrics.sessions_open.labels(kind).track_inprogress())
        yield
