"""legonn: speech and text to text, from a legonn server.

Job: the client in Python, blocking (``Client``) and asyncio (``AsyncClient``), and the ``legonn``
command. May import: gRPC, protobuf, numpy, soundfile; never torch, the server or ``legonn_core``.
Start here: ``client.py``. Names are imported when they are first used, so that ``legonn --help``
waits for nothing.
"""

from __future__ import annotations

from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from legonn import captions
    from legonn.access import Access
    from legonn.aio import AsyncClient
    from legonn.audio import AudioFile, open_audio, paced, paced_async
    from legonn.captions_shape import CaptionRules, Cue
    from legonn.client import Client
    from legonn.errors import (
        BadAudio,
        BadConfig,
        BadText,
        ContractMismatch,
        DeadlineMissed,
        InputError,
        InternalFault,
        LegonnError,
        LimitExceeded,
        NotFound,
        NotImplementedYet,
        Overloaded,
        PermissionDenied,
        ProtocolViolation,
        QuotaExceeded,
        Retry,
        SessionSuperseded,
        Unauthenticated,
        Unavailable,
        UnknownModule,
        UnknownRoute,
    )
    from legonn.feed import AsyncFeed, Control, Feed
    from legonn.microphone import Microphone
    from legonn.retry import NO_RETRIES, RetryPolicy
    from legonn.routes import Canary, ModuleEvent, ModuleNews, Route, RouteTable, Shadow
    from legonn.streams import (
        Event,
        Final,
        Hypothesis,
        ModuleInfo,
        Notice,
        Partial,
        SpeechMark,
        SpeechOptions,
        Started,
        Summary,
        Transcript,
        Word,
    )
    from legonn.translation import (
        END_OF_SEGMENT,
        EndOfSegment,
        TextEvent,
        TextFinal,
        TextPartial,
        TextSummary,
        TranslateOptions,
    )

_HOMES = {
    "access": ("Access",),
    "aio": ("AsyncClient",),
    "audio": ("AudioFile", "open_audio", "paced", "paced_async"),
    "captions_shape": ("CaptionRules", "Cue"),
    "client": ("Client",),
    "errors": (
        *("BadAudio", "BadConfig", "BadText", "ContractMismatch", "DeadlineMissed", "InputError"),
        *("InternalFault", "LegonnError", "LimitExceeded", "NotFound", "NotImplementedYet"),
        *("Overloaded", "PermissionDenied", "ProtocolViolation", "QuotaExceeded", "Retry"),
        *("SessionSuperseded", "Unauthenticated", "Unavailable"),
        *("UnknownModule", "UnknownRoute"),
    ),
    "feed": ("AsyncFeed", "Control", "Feed"),
    "microphone": ("Microphone",),
    "retry": ("NO_RETRIES", "RetryPolicy"),
    "routes": ("Canary", "ModuleEvent", "ModuleNews", "Route", "RouteTable", "Shadow"),
    "streams": (
        *("Event", "Final", "Hypothesis", "ModuleInfo", "Notice", "Partial", "SpeechMark"),
        *("SpeechOptions", "Started", "Summary", "Transcript", "Word"),
    ),
    "translation": (
        *("END_OF_SEGMENT", "EndOfSegment", "TextEvent", "TextFinal", "TextPartial"),
        *("TextSummary", "TranslateOptions"),
    ),
}
_HOME = {name: home for home, names in _HOMES.items() for name in names}

try:
    __version__ = version("legonn")
except PackageNotFoundError:  # a checkout on the path, not installed
    __version__ = "0.0.0+checkout"

__all__ = [
    "Access",
    "AsyncClient",
    "AsyncFeed",
    "AudioFile",
    "BadAudio",
    "BadConfig",
    "BadText",
    "Canary",
    "CaptionRules",
    "Client",
    "ContractMismatch",
    "Control",
    "Cue",
    "DeadlineMissed",
    "END_OF_SEGMENT",
    "EndOfSegment",
    "Event",
    "Feed",
    "Final",
    "Hypothesis",
    "InputError",
    "InternalFault",
    "LegonnError",
    "LimitExceeded",
    "Microphone",
    "ModuleEvent",
    "ModuleInfo",
    "ModuleNews",
    "NO_RETRIES",
    "NotFound",
    "NotImplementedYet",
    "Notice",
    "Overloaded",
    "Partial",
    "PermissionDenied",
    "ProtocolViolation",
    "QuotaExceeded",
    "Retry",
    "RetryPolicy",
    "Route",
    "RouteTable",
    "SessionSuperseded",
    "Shadow",
    "SpeechMark",
    "SpeechOptions",
    "Started",
    "Summary",
    "TextEvent",
    "TextFinal",
    "TextPartial",
    "TextSummary",
    "Transcript",
    "TranslateOptions",
    "Unauthenticated",
    "Unavailable",
    "UnknownModule",
    "UnknownRoute",
    "Word",
    "captions",
    "open_audio",
    "paced",
    "paced_async",
]


def __getattr__(name: str) -> object:
    if name == "captions":
        return import_module("legonn.captions")
    if name not in _HOME:
        raise AttributeError(f"module 'legonn' has no attribute {name!r}")
    return getattr(import_module(f"legonn.{_HOME[name]}"), name)
