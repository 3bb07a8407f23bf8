"""One recording or live stream of speech, whatever transport carries it.

gRPC and the WebSocket bridge both hand requests of the wire contract to ``Recognition`` and write
the responses that it makes: sessions, limits and order are decided once, below the transports.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AbstractContextManager

from legonn.v1 import speech_service_pb2 as pb
from legonn_core.errors import BadConfig, DeadlineMissed
from legonn_server.gateway import convert
from legonn_server.gateway.call import Call
from legonn_server.gateway.entrance import SPEECH, entered
from legonn_server.gateway.interceptors.telemetry import current_request_id
from legonn_server.gateway.services import Services
from legonn_server.gateway.writer import Write, Writer
from legonn_server.session import commands as c
from legonn_server.session import events as e


class Recognition:
    """Whole recordings and live streams, both through the same session machine.

    Args:
        services: What the handlers share.
    """

    def __init__(self, services: Services) -> None:
        self._services = services

    def _traced(self, name: str) -> AbstractContextManager[None]:
        return self._services.tracing.call(name, current_request_id.get())

    def _enter(self) -> AbstractContextManager[None]:
        services = self._services
        return entered(
            services.speech_admission, services.workers.metrics, SPEECH, tenants=services.tenants
        )

    async def whole(self, request: pb.RecognizeRequest) -> pb.RecognizeResponse:
        """One whole recording.

        Raises:
            LegonnError: Why it cannot be read, possibly inside an ExceptionGroup.
        """
        limits = self._services.limits
        with self._traced("Recognize"), self._enter():
            try:
                async with asyncio.timeout(limits.unary_seconds):
                    return await self._recognize(request)
            except TimeoutError:
                raise DeadlineMissed(f"not done within {limits.unary_seconds:g} s") from None

    async def stream(
        self, requests: AsyncIterator[pb.StreamingRecognizeRequest], write: Write
    ) -> None:
        """A live stream: responses are written as they come.

        Args:
            requests: The caller's messages; their end is the half-close. They are read no faster
                than the encoder follows, so a transport that waits here pushes back.
            write: Takes one response; may wait for the caller to read.

        Raises:
            LegonnError: Why the stream cannot go on, possibly inside an ExceptionGroup.
        """
        metrics = self._services.workers.metrics
        with (
            self._traced("StreamingRecognize"),
            self._enter(),
            metrics.sessions_active.track_inprogress(),
        ):
            call = Call(self._services)
            call.toll.require_audio()
            self._services.runners.add(call.runner)
            try:
                await call.runner.run(call.events(requests), Writer(call, write).emit)
            finally:
                self._services.runners.discard(call.runner)
                self._services.sessions.leave(call.session_id, call.runner)

    async def _recognize(self, request: pb.RecognizeRequest) -> pb.RecognizeResponse:
        if not request.HasField("config"):
            raise BadConfig("config is missing")
        call = Call(self._services)
        call.configure(request.config, is_whole=True)
        samples = await call.read_whole(request.audio)
        call.toll.require_audio(len(samples) / call.input_rate)
        segments: list[pb.RecognitionFinal] = []

        async def events() -> AsyncIterator[e.Event]:
            yield call.opened()
            for event in call.feed(samples):
                yield event
            for event in call.flush():
                yield event

        async def emit(command: c.Command) -> None:
            if isinstance(command, c.EmitFinal):
                segments.append(call.final(command))

        await call.runner.run(events(), emit)
        return pb.RecognizeResponse(
            request_id=current_request_id.get(),
            segments=segments,
            audio_duration=convert.duration(call.num_received, call.input_rate),
        )
