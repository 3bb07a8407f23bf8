import datetime

from google.protobuf import duration_pb2 as _duration_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Task(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    TASK_UNSPECIFIED: _ClassVar[Task]
    TASK_TRANSCRIBE: _ClassVar[Task]
    TASK_TRANSLATE: _ClassVar[Task]

class Modality(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    MODALITY_UNSPECIFIED: _ClassVar[Modality]
    MODALITY_SPEECH: _ClassVar[Modality]
    MODALITY_TEXT: _ClassVar[Modality]

class ModuleKind(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    MODULE_KIND_UNSPECIFIED: _ClassVar[ModuleKind]
    MODULE_KIND_ENCODER: _ClassVar[ModuleKind]
    MODULE_KIND_DECODER: _ClassVar[ModuleKind]

class ModuleState(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    MODULE_STATE_UNSPECIFIED: _ClassVar[ModuleState]
    MODULE_STATE_ABSENT: _ClassVar[ModuleState]
    MODULE_STATE_LOADING: _ClassVar[ModuleState]
    MODULE_STATE_CHECKING: _ClassVar[ModuleState]
    MODULE_STATE_WARM: _ClassVar[ModuleState]
    MODULE_STATE_SERVING: _ClassVar[ModuleState]
    MODULE_STATE_SHADOW: _ClassVar[ModuleState]
    MODULE_STATE_DRAINING: _ClassVar[ModuleState]
    MODULE_STATE_RETIRED: _ClassVar[ModuleState]
    MODULE_STATE_FAILED: _ClassVar[ModuleState]
TASK_UNSPECIFIED: Task
TASK_TRANSCRIBE: Task
TASK_TRANSLATE: Task
MODALITY_UNSPECIFIED: Modality
MODALITY_SPEECH: Modality
MODALITY_TEXT: Modality
MODULE_KIND_UNSPECIFIED: ModuleKind
MODULE_KIND_ENCODER: ModuleKind
MODULE_KIND_DECODER: ModuleKind
MODULE_STATE_UNSPECIFIED: ModuleState
MODULE_STATE_ABSENT: ModuleState
MODULE_STATE_LOADING: ModuleState
MODULE_STATE_CHECKING: ModuleState
MODULE_STATE_WARM: ModuleState
MODULE_STATE_SERVING: ModuleState
MODULE_STATE_SHADOW: ModuleState
MODULE_STATE_DRAINING: ModuleState
MODULE_STATE_RETIRED: ModuleState
MODULE_STATE_FAILED: ModuleState

class Contract(_message.Message):
    __slots__ = ("vocabulary", "fingerprint", "rows_per_second", "rows_per_token", "top_k")
    VOCABULARY_FIELD_NUMBER: _ClassVar[int]
    FINGERPRINT_FIELD_NUMBER: _ClassVar[int]
    ROWS_PER_SECOND_FIELD_NUMBER: _ClassVar[int]
    ROWS_PER_TOKEN_FIELD_NUMBER: _ClassVar[int]
    TOP_K_FIELD_NUMBER: _ClassVar[int]
    vocabulary: str
    fingerprint: str
    rows_per_second: float
    rows_per_token: float
    top_k: int
    def __init__(self, vocabulary: _Optional[str] = ..., fingerprint: _Optional[str] = ..., rows_per_second: _Optional[float] = ..., rows_per_token: _Optional[float] = ..., top_k: _Optional[int] = ...) -> None: ...

class ModuleVersion(_message.Message):
    __slots__ = ("version", "state", "digest", "contract", "num_parameters", "memory_bytes", "device", "num_pins", "load_duration", "sample_rate_hertz", "chunk_duration", "scores", "error", "warm_duration", "checks")
    class ScoresEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: float
        def __init__(self, key: _Optional[str] = ..., value: _Optional[float] = ...) -> None: ...
    class ChecksEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: float
        def __init__(self, key: _Optional[str] = ..., value: _Optional[float] = ...) -> None: ...
    VERSION_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    DIGEST_FIELD_NUMBER: _ClassVar[int]
    CONTRACT_FIELD_NUMBER: _ClassVar[int]
    NUM_PARAMETERS_FIELD_NUMBER: _ClassVar[int]
    MEMORY_BYTES_FIELD_NUMBER: _ClassVar[int]
    DEVICE_FIELD_NUMBER: _ClassVar[int]
    NUM_PINS_FIELD_NUMBER: _ClassVar[int]
    LOAD_DURATION_FIELD_NUMBER: _ClassVar[int]
    SAMPLE_RATE_HERTZ_FIELD_NUMBER: _ClassVar[int]
    CHUNK_DURATION_FIELD_NUMBER: _ClassVar[int]
    SCORES_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    WARM_DURATION_FIELD_NUMBER: _ClassVar[int]
    CHECKS_FIELD_NUMBER: _ClassVar[int]
    version: str
    state: ModuleState
    digest: str
    contract: Contract
    num_parameters: int
    memory_bytes: int
    device: str
    num_pins: int
    load_duration: _duration_pb2.Duration
    sample_rate_hertz: int
    chunk_duration: _duration_pb2.Duration
    scores: _containers.ScalarMap[str, float]
    error: str
    warm_duration: _duration_pb2.Duration
    checks: _containers.ScalarMap[str, float]
    def __init__(self, version: _Optional[str] = ..., state: _Optional[_Union[ModuleState, str]] = ..., digest: _Optional[str] = ..., contract: _Optional[_Union[Contract, _Mapping]] = ..., num_parameters: _Optional[int] = ..., memory_bytes: _Optional[int] = ..., device: _Optional[str] = ..., num_pins: _Optional[int] = ..., load_duration: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., sample_rate_hertz: _Optional[int] = ..., chunk_duration: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., scores: _Optional[_Mapping[str, float]] = ..., error: _Optional[str] = ..., warm_duration: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., checks: _Optional[_Mapping[str, float]] = ...) -> None: ...

class Module(_message.Message):
    __slots__ = ("name", "kind", "modality", "source_language_code", "target_language_code", "versions")
    NAME_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    MODALITY_FIELD_NUMBER: _ClassVar[int]
    SOURCE_LANGUAGE_CODE_FIELD_NUMBER: _ClassVar[int]
    TARGET_LANGUAGE_CODE_FIELD_NUMBER: _ClassVar[int]
    VERSIONS_FIELD_NUMBER: _ClassVar[int]
    name: str
    kind: ModuleKind
    modality: Modality
    source_language_code: str
    target_language_code: str
    versions: _containers.RepeatedCompositeFieldContainer[ModuleVersion]
    def __init__(self, name: _Optional[str] = ..., kind: _Optional[_Union[ModuleKind, str]] = ..., modality: _Optional[_Union[Modality, str]] = ..., source_language_code: _Optional[str] = ..., target_language_code: _Optional[str] = ..., versions: _Optional[_Iterable[_Union[ModuleVersion, _Mapping]]] = ...) -> None: ...

class CanaryBands(_message.Message):
    __slots__ = ("max_error_percent", "max_latency_ratio", "max_blank_difference")
    MAX_ERROR_PERCENT_FIELD_NUMBER: _ClassVar[int]
    MAX_LATENCY_RATIO_FIELD_NUMBER: _ClassVar[int]
    MAX_BLANK_DIFFERENCE_FIELD_NUMBER: _ClassVar[int]
    max_error_percent: float
    max_latency_ratio: float
    max_blank_difference: float
    def __init__(self, max_error_percent: _Optional[float] = ..., max_latency_ratio: _Optional[float] = ..., max_blank_difference: _Optional[float] = ...) -> None: ...

class Canary(_message.Message):
    __slots__ = ("encoder", "decoder", "steps", "hold_duration", "min_segments", "bands", "weight_percent", "status")
    ENCODER_FIELD_NUMBER: _ClassVar[int]
    DECODER_FIELD_NUMBER: _ClassVar[int]
    STEPS_FIELD_NUMBER: _ClassVar[int]
    HOLD_DURATION_FIELD_NUMBER: _ClassVar[int]
    MIN_SEGMENTS_FIELD_NUMBER: _ClassVar[int]
    BANDS_FIELD_NUMBER: _ClassVar[int]
    WEIGHT_PERCENT_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    encoder: str
    decoder: str
    steps: _containers.RepeatedScalarFieldContainer[int]
    hold_duration: _duration_pb2.Duration
    min_segments: int
    bands: CanaryBands
    weight_percent: int
    status: str
    def __init__(self, encoder: _Optional[str] = ..., decoder: _Optional[str] = ..., steps: _Optional[_Iterable[int]] = ..., hold_duration: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., min_segments: _Optional[int] = ..., bands: _Optional[_Union[CanaryBands, _Mapping]] = ..., weight_percent: _Optional[int] = ..., status: _Optional[str] = ...) -> None: ...

class Shadow(_message.Message):
    __slots__ = ("encoder", "decoder", "percent")
    ENCODER_FIELD_NUMBER: _ClassVar[int]
    DECODER_FIELD_NUMBER: _ClassVar[int]
    PERCENT_FIELD_NUMBER: _ClassVar[int]
    encoder: str
    decoder: str
    percent: int
    def __init__(self, encoder: _Optional[str] = ..., decoder: _Optional[str] = ..., percent: _Optional[int] = ...) -> None: ...

class Route(_message.Message):
    __slots__ = ("task", "modality", "source_language_code", "target_language_code", "model", "encoder", "decoder", "canary", "shadow")
    TASK_FIELD_NUMBER: _ClassVar[int]
    MODALITY_FIELD_NUMBER: _ClassVar[int]
    SOURCE_LANGUAGE_CODE_FIELD_NUMBER: _ClassVar[int]
    TARGET_LANGUAGE_CODE_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    ENCODER_FIELD_NUMBER: _ClassVar[int]
    DECODER_FIELD_NUMBER: _ClassVar[int]
    CANARY_FIELD_NUMBER: _ClassVar[int]
    SHADOW_FIELD_NUMBER: _ClassVar[int]
    task: Task
    modality: Modality
    source_language_code: str
    target_language_code: str
    model: str
    encoder: str
    decoder: str
    canary: Canary
    shadow: Shadow
    def __init__(self, task: _Optional[_Union[Task, str]] = ..., modality: _Optional[_Union[Modality, str]] = ..., source_language_code: _Optional[str] = ..., target_language_code: _Optional[str] = ..., model: _Optional[str] = ..., encoder: _Optional[str] = ..., decoder: _Optional[str] = ..., canary: _Optional[_Union[Canary, _Mapping]] = ..., shadow: _Optional[_Union[Shadow, _Mapping]] = ...) -> None: ...

class RouteTable(_message.Message):
    __slots__ = ("generation", "routes", "content_hash", "error")
    GENERATION_FIELD_NUMBER: _ClassVar[int]
    ROUTES_FIELD_NUMBER: _ClassVar[int]
    CONTENT_HASH_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    generation: int
    routes: _containers.RepeatedCompositeFieldContainer[Route]
    content_hash: str
    error: str
    def __init__(self, generation: _Optional[int] = ..., routes: _Optional[_Iterable[_Union[Route, _Mapping]]] = ..., content_hash: _Optional[str] = ..., error: _Optional[str] = ...) -> None: ...
