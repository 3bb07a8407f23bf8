"""The WebSocket bridge, sub-protocol ``legonn.captions.v1``: StreamingRecognize for browsers.

Text messages are the JSON form of ``StreamingRecognizeRequest`` and ``StreamingRecognizeResponse``,
binary messages are audio. docs/captions-protocol.md is its description for those who write front
ends. It only carries: the session is the one behind gRPC.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator, Mapping

from google.protobuf.json_format import MessageToDict, ParseDict, ParseError
from starlette.websockets import WebSocket, WebSocketDisconnect

from legonn.v1 import audio_pb2
from legonn.v1 import speech_service_pb2 as pb
from legonn_core.errors import BadText, DeadlineMissed, LegonnError, ProtocolViolation
from legonn_server.gateway.interceptors.telemetry import request_id_of
from legonn_server.gateway.interceptors.web import close_code, counted, status_json
from legonn_server.gateway.recognition import Recognition
from legonn_server.gateway.services import Services
from legonn_server.gateway.web.policy import WebLimits
from legonn_server.telemetry.traces import caller_context, trace_parent_of

PROTOCOL = "legonn.captions.v1"
_NAME = "CaptionsSocket"
_MAX_REASON_BYTES = 120


class Bridge:
    """Endpoint of the sub-protocol.

    Args:
        services: What the handlers share.
        limits: What the web door allows.
    """

    def __init__(self, services: Services, limits: WebLimits) -> None:
        self._recognition = Recognition(services)
        self._metrics = services.workers.metrics
        self._limits = limits

    async def serve(self, socket: WebSocket) -> None:
        """Carry one session."""
        if PROTOCOL not in socket.scope.get("subprotocols", ()):
            await socket.close(1002, f"ask for the sub-protocol {PROTOCOL}")
            return
        await socket.accept(PROTOCOL)

        async def write(response: pb.StreamingRecognizeResponse) -> None:
            await socket.send_text(to_json(response))

        caller_context.set(trace_parent_of(socket.headers.items()))
        try:
            with counted(_NAME, self._metrics, request_id_of(socket.headers.items())):
                await self._recognition.stream(self._requests(socket), write)
        except WebSocketDisconnect:
            return  # the caller left; the session ended with its reader
        except LegonnError as error:
            await _end(socket, error)
        else:
            await _close(socket, 1000, "complete")

    async def _requests(self, socket: WebSocket) -> AsyncIterator[pb.StreamingRecognizeRequest]:
        """The caller's messages; ``{"end": {}}`` is the half-close that WebSockets do not have."""
        try:
            async with asyncio.timeout(self._limits.config_seconds):
                message = await socket.receive()
        except TimeoutError:
            raise DeadlineMissed("no config came; it is the first message") from None
        while True:
            if message["type"] == "websocket.disconnect":
                raise WebSocketDisconnect(message.get("code", 1006))
            request = read_message(message)
            if request is None:
                return
            yield request
            message = await socket.receive()


def read_message(message: Mapping[str, object]) -> pb.StreamingRecognizeRequest | None:
    """A message of the socket as a request; None for the half-close.

    Raises:
        BadText: If it is no JSON of a request.
        ProtocolViolation: If it is JSON, but no object.
    """
    content, text = message.get("bytes"), message.get("text")
    if isinstance(content, bytes):
        return pb.StreamingRecognizeRequest(audio=audio_pb2.AudioChunk(content=content))
    try:
        found = json.loads(text) if isinstance(text, str) else None
    except ValueError:
        raise BadText("a text message is not JSON") from None
    if not isinstance(found, dict):
        raise ProtocolViolation('a text message is an object: {"config": …}, {"control": …} …')
    if "end" in found and len(found) == 1:
        return None
    try:
        return ParseDict(found, pb.StreamingRecognizeRequest())
    except ParseError as error:
        raise BadText(f"a text message is no request: {_field(str(error))}") from None


def _field(text: str) -> str:
    """Which field it is, of the library's sentence; what a caller wrote is not repeated."""
    named = re.match(r"Failed to parse (\w+) field", text)
    return f"{named[1]} is not what it must be" if named else "it has a field that there is not"


def to_json(response: pb.StreamingRecognizeResponse) -> str:
    """A response in proto3 JSON, with the fields that hold their defaults."""
    found = MessageToDict(response, always_print_fields_with_no_presence=True)
    return json.dumps(found, ensure_ascii=False, separators=(",", ":"))


async def _end(socket: WebSocket, error: LegonnError) -> None:
    """Tell the caller why it ends, in JSON and in the close frame."""
    try:
        await socket.send_text(json.dumps({"error": status_json(error)}, ensure_ascii=False))
    except (WebSocketDisconnect, RuntimeError):
        return  # the caller has left; the library says so in either way
    await _close(socket, close_code(error), f"{error.reason}: {error.message}")


async def _close(socket: WebSocket, code: int, reason: str) -> None:
    short = reason.encode()[:_MAX_REASON_BYTES].decode(errors="ignore")
    try:
        await socket.close(code, short)
    except (WebSocketDisconnect, RuntimeError):
        return
