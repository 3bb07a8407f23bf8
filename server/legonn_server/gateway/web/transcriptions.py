"""``/v1/audio/transcriptions`` and ``/v1/audio/translations`` as OpenAI's clients call them.

docs/http.md lists each field and what becomes of it. The recording goes through the same sessions
as a live stream; here are only the form of the question and of the answer.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable

from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.types import Receive, Scope, Send

from legonn.v1 import module_card_pb2
from legonn.v1 import speech_service_pb2 as pb
from legonn_core.errors import LegonnError
from legonn_server.gateway.interceptors.errors import as_ours, first_cause
from legonn_server.gateway.interceptors.web import error_body
from legonn_server.gateway.recognition import Recognition
from legonn_server.gateway.services import Services
from legonn_server.gateway.web import formats
from legonn_server.gateway.web.caption_files import CaptionFiles
from legonn_server.gateway.web.forms import AudioForm, read_audio_form
from legonn_server.gateway.web.policy import WebLimits
from legonn_server.gateway.web.recording import Recording, read_recording


class Transcriptions:
    """Handlers of the two calls.

    Args:
        services: What the handlers share.
        limits: What the web door allows.
        caption_files: Writes SRT and WebVTT.
    """

    def __init__(self, services: Services, limits: WebLimits, caption_files: CaptionFiles) -> None:
        self._caption_files = caption_files
        self._recognition = Recognition(services)
        self._decoders = services.decoders
        self._limits = limits

    async def transcribe(self, request: Request) -> Response:
        """Text in the language that is spoken."""
        return await self._answer(request, module_card_pb2.TASK_TRANSCRIBE)

    async def translate(self, request: Request) -> Response:
        """Text in English, whatever is spoken; English stays as it is."""
        return await self._answer(request, module_card_pb2.TASK_TRANSLATE)

    async def _answer(self, request: Request, task: module_card_pb2.Task) -> Response:
        form = await read_audio_form(request, self._limits)
        recording = await read_recording(
            self._decoders, form.content, max_seconds=self._limits.max_upload_seconds
        )
        config = _config(form, task)
        if form.is_streamed:
            return EventStream(self._recognition, recording, config)
        segments: list[pb.RecognitionFinal] = []

        async def collect(response: pb.StreamingRecognizeResponse) -> None:
            if response.HasField("final"):
                segments.append(response.final)

        await _while_connected(
            request.receive, self._recognition.stream(recording.requests(config), collect)
        )
        if form.response_format in ("srt", "vtt"):
            return await self._caption_files.write(formats.finals(segments), form.response_format)
        return _response(form, task, segments, recording)


def _config(form: AudioForm, task: module_card_pb2.Task) -> pb.RecognitionConfig:
    source = form.language or "en"
    is_english = source.replace("_", "-").split("-")[0].lower() == "en"
    is_translated = task == module_card_pb2.TASK_TRANSLATE and not is_english
    return pb.RecognitionConfig(
        language_code=source,
        task=module_card_pb2.TASK_TRANSLATE if is_translated else module_card_pb2.TASK_TRANSCRIBE,
        target_language_code="en" if is_translated else "",
        model=form.model,
        # Promises made early may cost accuracy: only who watches the text grow asks for them.
        interim_results=form.is_streamed,
        enable_word_offsets=True,
        enable_word_confidence=True,
    )


def _response(
    form: AudioForm,
    task: module_card_pb2.Task,
    segments: list[pb.RecognitionFinal],
    recording: Recording,
) -> Response:
    match form.response_format:
        case "json":
            usage = {"type": "duration", "seconds": round(recording.seconds)}
            return JSONResponse({"text": formats.text(segments), "usage": usage})
        case "verbose_json":
            name = "translate" if task == module_card_pb2.TASK_TRANSLATE else "transcribe"
            return JSONResponse(
                formats.verbose(
                    segments,
                    task=name,
                    seconds=recording.seconds,
                    wants_words=form.wants_words,
                    wants_segments=form.wants_segments,
                )
            )
        case _:
            return PlainTextResponse(formats.text(segments) + "\n")


async def _while_connected(receive: Receive, work: Awaitable[None]) -> None:
    """Do the work; stop when the caller leaves.

    Raises:
        ClientDisconnect: If the caller left; possibly inside an ExceptionGroup.
    """

    async def watch() -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        raise ClientDisconnect

    async with asyncio.TaskGroup() as group:
        watching = group.create_task(watch())
        await work
        watching.cancel()


class EventStream(Response):
    """Server-sent events: text that is settled as it grows, then all of it."""

    def __init__(
        self, recognition: Recognition, recording: Recording, config: pb.RecognitionConfig
    ) -> None:
        super().__init__(media_type="text/event-stream", headers={"cache-control": "no-store"})
        # Its length is not known.
        self.raw_headers = [one for one in self.raw_headers if one[0] != b"content-length"]
        self._recognition = recognition
        self._recording = recording
        self._config = config
        self._finals: list[pb.RecognitionFinal] = []
        self._num_shown = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Run the session; its refusal before the first event is an ordinary answer."""
        is_begun = False

        async def write(response: pb.StreamingRecognizeResponse) -> None:
            nonlocal is_begun
            if not is_begun:
                is_begun = True
                head = {"type": "http.response.start", "status": 200, "headers": self.raw_headers}
                await send(head)
            for event in self._events(response):
                await send(_event_body(event))

        work = self._recognition.stream(self._recording.requests(self._config), write)
        try:
            await _while_connected(receive, work)
        except (LegonnError, ExceptionGroup) as raised:
            cause = first_cause(raised)
            if is_begun and not isinstance(cause, ClientDisconnect):
                await send(_event_body(error_body(as_ours("events", cause))))
                await send({"type": "http.response.body", "body": b""})
            raise
        await send({"type": "http.response.body", "body": b""})

    def _events(self, response: pb.StreamingRecognizeResponse) -> list[dict[str, object]]:
        match response.WhichOneof("event"):
            case "partial":
                return self._grown(response.partial.stable_text)
            case "final":
                events = self._grown(response.final.alternatives[0].text)
                self._finals.append(response.final)
                self._num_shown = 0
                return events
            case "summary":
                usage = {"type": "duration", "seconds": round(self._recording.seconds)}
                whole = formats.text(self._finals)
                return [{"type": "transcript.text.done", "text": whole, "usage": usage}]
        return []

    def _grown(self, settled: str) -> list[dict[str, object]]:
        """What the open segment's settled text has more than was shown; it only grows."""
        grown = settled[self._num_shown :]
        if not grown:
            return []
        is_next = self._num_shown == 0 and formats.text(self._finals)
        self._num_shown = len(settled)
        return [{"type": "transcript.text.delta", "delta": f" {grown}" if is_next else grown}]


def _event_body(event: dict[str, object]) -> dict[str, object]:
    content = f"data: {json.dumps(event, ensure_ascii=False)}\n\n"
    return {"type": "http.response.body", "body": content.encode(), "more_body": True}
