"""grpc.health.v1: SERVING while the engine serves and the server is not about to stop."""

from __future__ import annotations

from grpc_health.v1 import health_pb2
from grpc_health.v1._async import HealthServicer

SERVICES = (
    "",
    "legonn.v1.SpeechService",
    "legonn.v1.TranslationService",
    "legonn.v1.ModuleService",
)


LIVE = "live"
"""A service that is SERVING as long as the event loop answers: what restarts are decided by."""


class Health:
    """Holds the two reasons for not serving, and tells the standard service.

    Attributes:
        servicer: The standard health service.
    """

    def __init__(self) -> None:
        self.servicer = HealthServicer()
        self._is_backend_up = False
        self._is_draining = False

    async def live(self) -> None:
        """The loop turns; whether anything is served is another question."""
        await self.servicer.set(LIVE, health_pb2.HealthCheckResponse.SERVING)

    async def set_backend(self, *, is_up: bool) -> None:
        """The engine came up or went down."""
        self._is_backend_up = is_up
        await self._tell()

    async def drain(self) -> None:
        """The server will stop; it does not come back."""
        self._is_draining = True
        await self._tell()

    @property
    def is_serving(self) -> bool:
        """What the standard service says of every service."""
        return self._is_backend_up and not self._is_draining

    async def _tell(self) -> None:
        status = (
            health_pb2.HealthCheckResponse.SERVING
            if self.is_serving
            else health_pb2.HealthCheckResponse.NOT_SERVING
        )
        for service in SERVICES:
            await self.servicer.set(service, status)
