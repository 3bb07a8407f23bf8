"""SpeechService over gRPC: a transport and nothing more; ``recognition.py`` does the work."""

from __future__ import annotations

from collections.abc import AsyncIterator

from legonn.v1 import speech_service_pb2 as pb
from legonn.v1 import speech_service_pb2_grpc as pb_grpc
from legonn_server.gateway.interceptors.wrapping import Context
from legonn_server.gateway.recognition import Recognition
from legonn_server.gateway.services import Services


class SpeechService(pb_grpc.SpeechServiceServicer):
    """Handlers: messages in, messages out."""

    def __init__(self, services: Services) -> None:
        self._recognition = Recognition(services)

    async def Recognize(
        self, request: pb.RecognizeRequest, context: Context
    ) -> pb.RecognizeResponse:
        """One whole recording."""
        del context
        return await self._recognition.whole(request)

    async def StreamingRecognize(  # type: ignore[override]  # grpc.aio also takes a coroutine that writes
        self, request_iterator: AsyncIterator[pb.StreamingRecognizeRequest], context: Context
    ) -> None:
        """A live stream: answers are written as they come."""
        await self._recognition.stream(request_iterator, context.write)
