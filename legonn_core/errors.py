"""Every way in which legonn says no, in one tree.

    LegonnError
    ├── InputError            the caller's data          INVALID_ARGUMENT      retry NEVER
    │   ├── BadAudio · BadText · BadConfig · LimitExceeded
    ├── ProtocolViolation     the order of messages      FAILED_PRECONDITION   retry NEVER
    │   ├── RoutesReadOnly · StaleRoutes · ModulePinned
    ├── NotFound              no such thing              NOT_FOUND             retry NEVER
    │   ├── UnknownRoute · UnknownModule
    ├── ContractMismatch      modules that do not fit    FAILED_PRECONDITION   retry NEVER
    │   ├── VocabularyMismatch · RateMismatch · EncodingMismatch · BadModule
    ├── Unauthenticated       who is calling?            UNAUTHENTICATED       retry NEVER
    │   ├── TokenMissing · TokenInvalid
    ├── PermissionDenied      known, but not allowed to  PERMISSION_DENIED     retry NEVER
    ├── Overloaded            too much at once           RESOURCE_EXHAUSTED    retry LATER
    │   ├── AdmissionRefused · QueueFull
    │   └── QuotaExceeded     a tenant's share is used up
    │       ├── TenantStreams · TenantAudio · TenantCharacters
    ├── Unavailable           somebody else may do it    UNAVAILABLE           retry SAME
    │   ├── BackendDown · StateLost · ModuleDraining
    ├── SessionSuperseded     the session lives on elsewhere  ABORTED      retry NEVER
    ├── DeadlineMissed        too late                   DEADLINE_EXCEEDED     retry SAME
    ├── NotImplementedYet     settled shape, later work  UNIMPLEMENTED         retry NEVER
    └── InternalFault         our mistake                INTERNAL              retry NEVER
        └── NonFiniteMarginals · BrokenInvariant · PoisonSegment

Messages are for people: they say what, where and what to do, and never hold audio or user text.
"""

from __future__ import annotations

from enum import Enum
from typing import ClassVar


class Retry(Enum):
    """Whether the same call can succeed: never, at once elsewhere, or after a pause."""

    NEVER = "never"
    SAME = "same"
    LATER = "later"


class LegonnError(Exception):
    """Root of the tree.

    Attributes:
        reason: Stable upper-case word, sent as ``google.rpc.ErrorInfo.reason``.
        retry: What a client may do.
    """

    reason: ClassVar[str] = "UNKNOWN"
    retry: ClassVar[Retry] = Retry.NEVER

    retry_after_s: float | None = None
    """Seconds to wait before a retry, where this is known; sent as ``RetryInfo``."""

    field: str = ""
    """What it is about: a field of the request, or a quota; sent with ``ErrorInfo``."""

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
    """A field of a request or of a settings file holds nonsense."""

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
    """The tenant's share is used up; others are served.

    Args:
        message: For people.
        field: The quota's name.
        retry_after_s: Seconds until the same call would pass, if nothing else is sent.
    """

    reason = "QUOTA"

    def __init__(
        self, message: str = "", *, field: str = "", retry_after_s: float | None = None
    ) -> None:
        super().__init__(message)
        self.field = field
        self.retry_after_s = retry_after_s


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
    """The engine that runs the modules died or does not answer.

    Args:
        message: For people.
        was_running: Whether it died while it worked on this very call.
    """

    reason = "BACKEND_LOST"

    def __init__(self, message: str = "", *, was_running: bool = False) -> None:
        super().__init__(message)
        self.was_running = was_running


class StateLost(Unavailable):
    """A slot's state is gone; the segment must be replayed."""

    reason = "STATE_LOST"


class ModuleDraining(Unavailable):
    """The module version takes no new work."""

    reason = "DRAINING"


class SessionSuperseded(LegonnError):
    """The same session was resumed by another stream, which goes on with it."""

    reason = "SESSION_SUPERSEDED"


class DeadlineMissed(LegonnError):
    """The answer would come too late."""

    reason = "DEADLINE_MISSED"
    retry = Retry.SAME


class NotImplementedYet(LegonnError):
    """Part of the settled API that this version does not serve."""

    reason = "NOT_IMPLEMENTED"


class InternalFault(LegonnError):
    """Our mistake."""

    reason = "INTERNAL"


class NonFiniteMarginals(InternalFault):
    """An encoder emitted NaN, infinity or rows that do not sum to one."""

    reason = "NON_FINITE_MARGINALS"


class BrokenInvariant(InternalFault):
    """A promise of this code does not hold."""

    reason = "INVARIANT"


class PoisonSegment(InternalFault):
    """The same piece of a segment ended two engines; it is not tried a third time."""

    reason = "POISON_SEGMENT"


def error_classes() -> tuple[type[LegonnError], ...]:
    """All classes of the tree, the root first, each parent before its children."""

    def walk(cls: type[LegonnError]) -> list[type[LegonnError]]:
        return [cls, *(below for child in cls.__subclasses__() for below in walk(child))]

    return tuple(walk(LegonnError))
