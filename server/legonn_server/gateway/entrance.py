"""Letting callers in, counted: what admission decides, as metrics."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from time import monotonic

from legonn_core.errors import LegonnError
from legonn_server.access.tenants import Tenants
from legonn_server.gateway.doorkeeper import current_identity
from legonn_server.routing.admission import Admission
from legonn_server.telemetry.metrics import Metrics

SPEECH = "speech"
TEXT = "text"


@contextmanager
def entered(
    admission: Admission, metrics: Metrics, kind: str, *, tenants: Tenants
) -> Iterator[None]:
    """Hold a place, of the server and of the caller's tenant, for the length of a ``with`` block.

    Raises:
        LegonnError: What admission refuses with.
    """
    with ExitStack() as stack:
        try:
            stack.enter_context(_held(tenants))
            is_bulk = tenants.is_bulk(current_identity.get().tenant)
            stack.enter_context(admission.enter(is_bulk=is_bulk))
        except LegonnError as refusal:
            metrics.admission_rejected.labels(refusal.reason).inc()
            raise
        metrics.sessions_admitted.labels(kind).inc()
        stack.enter_context(metrics.sessions_open.labels(kind).track_inprogress())
        yield


@contextmanager
def _held(tenants: Tenants) -> Iterator[None]:
    tenant = current_identity.get().tenant
    tenants.enter(tenant, now=monotonic())
    try:
        yield
    finally:
        tenants.leave(tenant)
