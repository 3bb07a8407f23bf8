"""The server's tree of errors as a client sees it: ``except legonn.Overloaded``.

A mirror of ``legonn_core.errors``, which this package must not import: the same names, reasons and
parents, held equal by a test. An error is rebuilt from the reason in ``google.rpc.ErrorInfo``; a
reason that this version does not know falls back to the gRPC status code.
"""

from __future__ import annotations

from enum import Enum
from typing import ClassVar, Protocol

import grpc
from google.protobuf.message import DecodeError
from google.rpc import error_details_pb2, status_pb2

DETAILS_KEY = "grpc-status-details-bin"
REQUEST_ID_KEY = "x-request-id"


class Retry(Enum):
    """Whether the same call can succeed: never, at once elsewhere, or after a pause."""

    NEVER = "never"
    SAME = "same"
    LATER = "later"


class LegonnError(Exception):
    """Root of the tree.

    Attributes:
        reason: Stable upper-case word, from ``google.rpc.ErrorInfo.reason``.
        retry: What a client may do.
        from_server: Whether a legonn server said this; else the call did not reach one.
        retry_after_s: How long the server asks to wait, in seconds; None if it does not say.
        request_id: Names the failed call in the server's log; empty if unknown.
        field: What it is about: a field of the request, or a quota; empty if the server names none.
    """

    reason: ClassVar[str] = "UNKNOWN"
    retry: ClassVar[Retry] = Retry.NEVER

    def __init__(
        self,
        message: str = "",
        *,
        from_server: bool = False,
        retry_after_s: float | None = None,
        request_id: str = "",
        field: str = "",
    ) -> None:
        super().__init__(message)
        self.from_server = from_server
        self.retry_after_s = retry_after_s
        self.request_id = request_id
        self.field = field

    @property
    def message(self) -> str:
        """The sentence for people."""
        return str(self)


class InputError(LegonnError):
    """The caller's data is wrong, whatever the state of the server."""

    reason = "BAD_INPUT"


class BadAudio(InputError):
    """Audio that cannot be what the config says it is."""

    reason = "BAD_AUDIO"


class BadText(InputError):
    """Text that cannot be read or translated."""

    reason = "BAD_TEXT"


class BadConfig(InputError):
    """A field of a request holds nonsense."""

    reason = "BAD_CONFIG"


class LimitExceeded(InputError):
    """Too long, too large or too many."""

    reason = "LIMIT_EXCEEDED"


class ProtocolViolation(LegonnError):
    """A message at a moment when it has no meaning."""

    reason = "PROTOCOL_VIOLATION"


class RoutesReadOnly(ProtocolViolation):
    """The routes come from a file that the server may not write."""

    reason = "ROUTES_READ_ONLY"


class StaleRoutes(ProtocolViolation):
    """The routes have another generation than the caller expects."""

    reason = "STALE_ROUTES"


class ModulePinned(ProtocolViolation):
    """Segments or routes still use the module version."""

    reason = "PINNED"


class NotFound(LegonnError):
    """Something named by the caller does not exist."""

    reason = "NOT_FOUND"


class UnknownRoute(NotFound):
    """No module serves this task and these languages."""

    reason = "NO_ROUTE"


class UnknownModule(NotFound):
    """No such module or version."""

    reason = "NO_MODULE"


class ContractMismatch(LegonnError):
    """Two modules, or a module and its card, do not fit."""

    reason = "CONTRACT_MISMATCH"


class VocabularyMismatch(ContractMismatch):
    """Different vocabularies: probabilities would be read as other words."""

    reason = "VOCABULARY_MISMATCH"


class RateMismatch(ContractMismatch):
    """Rows come faster or slower than the decoder was trained for."""

    reason = "RATE_MISMATCH"


class EncodingMismatch(ContractMismatch):
    """Marginals in a form that the other side does not read."""

    reason = "ENCODING_MISMATCH"


class BadModule(ContractMismatch):
    """A module's files are missing, damaged, or not what its card says."""

    reason = "BAD_MODULE"


class Unauthenticated(LegonnError):
    """The server wants to know who is calling."""

    reason = "UNAUTHENTICATED"


class TokenMissing(Unauthenticated):
    """The call brought no key, token or certificate."""

    reason = "TOKEN_MISSING"


class TokenInvalid(Unauthenticated):
    """The key, token or certificate is not known, expired, or not meant for this server."""

    reason = "TOKEN_INVALID"


class PermissionDenied(LegonnError):
    """The caller is known, but has not the role that the call needs."""

    reason = "ROLE"


class Overloaded(LegonnError):
    """More work than the server will queue."""

    reason = "CAPACITY"
    retry = Retry.LATER


class AdmissionRefused(Overloaded):
    """No room for another stream."""

    reason = "ADMISSION_REFUSED"


class QueueFull(Overloaded):
    """A bounded queue is full."""

    reason = "QUEUE_FULL"


class QuotaExceeded(Overloaded):
    """The tenant's share is used up; ``field`` names the quota."""

    reason = "QUOTA"


class TenantStreams(QuotaExceeded):
    """The tenant has as many calls open as it may."""

    reason = "TENANT_STREAMS"


class TenantAudio(QuotaExceeded):
    """The tenant has sent as much audio as it may for now."""

    reason = "TENANT_AUDIO"


class TenantCharacters(QuotaExceeded):
    """The tenant has sent as much text as it may for now."""

    reason = "TENANT_CHARACTERS"


class Unavailable(LegonnError):
    """Not now and not here; another server, or this one soon, can."""

    reason = "UNAVAILABLE"
    retry = Retry.SAME


class BackendDown(Unavailable):
    """The engine that runs the modules died or does not answer."""

    reason = "BACKEND_LOST"


class StateLost(Unavailable):
    """The state of the stream is lost and could not be rebuilt."""

    reason = "STATE_LOST"


class ModuleDraining(Unavailable):
    """The module version or the server takes no new work."""

    reason = "DRAINING"


class SessionSuperseded(LegonnError):
    """The same session was resumed by another stream, which goes on with it."""

    reason = "SESSION_SUPERSEDED"


class DeadlineMissed(LegonnError):
    """The answer would come too late."""

    reason = "DEADLINE_MISSED"
    retry = Retry.SAME


class NotImplementedYet(LegonnError):
    """Part of the settled API that the server does not serve."""

    reason = "NOT_IMPLEMENTED"


class InternalFault(LegonnError):
    """The server's mistake."""

    reason = "INTERNAL"


class NonFiniteMarginals(InternalFault):
    """An encoder emitted numbers that are no probabilities."""

    reason = "NON_FINITE_MARGINALS"


class BrokenInvariant(InternalFault):
    """A promise of the server does not hold."""

    reason = "INVARIANT"


class PoisonSegment(InternalFault):
    """The same piece of a segment ended two engines; it is not tried a third time."""

    reason = "POISON_SEGMENT"


def error_classes() -> tuple[type[LegonnError], ...]:
    """All classes of the tree, the root first, each parent before its children."""

    def walk(cls: type[LegonnError]) -> list[type[LegonnError]]:
        return [cls, *(below for child in cls.__subclasses__() for below in walk(child))]

    return tuple(walk(LegonnError))


_BY_REASON = {cls.reason: cls for cls in error_classes()}
_BY_CODE: dict[grpc.StatusCode, type[LegonnError]] = {
    grpc.StatusCode.INVALID_ARGUMENT: InputError,
    grpc.StatusCode.OUT_OF_RANGE: InputError,
    grpc.StatusCode.FAILED_PRECONDITION: ProtocolViolation,
    grpc.StatusCode.NOT_FOUND: NotFound,
    grpc.StatusCode.RESOURCE_EXHAUSTED: Overloaded,
    grpc.StatusCode.UNAUTHENTICATED: Unauthenticated,
    grpc.StatusCode.PERMISSION_DENIED: PermissionDenied,
    grpc.StatusCode.UNAVAILABLE: Unavailable,
    grpc.StatusCode.DEADLINE_EXCEEDED: DeadlineMissed,
    grpc.StatusCode.ABORTED: SessionSuperseded,
    grpc.StatusCode.UNIMPLEMENTED: NotImplementedYet,
    grpc.StatusCode.INTERNAL: InternalFault,
}


def from_reason(reason: str, message: str) -> LegonnError:
    """The error that a legonn server names by ``reason``; the root for a word we do not know."""
    return _BY_REASON.get(reason, LegonnError)(message, from_server=True)


class RpcFailure(Protocol):
    """What the errors of blocking and asyncio gRPC have in common."""

    def code(self) -> grpc.StatusCode:
        """The status."""

    def details(self) -> str | None:
        """The server's sentence."""


def from_rpc(failure: RpcFailure) -> LegonnError:
    """Rebuild the server's error from a failed call, or name the status gRPC made up itself."""
    metadata = _trailing_metadata(failure)
    info, retry_after_s = _error_details(metadata.get(DETAILS_KEY))
    by_code = _BY_CODE.get(failure.code(), LegonnError)
    request_id = metadata.get(REQUEST_ID_KEY, "")
    return _BY_REASON.get(info.reason if info else "", by_code)(
        failure.details() or failure.code().name,
        from_server=info is not None,
        retry_after_s=retry_after_s,
        request_id=request_id if isinstance(request_id, str) else "",
        field=info.metadata["field"] if info else "",
    )


def _trailing_metadata(failure: RpcFailure) -> dict[str, str | bytes]:
    trailing = getattr(failure, "trailing_metadata", None)
    return dict((trailing() if trailing else None) or ())


def _error_details(
    packed: str | bytes | None,
) -> tuple[error_details_pb2.ErrorInfo | None, float | None]:
    """Unpack ErrorInfo and the wait of RetryInfo; what cannot be read counts as absent."""
    info, wait = None, None
    try:
        status = status_pb2.Status.FromString(packed if isinstance(packed, bytes) else b"")
    except DecodeError:
        return None, None
    for detail in status.details:
        if detail.Is(error_details_pb2.ErrorInfo.DESCRIPTOR):
            info = error_details_pb2.ErrorInfo()
            detail.Unpack(info)
        elif detail.Is(error_details_pb2.RetryInfo.DESCRIPTOR):
            retry = error_details_pb2.RetryInfo()
            detail.Unpack(retry)
            wait = retry.retry_delay.ToTimedelta().total_seconds()
    return info, wait
