from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from typing import ClassVar as _ClassVar

DESCRIPTOR: _descriptor.FileDescriptor

class ErrorReason(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    ERROR_REASON_UNSPECIFIED: _ClassVar[ErrorReason]
    ERROR_REASON_BAD_INPUT: _ClassVar[ErrorReason]
    ERROR_REASON_BAD_AUDIO: _ClassVar[ErrorReason]
    ERROR_REASON_BAD_TEXT: _ClassVar[ErrorReason]
    ERROR_REASON_BAD_CONFIG: _ClassVar[ErrorReason]
    ERROR_REASON_LIMIT_EXCEEDED: _ClassVar[ErrorReason]
    ERROR_REASON_PROTOCOL_VIOLATION: _ClassVar[ErrorReason]
    ERROR_REASON_NOT_FOUND: _ClassVar[ErrorReason]
    ERROR_REASON_NO_ROUTE: _ClassVar[ErrorReason]
    ERROR_REASON_NO_MODULE: _ClassVar[ErrorReason]
    ERROR_REASON_CONTRACT_MISMATCH: _ClassVar[ErrorReason]
    ERROR_REASON_VOCABULARY_MISMATCH: _ClassVar[ErrorReason]
    ERROR_REASON_RATE_MISMATCH: _ClassVar[ErrorReason]
    ERROR_REASON_ENCODING_MISMATCH: _ClassVar[ErrorReason]
    ERROR_REASON_BAD_MODULE: _ClassVar[ErrorReason]
    ERROR_REASON_CAPACITY: _ClassVar[ErrorReason]
    ERROR_REASON_ADMISSION_REFUSED: _ClassVar[ErrorReason]
    ERROR_REASON_QUEUE_FULL: _ClassVar[ErrorReason]
    ERROR_REASON_UNAVAILABLE: _ClassVar[ErrorReason]
    ERROR_REASON_BACKEND_LOST: _ClassVar[ErrorReason]
    ERROR_REASON_STATE_LOST: _ClassVar[ErrorReason]
    ERROR_REASON_DRAINING: _ClassVar[ErrorReason]
    ERROR_REASON_DEADLINE_MISSED: _ClassVar[ErrorReason]
    ERROR_REASON_NOT_IMPLEMENTED: _ClassVar[ErrorReason]
    ERROR_REASON_INTERNAL: _ClassVar[ErrorReason]
    ERROR_REASON_NON_FINITE_MARGINALS: _ClassVar[ErrorReason]
    ERROR_REASON_INVARIANT: _ClassVar[ErrorReason]
    ERROR_REASON_POISON_SEGMENT: _ClassVar[ErrorReason]
    ERROR_REASON_ROUTES_READ_ONLY: _ClassVar[ErrorReason]
    ERROR_REASON_STALE_ROUTES: _ClassVar[ErrorReason]
    ERROR_REASON_PINNED: _ClassVar[ErrorReason]
    ERROR_REASON_SESSION_SUPERSEDED: _ClassVar[ErrorReason]
ERROR_REASON_UNSPECIFIED: ErrorReason
ERROR_REASON_BAD_INPUT: ErrorReason
ERROR_REASON_BAD_AUDIO: ErrorReason
ERROR_REASON_BAD_TEXT: ErrorReason
ERROR_REASON_BAD_CONFIG: ErrorReason
ERROR_REASON_LIMIT_EXCEEDED: ErrorReason
ERROR_REASON_PROTOCOL_VIOLATION: ErrorReason
ERROR_REASON_NOT_FOUND: ErrorReason
ERROR_REASON_NO_ROUTE: ErrorReason
ERROR_REASON_NO_MODULE: ErrorReason
ERROR_REASON_CONTRACT_MISMATCH: ErrorReason
ERROR_REASON_VOCABULARY_MISMATCH: ErrorReason
ERROR_REASON_RATE_MISMATCH: ErrorReason
ERROR_REASON_ENCODING_MISMATCH: ErrorReason
ERROR_REASON_BAD_MODULE: ErrorReason
ERROR_REASON_CAPACITY: ErrorReason
ERROR_REASON_ADMISSION_REFUSED: ErrorReason
ERROR_REASON_QUEUE_FULL: ErrorReason
ERROR_REASON_UNAVAILABLE: ErrorReason
ERROR_REASON_BACKEND_LOST: ErrorReason
ERROR_REASON_STATE_LOST: ErrorReason
ERROR_REASON_DRAINING: ErrorReason
ERROR_REASON_DEADLINE_MISSED: ErrorReason
ERROR_REASON_NOT_IMPLEMENTED: ErrorReason
ERROR_REASON_INTERNAL: ErrorReason
ERROR_REASON_NON_FINITE_MARGINALS: ErrorReason
ERROR_REASON_INVARIANT: ErrorReason
ERROR_REASON_POISON_SEGMENT: ErrorReason
ERROR_REASON_ROUTES_READ_ONLY: ErrorReason
ERROR_REASON_STALE_ROUTES: ErrorReason
ERROR_REASON_PINNED: ErrorReason
ERROR_REASON_SESSION_SUPERSEDED: ErrorReason
