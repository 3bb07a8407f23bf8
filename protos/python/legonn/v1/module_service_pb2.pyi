import datetime

from google.protobuf import duration_pb2 as _duration_pb2
from legonn.v1 import module_card_pb2 as _module_card_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class ListModulesRequest(_message.Message):
    __slots__ = ("page_size", "page_token", "filter")
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    FILTER_FIELD_NUMBER: _ClassVar[int]
    page_size: int
    page_token: str
    filter: str
    def __init__(self, page_size: _Optional[int] = ..., page_token: _Optional[str] = ..., filter: _Optional[str] = ...) -> None: ...

class ListModulesResponse(_message.Message):
    __slots__ = ("request_id", "modules", "next_page_token")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    MODULES_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    request_id: str
    modules: _containers.RepeatedCompositeFieldContainer[_module_card_pb2.Module]
    next_page_token: str
    def __init__(self, request_id: _Optional[str] = ..., modules: _Optional[_Iterable[_Union[_module_card_pb2.Module, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class GetModuleRequest(_message.Message):
    __slots__ = ("name",)
    NAME_FIELD_NUMBER: _ClassVar[int]
    name: str
    def __init__(self, name: _Optional[str] = ...) -> None: ...

class GetModuleResponse(_message.Message):
    __slots__ = ("request_id", "module")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    MODULE_FIELD_NUMBER: _ClassVar[int]
    request_id: str
    module: _module_card_pb2.Module
    def __init__(self, request_id: _Optional[str] = ..., module: _Optional[_Union[_module_card_pb2.Module, _Mapping]] = ...) -> None: ...

class LoadModuleRequest(_message.Message):
    __slots__ = ("name", "version", "request_id", "wait_duration")
    NAME_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    WAIT_DURATION_FIELD_NUMBER: _ClassVar[int]
    name: str
    version: str
    request_id: str
    wait_duration: _duration_pb2.Duration
    def __init__(self, name: _Optional[str] = ..., version: _Optional[str] = ..., request_id: _Optional[str] = ..., wait_duration: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ...) -> None: ...

class LoadModuleResponse(_message.Message):
    __slots__ = ("request_id", "module")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    MODULE_FIELD_NUMBER: _ClassVar[int]
    request_id: str
    module: _module_card_pb2.Module
    def __init__(self, request_id: _Optional[str] = ..., module: _Optional[_Union[_module_card_pb2.Module, _Mapping]] = ...) -> None: ...

class UnloadModuleRequest(_message.Message):
    __slots__ = ("name", "version", "request_id", "drain")
    NAME_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    DRAIN_FIELD_NUMBER: _ClassVar[int]
    name: str
    version: str
    request_id: str
    drain: bool
    def __init__(self, name: _Optional[str] = ..., version: _Optional[str] = ..., request_id: _Optional[str] = ..., drain: _Optional[bool] = ...) -> None: ...

class UnloadModuleResponse(_message.Message):
    __slots__ = ("request_id", "module")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    MODULE_FIELD_NUMBER: _ClassVar[int]
    request_id: str
    module: _module_card_pb2.Module
    def __init__(self, request_id: _Optional[str] = ..., module: _Optional[_Union[_module_card_pb2.Module, _Mapping]] = ...) -> None: ...

class SetRouteRequest(_message.Message):
    __slots__ = ("route", "request_id", "expected_generation")
    ROUTE_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    EXPECTED_GENERATION_FIELD_NUMBER: _ClassVar[int]
    route: _module_card_pb2.Route
    request_id: str
    expected_generation: int
    def __init__(self, route: _Optional[_Union[_module_card_pb2.Route, _Mapping]] = ..., request_id: _Optional[str] = ..., expected_generation: _Optional[int] = ...) -> None: ...

class SetRouteResponse(_message.Message):
    __slots__ = ("request_id", "table")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    TABLE_FIELD_NUMBER: _ClassVar[int]
    request_id: str
    table: _module_card_pb2.RouteTable
    def __init__(self, request_id: _Optional[str] = ..., table: _Optional[_Union[_module_card_pb2.RouteTable, _Mapping]] = ...) -> None: ...

class GetRoutesRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class GetRoutesResponse(_message.Message):
    __slots__ = ("request_id", "table")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    TABLE_FIELD_NUMBER: _ClassVar[int]
    request_id: str
    table: _module_card_pb2.RouteTable
    def __init__(self, request_id: _Optional[str] = ..., table: _Optional[_Union[_module_card_pb2.RouteTable, _Mapping]] = ...) -> None: ...

class WatchModulesRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class WatchModulesResponse(_message.Message):
    __slots__ = ("generation", "is_snapshot", "modules", "routes", "events")
    GENERATION_FIELD_NUMBER: _ClassVar[int]
    IS_SNAPSHOT_FIELD_NUMBER: _ClassVar[int]
    MODULES_FIELD_NUMBER: _ClassVar[int]
    ROUTES_FIELD_NUMBER: _ClassVar[int]
    EVENTS_FIELD_NUMBER: _ClassVar[int]
    generation: int
    is_snapshot: bool
    modules: _containers.RepeatedCompositeFieldContainer[_module_card_pb2.Module]
    routes: _module_card_pb2.RouteTable
    events: _containers.RepeatedCompositeFieldContainer[ModuleEvent]
    def __init__(self, generation: _Optional[int] = ..., is_snapshot: _Optional[bool] = ..., modules: _Optional[_Iterable[_Union[_module_card_pb2.Module, _Mapping]]] = ..., routes: _Optional[_Union[_module_card_pb2.RouteTable, _Mapping]] = ..., events: _Optional[_Iterable[_Union[ModuleEvent, _Mapping]]] = ...) -> None: ...

class ModuleEvent(_message.Message):
    __slots__ = ("module", "state", "text", "elapsed_duration")
    MODULE_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    ELAPSED_DURATION_FIELD_NUMBER: _ClassVar[int]
    module: str
    state: _module_card_pb2.ModuleState
    text: str
    elapsed_duration: _duration_pb2.Duration
    def __init__(self, module: _Optional[str] = ..., state: _Optional[_Union[_module_card_pb2.ModuleState, str]] = ..., text: _Optional[str] = ..., elapsed_duration: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ...) -> None: ...
