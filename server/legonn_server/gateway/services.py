"""What all services of the gateway share."""

from __future__ import annotations

from dataclasses import dataclass, field

from legonn_server.access.quota import TenantQuota
from legonn_server.access.tenants import Tenants
from legonn_server.gateway.decoding.decoder import Decoders
from legonn_server.gateway.response_cache import CacheLimits
from legonn_server.gateway.sessions import Sessions
from legonn_server.gateway.stream import StreamRunner, Workers
from legonn_server.gateway.text_runner import TextRunner
from legonn_server.gateway.tolls import Toll
from legonn_server.pools.module_manager import ModuleManager
from legonn_server.pools.reconciler import Reconciler
from legonn_server.routing.admission import Admission
from legonn_server.session.endpoint import EndpointRule
from legonn_server.session.policy import DecodingPolicy
from legonn_server.session.text_policy import TextLimits
from legonn_server.telemetry.traces import Tracing


@dataclass(frozen=True, slots=True)
class CallLimits:
    """What one call may hold.

    Attributes:
        max_message_bytes: Largest message of a stream.
        max_chunk_seconds: Longest audio in one message of a stream.
        max_pending_seconds: Audio that waits before a stream is read no further.
        max_recognize_seconds: Longest recording of a unary call.
        max_text_characters: Longest text.
        max_texts: Texts in one call.
        max_text_concurrency: Sentences of one call at work at once.
        unary_seconds: Longest unary call.
        small_messages_per_second: Messages of a stream that bring less than 10 ms of audio, 16
            characters or 32 bytes of a file; above it the stream is read more slowly.
        max_unsent_answers: Answers that wait for a caller who does not read; a stream above it ends
            with QUEUE_FULL.
    """

    max_message_bytes: int = 1 << 20
    max_chunk_seconds: float = 2.0
    max_pending_seconds: float = 2.0
    max_recognize_seconds: float = 60.0
    max_text_characters: int = 20_000
    max_texts: int = 256
    max_text_concurrency: int = 8
    unary_seconds: float = 300.0
    small_messages_per_second: float = 100.0
    max_unsent_answers: int = 1_000

    def __post_init__(self) -> None:
        for name in self.__dataclass_fields__:
            if getattr(self, name) <= 0:
                raise ValueError(f"{name} must be positive, not {getattr(self, name)}")


@dataclass(frozen=True, slots=True)
class Services:
    """The parts that ``app.py`` built, as the handlers see them.

    Attributes:
        runners: Streams of audio that are open, for the drain.
        text_runners: Streams of text, likewise.
        reconciler: Who follows the routes file.
        sessions: Which stream holds which session.
        decoders: Read compressed audio, apart from this process.
        tracing: Traces calls, if anybody wants that.
        tenants: What each tenant has open and has used.
    """

    modules: ModuleManager
    workers: Workers
    speech_admission: Admission
    text_admission: Admission
    limits: CallLimits
    endpoint_rule: EndpointRule
    decoding: DecodingPolicy
    reconciler: Reconciler
    text: TextLimits = TextLimits()
    cache: CacheLimits = CacheLimits()
    runners: set[StreamRunner] = field(default_factory=set)
    text_runners: set[TextRunner] = field(default_factory=set)
    sessions: Sessions = field(default_factory=Sessions)
    decoders: Decoders = field(default_factory=Decoders)
    tracing: Tracing = field(default_factory=Tracing)
    tenants: Tenants = field(default_factory=lambda: Tenants(lambda _: TenantQuota()))

    def toll(self) -> Toll:
        """The account of a call that begins now."""
        rate = self.limits.small_messages_per_second
        return Toll(self.tenants, self.workers.metrics, small_messages_per_second=rate)

    def drain(self, *, grace_s: float) -> None:
        """Let nobody in, and hand on open streams as their segments end."""
        self.speech_admission.drain()
        self.text_admission.drain()
        for runner in tuple(self.runners):
            runner.drain(grace_s=grace_s)
        for stream in tuple(self.text_runners):
            stream.drain()

    def cut(self) -> None:
        """End the segments that are still open: a final for what was heard."""
        for runner in tuple(self.runners):
            runner.cut()
