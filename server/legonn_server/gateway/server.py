"""The gRPC server: services, interceptors, limits of the transport."""

from __future__ import annotations

from dataclasses import dataclass

import grpc
from grpc_health.v1 import health as health_service
from grpc_health.v1 import health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from legonn.v1 import (
    module_service_pb2_grpc,
    speech_service_pb2_grpc,
    translation_service_pb2_grpc,
)
from legonn_server.gateway.doorkeeper import Doorkeeper
from legonn_server.gateway.health import SERVICES, Health
from legonn_server.gateway.interceptors.access import AccessInterceptor
from legonn_server.gateway.interceptors.errors import ErrorInterceptor
from legonn_server.gateway.interceptors.reading import ReadingInterceptor
from legonn_server.gateway.interceptors.telemetry import TelemetryInterceptor
from legonn_server.gateway.modules import ModuleService
from legonn_server.gateway.services import Services
from legonn_server.gateway.speech import SpeechService
from legonn_server.gateway.translation import TranslationService


@dataclass(frozen=True, slots=True)
class TransportLimits:
    """What gRPC takes of one connection; the library itself refuses what is above.

    Attributes:
        max_request_bytes: Largest message on the wire, before it is read.
        max_metadata_bytes: Headers of one call together; a token fits into 8 KiB.
        max_calls: Calls open at once, refused ones among them; 0 is 64 more than both kinds of
            ``admission.max_streams`` together. Further ones are refused before they are looked at,
            so that a flood of calls that are cancelled at once (rapid reset) piles up no work.
        max_calls_per_connection: Calls open at once on one connection; further ones wait at the
            caller.
        max_connections: Connections at once; further ones are closed.
        handshake_seconds: How long a connection may take to speak HTTP/2, and TLS before it.
        keepalive_seconds: Silence after which a peer is pinged.
        keepalive_timeout_seconds: How long its answer may take; then it is gone.
    """

    max_request_bytes: int = 4 << 20
    max_metadata_bytes: int = 16 << 10
    max_calls: int = 0
    max_calls_per_connection: int = 1_000
    max_connections: int = 10_000
    handshake_seconds: float = 10.0
    keepalive_seconds: float = 30.0
    keepalive_timeout_seconds: float = 10.0

    def __post_init__(self) -> None:
        for name in self.__dataclass_fields__:
            if getattr(self, name) <= 0 and name != "max_calls":
                raise ValueError(f"{name} must be positive, not {getattr(self, name)}")
        if self.max_calls < 0:
            raise ValueError("max_calls must not be negative")

    def options(self) -> tuple[tuple[str, int], ...]:
        """The same in the library's words."""
        return (
            ("grpc.max_receive_message_length", self.max_request_bytes),
            ("grpc.max_metadata_size", self.max_metadata_bytes),
            ("grpc.absolute_max_metadata_size", self.max_metadata_bytes),
            ("grpc.max_concurrent_streams", self.max_calls_per_connection),
            ("grpc.max_allowed_incoming_connections", self.max_connections),
            ("grpc.server_handshake_timeout_ms", round(self.handshake_seconds * 1_000)),
            # Peers that are gone without a word are found after both together.
            ("grpc.keepalive_time_ms", round(self.keepalive_seconds * 1_000)),
            ("grpc.keepalive_timeout_ms", round(self.keepalive_timeout_seconds * 1_000)),
            # Clients may ping every 10 s, also without data; the library's 300 s would close them.
            ("grpc.http2.min_ping_interval_without_data_ms", 10_000),
            ("grpc.keepalive_permit_without_calls", 1),
            # Two servers on one port would share its connections; refuse the second.
            ("grpc.so_reuseport", 0),
        )


def build_server(
    services: Services,
    health: Health,
    doorkeeper: Doorkeeper,
    limits: TransportLimits,
    *,
    max_streams: int,
    has_reflection: bool,
) -> grpc.aio.Server:
    """A server that is not started and has no port yet.

    Args:
        services: What the handlers share.
        health: What the health service says.
        doorkeeper: Decides who may call.
        limits: What is taken of connections.
        max_streams: Calls of each kind that admission lets in.
        has_reflection: Whether the contract can be asked for.
    """
    metrics = services.workers.metrics
    server = grpc.aio.server(
        interceptors=(
            TelemetryInterceptor(metrics),
            ErrorInterceptor(metrics),
            AccessInterceptor(doorkeeper),
            ReadingInterceptor(),
        ),
        options=limits.options(),
        maximum_concurrent_rpcs=limits.max_calls or 2 * max_streams + 64,
    )
    speech_service_pb2_grpc.add_SpeechServiceServicer_to_server(SpeechService(services), server)
    translation_service_pb2_grpc.add_TranslationServiceServicer_to_server(
        TranslationService(services), server
    )
    module_service_pb2_grpc.add_ModuleServiceServicer_to_server(ModuleService(services), server)
    health_pb2_grpc.add_HealthServicer_to_server(health.servicer, server)
    if has_reflection:
        names = (*SERVICES[1:], health_service.SERVICE_NAME, reflection.SERVICE_NAME)
        reflection.enable_server_reflection(names, server)
    return server
