"""The one place that knows gRPC status codes: every error of the tree becomes a status here."""

from __future__ import annotations

import uuid

import grpc
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.rpc import error_details_pb2
from google.rpc.status_pb2 import Status
from grpc_status import rpc_status

from legonn_core import errors
from legonn_server.gateway.interceptors.wrapping import CallInterceptor, Invoke
from legonn_server.telemetry.logs import LOGGER
from legonn_server.telemetry.metrics import Metrics

DOMAIN = "legonn"

STATUS_CODES: dict[type[errors.LegonnError], grpc.StatusCode] = {
    errors.InputError: grpc.StatusCode.INVALID_ARGUMENT,
    errors.ProtocolViolation: grpc.StatusCode.FAILED_PRECONDITION,
    errors.NotFound: grpc.StatusCode.NOT_FOUND,
    errors.ContractMismatch: grpc.StatusCode.FAILED_PRECONDITION,
    errors.Unauthenticated: grpc.StatusCode.UNAUTHENTICATED,
    errors.PermissionDenied: grpc.StatusCode.PERMISSION_DENIED,
    errors.Overloaded: grpc.StatusCode.RESOURCE_EXHAUSTED,
    errors.Unavailable: grpc.StatusCode.UNAVAILABLE,
    errors.SessionSuperseded: grpc.StatusCode.ABORTED,
    errors.DeadlineMissed: grpc.StatusCode.DEADLINE_EXCEEDED,
    errors.NotImplementedYet: grpc.StatusCode.UNIMPLEMENTED,
    errors.InternalFault: grpc.StatusCode.INTERNAL,
}
"""By the branch of the tree that a class belongs to."""

_RETRY_DELAY_MS = {errors.Retry.LATER: 1_000, errors.Retry.SAME: 100}


def status_code(error: errors.LegonnError) -> grpc.StatusCode:
    """The gRPC status of an error."""
    for cls in type(error).__mro__:
        if cls in STATUS_CODES:
            return STATUS_CODES[cls]
    return grpc.StatusCode.INTERNAL


def status_number(error: errors.LegonnError) -> int:
    """The status as ``google.rpc.Code``."""
    number: int = status_code(error).value[0]
    return number


def rich_status(error: errors.LegonnError) -> Status:
    """The error as ``google.rpc.Status``.

    ``ErrorInfo``, ``RetryInfo`` where a retry helps, ``QuotaFailure`` where a quota is used up.
    """
    metadata = {"retry": error.retry.value}
    if error.field:
        metadata["field"] = error.field
    info = error_details_pb2.ErrorInfo(reason=error.reason, domain=DOMAIN, metadata=metadata)
    details = [_packed(info)]
    if isinstance(error, errors.QuotaExceeded):
        violation = error_details_pb2.QuotaFailure.Violation(
            subject=error.field, description=error.message
        )
        details.append(_packed(error_details_pb2.QuotaFailure(violations=[violation])))
    delay_ms = retry_delay_ms(error)
    if delay_ms is not None:
        delay = Duration()
        delay.FromMilliseconds(delay_ms)
        details.append(_packed(error_details_pb2.RetryInfo(retry_delay=delay)))
    return Status(code=status_number(error), message=error.message, details=details)


def retry_delay_ms(error: errors.LegonnError) -> int | None:
    """How long to wait before a retry; None if none helps."""
    if error.retry_after_s is not None:
        return max(1, round(error.retry_after_s * 1_000))
    return _RETRY_DELAY_MS.get(error.retry)


def _packed(message: Message) -> AnyMessage:
    packed = AnyMessage()
    packed.Pack(message)
    return packed


def first_cause(error: BaseException) -> BaseException:
    """The first error in a group of errors, or the error itself."""
    while isinstance(error, BaseExceptionGroup):
        ours = error.subgroup(errors.LegonnError)
        error = (ours or error).exceptions[0]
    return error


class ErrorInterceptor(CallInterceptor):
    """Turns what handlers raise into statuses, counts by reason, logs faults once."""

    def __init__(self, metrics: Metrics) -> None:
        super().__init__()
        self._metrics = metrics

    async def around(
        self, method: str, context: grpc.aio.ServicerContext[object, object], invoke: Invoke
    ) -> object:
        """Run the call; end it with a status if it fails."""
        try:
            return await invoke()
        except grpc.aio.AbortError:
            raise
        except Exception as raised:  # noqa: BLE001 - the one place where every error ends
            error = as_ours(method, first_cause(raised))
        self._metrics.errors.labels(error.reason).inc()
        status = rpc_status.to_status(rich_status(error))
        context.set_trailing_metadata(
            (*(context.trailing_metadata() or ()), *status.trailing_metadata)
        )
        await context.abort(status.code, status.details)
        raise AssertionError("abort does not return")


def as_ours(method: str, cause: BaseException) -> errors.LegonnError:
    """What the caller is told: our own errors as they are, a fault as an id without any detail.

    A fault is logged here, once.
    """
    if isinstance(cause, errors.LegonnError) and not isinstance(cause, errors.InternalFault):
        return cause
    fault_id = uuid.uuid4().hex[:12]
    LOGGER.error(
        "fault",
        exc_info=cause,
        extra={"fields": {"method": method, "fault": fault_id}},
    )
    reason = type(cause) if isinstance(cause, errors.InternalFault) else errors.InternalFault
    return reason(f"the server made a mistake; quote {fault_id} when you report it")
