"""The web site of a gateway: the captions page, its WebSocket, and the HTTP calls."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, TypeVar

from google.protobuf import json_format
from google.protobuf.message import Message
from starlette.applications import Starlette
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Mount, Route, WebSocketRoute
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Receive, Scope, Send

from legonn.v1 import module_service_pb2 as modules_pb
from legonn.v1 import translation_service_pb2 as text_pb
from legonn_core.errors import BadText, NotFound
from legonn_server.gateway.doorkeeper import Doorkeeper
from legonn_server.gateway.interceptors.web import Endpoint, error_response
from legonn_server.gateway.modules import ModuleService
from legonn_server.gateway.services import Services
from legonn_server.gateway.translation import TranslationService
from legonn_server.gateway.web.access import Access, Tickets
from legonn_server.gateway.web.body import body_of
from legonn_server.gateway.web.bridge import Bridge
from legonn_server.gateway.web.caption_files import CaptionFiles
from legonn_server.gateway.web.guard import Guard
from legonn_server.gateway.web.policy import WebLimits
from legonn_server.gateway.web.transcriptions import Transcriptions

_Message = TypeVar("_Message", bound=Message)
PAGE_FOLDER = Path(__file__).parent / "page"


def build_site(
    services: Services,
    limits: WebLimits,
    doorkeeper: Doorkeeper,
    *,
    is_serving: Callable[[], bool],
    host: str,
) -> ASGIApp:
    """Everything behind the web port.

    Args:
        services: What the handlers share.
        limits: What the web door allows.
        doorkeeper: Decides who may call.
        is_serving: What ``/v1/health`` says.
        host: The host that is listened on.
    """
    app: ASGIApp = Starlette(routes=routes(services, limits, doorkeeper, is_serving=is_serving))
    app = Access(app, doorkeeper, services.workers.metrics)
    if limits.allowed:
        app = CORSMiddleware(
            app,
            allow_origins=limits.allowed,
            allow_methods=["GET", "POST"],
            allow_headers=["authorization", "content-type", "x-request-id"],
        )
    return Guard(app, limits, host)


def routes(
    services: Services,
    limits: WebLimits,
    doorkeeper: Doorkeeper,
    *,
    is_serving: Callable[[], bool] = lambda: True,
) -> list[BaseRoute]:
    """Every path of the site; ``access/roles.py`` says who may ask for it."""
    metrics = services.workers.metrics
    calls = _Calls(services, limits)
    caption_files = CaptionFiles(limits)
    transcriptions = Transcriptions(services, limits, caption_files)

    def call(
        path: str, method: str, name: str, handler: Callable[[Request], Awaitable[Response]]
    ) -> Route:
        return Route(path, Endpoint(name, metrics, handler), methods=[method])

    return [
        WebSocketRoute("/v1/captions", Bridge(services, limits).serve),
        call("/v1/audio/transcriptions", "POST", "HttpTranscribe", transcriptions.transcribe),
        call("/v1/audio/translations", "POST", "HttpTranslateAudio", transcriptions.translate),
        call("/v1/captions", "POST", "HttpCaptions", caption_files.answer),
        call("/v1/translate", "POST", "HttpTranslate", calls.translate),
        call("/v1/routes", "GET", "HttpRoutes", calls.routes),
        call("/v1/modules", "GET", "HttpModules", calls.modules),
        call("/v1/tickets", "POST", "HttpTickets", Tickets(doorkeeper).issue),
        Route("/v1/health", _health(is_serving), methods=["GET"]),
        Mount("/v1", _nothing_here),
        Mount("/", _Page(directory=PAGE_FOLDER, html=True)),
    ]


def _health(is_serving: Callable[[], bool]) -> Callable[[Request], Awaitable[Response]]:
    """``/v1/health``, for balancers and probes that do not speak gRPC: 200 or 503."""

    async def answer(request: Request) -> Response:
        del request
        if is_serving():
            return JSONResponse({"status": "SERVING"})
        return JSONResponse({"status": "NOT_SERVING"}, 503)

    return answer


async def _nothing_here(scope: Scope, receive: Receive, send: Send) -> None:
    """Under /v1 everything is JSON, refusals too."""
    await error_response(NotFound("no such call; docs/http.md lists them"))(scope, receive, send)


class _Page(StaticFiles):
    """The files of the page: looked up anew each time, so that a new version is seen at once."""

    def file_response(self, *args: Any, **kwargs: Any) -> Response:
        response = super().file_response(*args, **kwargs)
        response.headers["cache-control"] = "no-cache"
        return response


class _Calls:
    """The calls that are JSON on both sides: the messages of the wire contract as proto3 JSON."""

    def __init__(self, services: Services, limits: WebLimits) -> None:
        self._limits = limits
        self._translation = TranslationService(services)
        self._modules = ModuleService(services)

    async def translate(self, request: Request) -> Response:
        """``Translate`` for HTTP."""
        body = await body_of(request, seconds=self._limits.body_seconds)
        message = _parsed(body, text_pb.TranslateRequest())
        return _json(await self._translation.whole(message))

    async def routes(self, request: Request) -> Response:
        """``GetRoutes`` for HTTP."""
        del request
        return _json(self._modules.routes())

    async def modules(self, request: Request) -> Response:
        """``ListModules`` for HTTP: its first page, more than a person would choose from."""
        del request
        return _json(self._modules.list(modules_pb.ListModulesRequest()))


def _parsed(content: bytes, message: _Message) -> _Message:
    try:
        return json_format.Parse(content, message)
    except (json_format.ParseError, UnicodeDecodeError) as error:
        # Before its first colon the library says where; behind it may stand the caller's text.
        where = str(error).partition(":")[0].partition("\n")[0][:120]
        raise BadText(f"the body is no {type(message).__name__} in JSON: {where}") from None


def _json(message: Message) -> Response:
    content = json_format.MessageToDict(message, always_print_fields_with_no_presence=True)
    return JSONResponse(content, headers={"cache-control": "no-store"})
