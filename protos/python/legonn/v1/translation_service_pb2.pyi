import datetime

from google.protobuf import duration_pb2 as _duration_pb2
from legonn.v1 import error_reason_pb2 as _error_reason_pb2
from legonn.v1 import hypothesis_pb2 as _hypothesis_pb2
from legonn.v1 import speech_service_pb2 as _speech_service_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class CommitPolicy(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    COMMIT_POLICY_UNSPECIFIED: _ClassVar[CommitPolicy]
    COMMIT_POLICY_LOCAL_AGREEMENT: _ClassVar[CommitPolicy]
    COMMIT_POLICY_WAIT_K: _ClassVar[CommitPolicy]
    COMMIT_POLICY_LATENCY_BUDGET: _ClassVar[CommitPolicy]
    COMMIT_POLICY_FINALS_ONLY: _ClassVar[CommitPolicy]
COMMIT_POLICY_UNSPECIFIED: CommitPolicy
COMMIT_POLICY_LOCAL_AGREEMENT: CommitPolicy
COMMIT_POLICY_WAIT_K: CommitPolicy
COMMIT_POLICY_LATENCY_BUDGET: CommitPolicy
COMMIT_POLICY_FINALS_ONLY: CommitPolicy

class TextStreaming(_message.Message):
    __slots__ = ("policy", "agreement", "wait_words", "max_delay", "append_only")
    POLICY_FIELD_NUMBER: _ClassVar[int]
    AGREEMENT_FIELD_NUMBER: _ClassVar[int]
    WAIT_WORDS_FIELD_NUMBER: _ClassVar[int]
    MAX_DELAY_FIELD_NUMBER: _ClassVar[int]
    APPEND_ONLY_FIELD_NUMBER: _ClassVar[int]
    policy: CommitPolicy
    agreement: int
    wait_words: int
    max_delay: _duration_pb2.Duration
    append_only: bool
    def __init__(self, policy: _Optional[_Union[CommitPolicy, str]] = ..., agreement: _Optional[int] = ..., wait_words: _Optional[int] = ..., max_delay: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., append_only: _Optional[bool] = ...) -> None: ...

class TranslationConfig(_message.Message):
    __slots__ = ("source_language_code", "target_language_code", "model", "interim_results", "max_alternatives", "enable_word_confidence", "glossary", "labels", "streaming", "phrases", "mask_profanity")
    class LabelsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    SOURCE_LANGUAGE_CODE_FIELD_NUMBER: _ClassVar[int]
    TARGET_LANGUAGE_CODE_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    INTERIM_RESULTS_FIELD_NUMBER: _ClassVar[int]
    MAX_ALTERNATIVES_FIELD_NUMBER: _ClassVar[int]
    ENABLE_WORD_CONFIDENCE_FIELD_NUMBER: _ClassVar[int]
    GLOSSARY_FIELD_NUMBER: _ClassVar[int]
    LABELS_FIELD_NUMBER: _ClassVar[int]
    STREAMING_FIELD_NUMBER: _ClassVar[int]
    PHRASES_FIELD_NUMBER: _ClassVar[int]
    MASK_PROFANITY_FIELD_NUMBER: _ClassVar[int]
    source_language_code: str
    target_language_code: str
    model: str
    interim_results: bool
    max_alternatives: int
    enable_word_confidence: bool
    glossary: _containers.RepeatedCompositeFieldContainer[_speech_service_pb2.GlossaryEntry]
    labels: _containers.ScalarMap[str, str]
    streaming: TextStreaming
    phrases: _containers.RepeatedCompositeFieldContainer[_speech_service_pb2.Phrase]
    mask_profanity: bool
    def __init__(self, source_language_code: _Optional[str] = ..., target_language_code: _Optional[str] = ..., model: _Optional[str] = ..., interim_results: _Optional[bool] = ..., max_alternatives: _Optional[int] = ..., enable_word_confidence: _Optional[bool] = ..., glossary: _Optional[_Iterable[_Union[_speech_service_pb2.GlossaryEntry, _Mapping]]] = ..., labels: _Optional[_Mapping[str, str]] = ..., streaming: _Optional[_Union[TextStreaming, _Mapping]] = ..., phrases: _Optional[_Iterable[_Union[_speech_service_pb2.Phrase, _Mapping]]] = ..., mask_profanity: _Optional[bool] = ...) -> None: ...

class TranslateRequest(_message.Message):
    __slots__ = ("config", "texts")
    CONFIG_FIELD_NUMBER: _ClassVar[int]
    TEXTS_FIELD_NUMBER: _ClassVar[int]
    config: TranslationConfig
    texts: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, config: _Optional[_Union[TranslationConfig, _Mapping]] = ..., texts: _Optional[_Iterable[str]] = ...) -> None: ...

class ItemStatus(_message.Message):
    __slots__ = ("code", "reason", "message")
    CODE_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    code: int
    reason: _error_reason_pb2.ErrorReason
    message: str
    def __init__(self, code: _Optional[int] = ..., reason: _Optional[_Union[_error_reason_pb2.ErrorReason, str]] = ..., message: _Optional[str] = ...) -> None: ...

class Translation(_message.Message):
    __slots__ = ("alternatives", "encoder", "decoder")
    ALTERNATIVES_FIELD_NUMBER: _ClassVar[int]
    ENCODER_FIELD_NUMBER: _ClassVar[int]
    DECODER_FIELD_NUMBER: _ClassVar[int]
    alternatives: _containers.RepeatedCompositeFieldContainer[_hypothesis_pb2.Hypothesis]
    encoder: str
    decoder: str
    def __init__(self, alternatives: _Optional[_Iterable[_Union[_hypothesis_pb2.Hypothesis, _Mapping]]] = ..., encoder: _Optional[str] = ..., decoder: _Optional[str] = ...) -> None: ...

class TranslationItem(_message.Message):
    __slots__ = ("translation", "error")
    TRANSLATION_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    translation: Translation
    error: ItemStatus
    def __init__(self, translation: _Optional[_Union[Translation, _Mapping]] = ..., error: _Optional[_Union[ItemStatus, _Mapping]] = ...) -> None: ...

class TranslateResponse(_message.Message):
    __slots__ = ("request_id", "items")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    ITEMS_FIELD_NUMBER: _ClassVar[int]
    request_id: str
    items: _containers.RepeatedCompositeFieldContainer[TranslationItem]
    def __init__(self, request_id: _Optional[str] = ..., items: _Optional[_Iterable[_Union[TranslationItem, _Mapping]]] = ...) -> None: ...

class TextInput(_message.Message):
    __slots__ = ("text", "end_of_segment")
    TEXT_FIELD_NUMBER: _ClassVar[int]
    END_OF_SEGMENT_FIELD_NUMBER: _ClassVar[int]
    text: str
    end_of_segment: bool
    def __init__(self, text: _Optional[str] = ..., end_of_segment: _Optional[bool] = ...) -> None: ...

class StreamingTranslateRequest(_message.Message):
    __slots__ = ("config", "input")
    CONFIG_FIELD_NUMBER: _ClassVar[int]
    INPUT_FIELD_NUMBER: _ClassVar[int]
    config: TranslationConfig
    input: TextInput
    def __init__(self, config: _Optional[_Union[TranslationConfig, _Mapping]] = ..., input: _Optional[_Union[TextInput, _Mapping]] = ...) -> None: ...

class TranslationStarted(_message.Message):
    __slots__ = ("session_id", "request_id", "config")
    SESSION_ID_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    CONFIG_FIELD_NUMBER: _ClassVar[int]
    session_id: str
    request_id: str
    config: TranslationConfig
    def __init__(self, session_id: _Optional[str] = ..., request_id: _Optional[str] = ..., config: _Optional[_Union[TranslationConfig, _Mapping]] = ...) -> None: ...

class TranslationPartial(_message.Message):
    __slots__ = ("segment_index", "revision", "stable_text", "tail_text", "end_character")
    SEGMENT_INDEX_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    STABLE_TEXT_FIELD_NUMBER: _ClassVar[int]
    TAIL_TEXT_FIELD_NUMBER: _ClassVar[int]
    END_CHARACTER_FIELD_NUMBER: _ClassVar[int]
    segment_index: int
    revision: int
    stable_text: str
    tail_text: str
    end_character: int
    def __init__(self, segment_index: _Optional[int] = ..., revision: _Optional[int] = ..., stable_text: _Optional[str] = ..., tail_text: _Optional[str] = ..., end_character: _Optional[int] = ...) -> None: ...

class TranslationFinal(_message.Message):
    __slots__ = ("segment_index", "start_character", "end_character", "item", "replays", "reason")
    SEGMENT_INDEX_FIELD_NUMBER: _ClassVar[int]
    START_CHARACTER_FIELD_NUMBER: _ClassVar[int]
    END_CHARACTER_FIELD_NUMBER: _ClassVar[int]
    ITEM_FIELD_NUMBER: _ClassVar[int]
    REPLAYS_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    segment_index: int
    start_character: int
    end_character: int
    item: TranslationItem
    replays: int
    reason: _hypothesis_pb2.FinalReason
    def __init__(self, segment_index: _Optional[int] = ..., start_character: _Optional[int] = ..., end_character: _Optional[int] = ..., item: _Optional[_Union[TranslationItem, _Mapping]] = ..., replays: _Optional[int] = ..., reason: _Optional[_Union[_hypothesis_pb2.FinalReason, str]] = ...) -> None: ...

class TranslationSummary(_message.Message):
    __slots__ = ("characters_received", "num_segments", "num_replays")
    CHARACTERS_RECEIVED_FIELD_NUMBER: _ClassVar[int]
    NUM_SEGMENTS_FIELD_NUMBER: _ClassVar[int]
    NUM_REPLAYS_FIELD_NUMBER: _ClassVar[int]
    characters_received: int
    num_segments: int
    num_replays: int
    def __init__(self, characters_received: _Optional[int] = ..., num_segments: _Optional[int] = ..., num_replays: _Optional[int] = ...) -> None: ...

class StreamingTranslateResponse(_message.Message):
    __slots__ = ("sequence", "characters_processed", "started", "partial", "final", "notice", "summary")
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    CHARACTERS_PROCESSED_FIELD_NUMBER: _ClassVar[int]
    STARTED_FIELD_NUMBER: _ClassVar[int]
    PARTIAL_FIELD_NUMBER: _ClassVar[int]
    FINAL_FIELD_NUMBER: _ClassVar[int]
    NOTICE_FIELD_NUMBER: _ClassVar[int]
    SUMMARY_FIELD_NUMBER: _ClassVar[int]
    sequence: int
    characters_processed: int
    started: TranslationStarted
    partial: TranslationPartial
    final: TranslationFinal
    notice: _hypothesis_pb2.Notice
    summary: TranslationSummary
    def __init__(self, sequence: _Optional[int] = ..., characters_processed: _Optional[int] = ..., started: _Optional[_Union[TranslationStarted, _Mapping]] = ..., partial: _Optional[_Union[TranslationPartial, _Mapping]] = ..., final: _Optional[_Union[TranslationFinal, _Mapping]] = ..., notice: _Optional[_Union[_hypothesis_pb2.Notice, _Mapping]] = ..., summary: _Optional[_Union[TranslationSummary, _Mapping]] = ...) -> None: ...
