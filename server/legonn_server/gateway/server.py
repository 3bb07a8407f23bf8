"""The gRPC server: services, interceptors, limits of the transport."""

from __future__ import annotations

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

MAX_REQUEST_BYTES = 4 << 20

_OPTIONS = (
    ("grpc.max_receive_message_length", MAX_REQUEST_BYTES),
    # Peers that are gone without a word are found after 40 s.
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    # Clients may ping every 10 s, also without data; the library's 300 s would close them.
    ("grpc.http2.min_ping_interval_without_data_ms", 10_000),
    ("grpc.keepalive_permit_without_calls", 1),
    # Two servers on one port would share its connections; refuse the second.
    ("grpc.so_reuseport", 0),
)


def build_server(
    services: Services, health: Health, doorkeeper: Doorkeeper, *, has_reflection: bool
) -> grpc.aio.Server:
    """A server that is not started and has no port yet."""
    metrics = services.workers.metrics
    server = grpc.aio.server(
        interceptors=(
            TelemetryInterceptor(metrics),
            ErrorInterceptor(metrics),
            AccessInterceptor(doorkeeper),
            ReadingInterceptor(),
        ),
        options=_OPTIONS,
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
