import datetime

from google.protobuf import duration_pb2 as _duration_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class FinalReason(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    FINAL_REASON_UNSPECIFIED: _ClassVar[FinalReason]
    FINAL_REASON_ENDPOINT: _ClassVar[FinalReason]
    FINAL_REASON_FLUSH: _ClassVar[FinalReason]
    FINAL_REASON_MAX_SEGMENT: _ClassVar[FinalReason]
    FINAL_REASON_HALF_CLOSE: _ClassVar[FinalReason]
    FINAL_REASON_STALL: _ClassVar[FinalReason]

class NoticeKind(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    NOTICE_KIND_UNSPECIFIED: _ClassVar[NoticeKind]
    NOTICE_KIND_REPLAYING: _ClassVar[NoticeKind]
    NOTICE_KIND_SWAPPED: _ClassVar[NoticeKind]
    NOTICE_KIND_DRAINING: _ClassVar[NoticeKind]
    NOTICE_KIND_COALESCED: _ClassVar[NoticeKind]
    NOTICE_KIND_DEGRADED: _ClassVar[NoticeKind]
    NOTICE_KIND_CANCELLED: _ClassVar[NoticeKind]
FINAL_REASON_UNSPECIFIED: FinalReason
FINAL_REASON_ENDPOINT: FinalReason
FINAL_REASON_FLUSH: FinalReason
FINAL_REASON_MAX_SEGMENT: FinalReason
FINAL_REASON_HALF_CLOSE: FinalReason
FINAL_REASON_STALL: FinalReason
NOTICE_KIND_UNSPECIFIED: NoticeKind
NOTICE_KIND_REPLAYING: NoticeKind
NOTICE_KIND_SWAPPED: NoticeKind
NOTICE_KIND_DRAINING: NoticeKind
NOTICE_KIND_COALESCED: NoticeKind
NOTICE_KIND_DEGRADED: NoticeKind
NOTICE_KIND_CANCELLED: NoticeKind

class Word(_message.Message):
    __slots__ = ("text", "start_offset", "end_offset", "confidence")
    TEXT_FIELD_NUMBER: _ClassVar[int]
    START_OFFSET_FIELD_NUMBER: _ClassVar[int]
    END_OFFSET_FIELD_NUMBER: _ClassVar[int]
    CONFIDENCE_FIELD_NUMBER: _ClassVar[int]
    text: str
    start_offset: _duration_pb2.Duration
    end_offset: _duration_pb2.Duration
    confidence: float
    def __init__(self, text: _Optional[str] = ..., start_offset: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., end_offset: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., confidence: _Optional[float] = ...) -> None: ...

class Hypothesis(_message.Message):
    __slots__ = ("text", "confidence", "words")
    TEXT_FIELD_NUMBER: _ClassVar[int]
    CONFIDENCE_FIELD_NUMBER: _ClassVar[int]
    WORDS_FIELD_NUMBER: _ClassVar[int]
    text: str
    confidence: float
    words: _containers.RepeatedCompositeFieldContainer[Word]
    def __init__(self, text: _Optional[str] = ..., confidence: _Optional[float] = ..., words: _Optional[_Iterable[_Union[Word, _Mapping]]] = ...) -> None: ...

class Notice(_message.Message):
    __slots__ = ("kind", "message", "grace_duration")
    KIND_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    GRACE_DURATION_FIELD_NUMBER: _ClassVar[int]
    kind: NoticeKind
    message: str
    grace_duration: _duration_pb2.Duration
    def __init__(self, kind: _Optional[_Union[NoticeKind, str]] = ..., message: _Optional[str] = ..., grace_duration: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ...) -> None: ...
