import datetime

from google.protobuf import duration_pb2 as _duration_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from legonn.v1 import audio_pb2 as _audio_pb2
from legonn.v1 import hypothesis_pb2 as _hypothesis_pb2
from legonn.v1 import module_card_pb2 as _module_card_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class ControlAction(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    CONTROL_ACTION_UNSPECIFIED: _ClassVar[ControlAction]
    CONTROL_ACTION_FLUSH: _ClassVar[ControlAction]
    CONTROL_ACTION_KEEP_ALIVE: _ClassVar[ControlAction]
    CONTROL_ACTION_CANCEL_SEGMENT: _ClassVar[ControlAction]

class SpeechEventKind(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    SPEECH_EVENT_KIND_UNSPECIFIED: _ClassVar[SpeechEventKind]
    SPEECH_EVENT_KIND_BEGIN: _ClassVar[SpeechEventKind]
    SPEECH_EVENT_KIND_END: _ClassVar[SpeechEventKind]
CONTROL_ACTION_UNSPECIFIED: ControlAction
CONTROL_ACTION_FLUSH: ControlAction
CONTROL_ACTION_KEEP_ALIVE: ControlAction
CONTROL_ACTION_CANCEL_SEGMENT: ControlAction
SPEECH_EVENT_KIND_UNSPECIFIED: SpeechEventKind
SPEECH_EVENT_KIND_BEGIN: SpeechEventKind
SPEECH_EVENT_KIND_END: SpeechEventKind

class Phrase(_message.Message):
    __slots__ = ("text", "boost")
    TEXT_FIELD_NUMBER: _ClassVar[int]
    BOOST_FIELD_NUMBER: _ClassVar[int]
    text: str
    boost: float
    def __init__(self, text: _Optional[str] = ..., boost: _Optional[float] = ...) -> None: ...

class GlossaryEntry(_message.Message):
    __slots__ = ("source", "target", "keep")
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    TARGET_FIELD_NUMBER: _ClassVar[int]
    KEEP_FIELD_NUMBER: _ClassVar[int]
    source: str
    target: str
    keep: bool
    def __init__(self, source: _Optional[str] = ..., target: _Optional[str] = ..., keep: _Optional[bool] = ...) -> None: ...

class Endpointing(_message.Message):
    __slots__ = ("start_speech", "end_silence", "max_segment")
    START_SPEECH_FIELD_NUMBER: _ClassVar[int]
    END_SILENCE_FIELD_NUMBER: _ClassVar[int]
    MAX_SEGMENT_FIELD_NUMBER: _ClassVar[int]
    start_speech: _duration_pb2.Duration
    end_silence: _duration_pb2.Duration
    max_segment: _duration_pb2.Duration
    def __init__(self, start_speech: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., end_silence: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., max_segment: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ...) -> None: ...

class CaptionLayout(_message.Message):
    __slots__ = ("max_chars", "max_lines")
    MAX_CHARS_FIELD_NUMBER: _ClassVar[int]
    MAX_LINES_FIELD_NUMBER: _ClassVar[int]
    max_chars: int
    max_lines: int
    def __init__(self, max_chars: _Optional[int] = ..., max_lines: _Optional[int] = ...) -> None: ...

class ResumePoint(_message.Message):
    __slots__ = ("session_id", "sample_offset", "next_segment_index", "committed_text")
    SESSION_ID_FIELD_NUMBER: _ClassVar[int]
    SAMPLE_OFFSET_FIELD_NUMBER: _ClassVar[int]
    NEXT_SEGMENT_INDEX_FIELD_NUMBER: _ClassVar[int]
    COMMITTED_TEXT_FIELD_NUMBER: _ClassVar[int]
    session_id: str
    sample_offset: int
    next_segment_index: int
    committed_text: str
    def __init__(self, session_id: _Optional[str] = ..., sample_offset: _Optional[int] = ..., next_segment_index: _Optional[int] = ..., committed_text: _Optional[str] = ...) -> None: ...

class RecognitionConfig(_message.Message):
    __slots__ = ("encoding", "sample_rate_hertz", "channel_count", "language_code", "task", "target_language_code", "model", "interim_results", "max_alternatives", "enable_word_offsets", "enable_word_confidence", "phrases", "glossary", "endpointing", "caption", "resume", "labels", "mask_profanity", "verbatim")
    class LabelsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    ENCODING_FIELD_NUMBER: _ClassVar[int]
    SAMPLE_RATE_HERTZ_FIELD_NUMBER: _ClassVar[int]
    CHANNEL_COUNT_FIELD_NUMBER: _ClassVar[int]
    LANGUAGE_CODE_FIELD_NUMBER: _ClassVar[int]
    TASK_FIELD_NUMBER: _ClassVar[int]
    TARGET_LANGUAGE_CODE_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    INTERIM_RESULTS_FIELD_NUMBER: _ClassVar[int]
    MAX_ALTERNATIVES_FIELD_NUMBER: _ClassVar[int]
    ENABLE_WORD_OFFSETS_FIELD_NUMBER: _ClassVar[int]
    ENABLE_WORD_CONFIDENCE_FIELD_NUMBER: _ClassVar[int]
    PHRASES_FIELD_NUMBER: _ClassVar[int]
    GLOSSARY_FIELD_NUMBER: _ClassVar[int]
    ENDPOINTING_FIELD_NUMBER: _ClassVar[int]
    CAPTION_FIELD_NUMBER: _ClassVar[int]
    RESUME_FIELD_NUMBER: _ClassVar[int]
    LABELS_FIELD_NUMBER: _ClassVar[int]
    MASK_PROFANITY_FIELD_NUMBER: _ClassVar[int]
    VERBATIM_FIELD_NUMBER: _ClassVar[int]
    encoding: _audio_pb2.AudioEncoding
    sample_rate_hertz: int
    channel_count: int
    language_code: str
    task: _module_card_pb2.Task
    target_language_code: str
    model: str
    interim_results: bool
    max_alternatives: int
    enable_word_offsets: bool
    enable_word_confidence: bool
    phrases: _containers.RepeatedCompositeFieldContainer[Phrase]
    glossary: _containers.RepeatedCompositeFieldContainer[GlossaryEntry]
    endpointing: Endpointing
    caption: CaptionLayout
    resume: ResumePoint
    labels: _containers.ScalarMap[str, str]
    mask_profanity: bool
    verbatim: bool
    def __init__(self, encoding: _Optional[_Union[_audio_pb2.AudioEncoding, str]] = ..., sample_rate_hertz: _Optional[int] = ..., channel_count: _Optional[int] = ..., language_code: _Optional[str] = ..., task: _Optional[_Union[_module_card_pb2.Task, str]] = ..., target_language_code: _Optional[str] = ..., model: _Optional[str] = ..., interim_results: _Optional[bool] = ..., max_alternatives: _Optional[int] = ..., enable_word_offsets: _Optional[bool] = ..., enable_word_confidence: _Optional[bool] = ..., phrases: _Optional[_Iterable[_Union[Phrase, _Mapping]]] = ..., glossary: _Optional[_Iterable[_Union[GlossaryEntry, _Mapping]]] = ..., endpointing: _Optional[_Union[Endpointing, _Mapping]] = ..., caption: _Optional[_Union[CaptionLayout, _Mapping]] = ..., resume: _Optional[_Union[ResumePoint, _Mapping]] = ..., labels: _Optional[_Mapping[str, str]] = ..., mask_profanity: _Optional[bool] = ..., verbatim: _Optional[bool] = ...) -> None: ...

class RecognizeRequest(_message.Message):
    __slots__ = ("config", "audio")
    CONFIG_FIELD_NUMBER: _ClassVar[int]
    AUDIO_FIELD_NUMBER: _ClassVar[int]
    config: RecognitionConfig
    audio: bytes
    def __init__(self, config: _Optional[_Union[RecognitionConfig, _Mapping]] = ..., audio: _Optional[bytes] = ...) -> None: ...

class RecognizeResponse(_message.Message):
    __slots__ = ("request_id", "segments", "audio_duration")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    SEGMENTS_FIELD_NUMBER: _ClassVar[int]
    AUDIO_DURATION_FIELD_NUMBER: _ClassVar[int]
    request_id: str
    segments: _containers.RepeatedCompositeFieldContainer[RecognitionFinal]
    audio_duration: _duration_pb2.Duration
    def __init__(self, request_id: _Optional[str] = ..., segments: _Optional[_Iterable[_Union[RecognitionFinal, _Mapping]]] = ..., audio_duration: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ...) -> None: ...

class StreamControl(_message.Message):
    __slots__ = ("action",)
    ACTION_FIELD_NUMBER: _ClassVar[int]
    action: ControlAction
    def __init__(self, action: _Optional[_Union[ControlAction, str]] = ...) -> None: ...

class StreamingRecognizeRequest(_message.Message):
    __slots__ = ("config", "audio", "control")
    CONFIG_FIELD_NUMBER: _ClassVar[int]
    AUDIO_FIELD_NUMBER: _ClassVar[int]
    CONTROL_FIELD_NUMBER: _ClassVar[int]
    config: RecognitionConfig
    audio: _audio_pb2.AudioChunk
    control: StreamControl
    def __init__(self, config: _Optional[_Union[RecognitionConfig, _Mapping]] = ..., audio: _Optional[_Union[_audio_pb2.AudioChunk, _Mapping]] = ..., control: _Optional[_Union[StreamControl, _Mapping]] = ...) -> None: ...

class StreamLimits(_message.Message):
    __slots__ = ("max_message_bytes", "max_chunk_duration", "max_pending_duration", "max_segment_duration")
    MAX_MESSAGE_BYTES_FIELD_NUMBER: _ClassVar[int]
    MAX_CHUNK_DURATION_FIELD_NUMBER: _ClassVar[int]
    MAX_PENDING_DURATION_FIELD_NUMBER: _ClassVar[int]
    MAX_SEGMENT_DURATION_FIELD_NUMBER: _ClassVar[int]
    max_message_bytes: int
    max_chunk_duration: _duration_pb2.Duration
    max_pending_duration: _duration_pb2.Duration
    max_segment_duration: _duration_pb2.Duration
    def __init__(self, max_message_bytes: _Optional[int] = ..., max_chunk_duration: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., max_pending_duration: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., max_segment_duration: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ...) -> None: ...

class RecognitionStarted(_message.Message):
    __slots__ = ("session_id", "request_id", "config", "limits", "expire_time")
    SESSION_ID_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    CONFIG_FIELD_NUMBER: _ClassVar[int]
    LIMITS_FIELD_NUMBER: _ClassVar[int]
    EXPIRE_TIME_FIELD_NUMBER: _ClassVar[int]
    session_id: str
    request_id: str
    config: RecognitionConfig
    limits: StreamLimits
    expire_time: _timestamp_pb2.Timestamp
    def __init__(self, session_id: _Optional[str] = ..., request_id: _Optional[str] = ..., config: _Optional[_Union[RecognitionConfig, _Mapping]] = ..., limits: _Optional[_Union[StreamLimits, _Mapping]] = ..., expire_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class RecognitionPartial(_message.Message):
    __slots__ = ("segment_index", "revision", "stable_text", "tail_text", "end_offset", "language_code")
    SEGMENT_INDEX_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    STABLE_TEXT_FIELD_NUMBER: _ClassVar[int]
    TAIL_TEXT_FIELD_NUMBER: _ClassVar[int]
    END_OFFSET_FIELD_NUMBER: _ClassVar[int]
    LANGUAGE_CODE_FIELD_NUMBER: _ClassVar[int]
    segment_index: int
    revision: int
    stable_text: str
    tail_text: str
    end_offset: _duration_pb2.Duration
    language_code: str
    def __init__(self, segment_index: _Optional[int] = ..., revision: _Optional[int] = ..., stable_text: _Optional[str] = ..., tail_text: _Optional[str] = ..., end_offset: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., language_code: _Optional[str] = ...) -> None: ...

class RecognitionFinal(_message.Message):
    __slots__ = ("segment_index", "start_offset", "end_offset", "start_sample", "end_sample", "alternatives", "language_code", "encoder", "decoder", "replays", "reason")
    SEGMENT_INDEX_FIELD_NUMBER: _ClassVar[int]
    START_OFFSET_FIELD_NUMBER: _ClassVar[int]
    END_OFFSET_FIELD_NUMBER: _ClassVar[int]
    START_SAMPLE_FIELD_NUMBER: _ClassVar[int]
    END_SAMPLE_FIELD_NUMBER: _ClassVar[int]
    ALTERNATIVES_FIELD_NUMBER: _ClassVar[int]
    LANGUAGE_CODE_FIELD_NUMBER: _ClassVar[int]
    ENCODER_FIELD_NUMBER: _ClassVar[int]
    DECODER_FIELD_NUMBER: _ClassVar[int]
    REPLAYS_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    segment_index: int
    start_offset: _duration_pb2.Duration
    end_offset: _duration_pb2.Duration
    start_sample: int
    end_sample: int
    alternatives: _containers.RepeatedCompositeFieldContainer[_hypothesis_pb2.Hypothesis]
    language_code: str
    encoder: str
    decoder: str
    replays: int
    reason: _hypothesis_pb2.FinalReason
    def __init__(self, segment_index: _Optional[int] = ..., start_offset: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., end_offset: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., start_sample: _Optional[int] = ..., end_sample: _Optional[int] = ..., alternatives: _Optional[_Iterable[_Union[_hypothesis_pb2.Hypothesis, _Mapping]]] = ..., language_code: _Optional[str] = ..., encoder: _Optional[str] = ..., decoder: _Optional[str] = ..., replays: _Optional[int] = ..., reason: _Optional[_Union[_hypothesis_pb2.FinalReason, str]] = ...) -> None: ...

class SpeechEvent(_message.Message):
    __slots__ = ("kind", "offset")
    KIND_FIELD_NUMBER: _ClassVar[int]
    OFFSET_FIELD_NUMBER: _ClassVar[int]
    kind: SpeechEventKind
    offset: _duration_pb2.Duration
    def __init__(self, kind: _Optional[_Union[SpeechEventKind, str]] = ..., offset: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ...) -> None: ...

class RecognitionSummary(_message.Message):
    __slots__ = ("samples_received", "samples_in_finals", "samples_non_speech", "num_segments", "num_replays")
    SAMPLES_RECEIVED_FIELD_NUMBER: _ClassVar[int]
    SAMPLES_IN_FINALS_FIELD_NUMBER: _ClassVar[int]
    SAMPLES_NON_SPEECH_FIELD_NUMBER: _ClassVar[int]
    NUM_SEGMENTS_FIELD_NUMBER: _ClassVar[int]
    NUM_REPLAYS_FIELD_NUMBER: _ClassVar[int]
    samples_received: int
    samples_in_finals: int
    samples_non_speech: int
    num_segments: int
    num_replays: int
    def __init__(self, samples_received: _Optional[int] = ..., samples_in_finals: _Optional[int] = ..., samples_non_speech: _Optional[int] = ..., num_segments: _Optional[int] = ..., num_replays: _Optional[int] = ...) -> None: ...

class StreamingRecognizeResponse(_message.Message):
    __slots__ = ("sequence", "audio_processed", "started", "partial", "final", "speech_event", "notice", "summary")
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    AUDIO_PROCESSED_FIELD_NUMBER: _ClassVar[int]
    STARTED_FIELD_NUMBER: _ClassVar[int]
    PARTIAL_FIELD_NUMBER: _ClassVar[int]
    FINAL_FIELD_NUMBER: _ClassVar[int]
    SPEECH_EVENT_FIELD_NUMBER: _ClassVar[int]
    NOTICE_FIELD_NUMBER: _ClassVar[int]
    SUMMARY_FIELD_NUMBER: _ClassVar[int]
    sequence: int
    audio_processed: _duration_pb2.Duration
    started: RecognitionStarted
    partial: RecognitionPartial
    final: RecognitionFinal
    speech_event: SpeechEvent
    notice: _hypothesis_pb2.Notice
    summary: RecognitionSummary
    def __init__(self, sequence: _Optional[int] = ..., audio_processed: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., started: _Optional[_Union[RecognitionStarted, _Mapping]] = ..., partial: _Optional[_Union[RecognitionPartial, _Mapping]] = ..., final: _Optional[_Union[RecognitionFinal, _Mapping]] = ..., speech_event: _Optional[_Union[SpeechEvent, _Mapping]] = ..., notice: _Optional[_Union[_hypothesis_pb2.Notice, _Mapping]] = ..., summary: _Optional[_Union[RecognitionSummary, _Mapping]] = ...) -> None: ...
