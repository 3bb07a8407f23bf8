"""The multipart form of OpenAI's audio calls: read within limits, each field checked or refused."""

from __future__ import annotations

from dataclasses import dataclass

from starlette.datastructures import FormData, UploadFile
from starlette.exceptions import HTTPException
from starlette.requests import Request

from legonn_core.errors import BadConfig, LimitExceeded, NotImplementedYet
from legonn_server.gateway.web.arriving import arriving
from legonn_server.gateway.web.policy import WebLimits

DEFAULT_MODELS = frozenset(
    {"", "legonn", "whisper-1", "gpt-4o-transcribe", "gpt-4o-mini-transcribe"}
)
"""Model names that mean the default route: callers written for OpenAI's service send one."""

FORMATS = ("json", "text", "srt", "verbose_json", "vtt")
_KNOWN = {
    "file", "model", "language", "prompt", "response_format", "temperature", "stream",
    "timestamp_granularities[]", "timestamp_granularities", "chunking_strategy",
}  # fmt: skip
_UNSERVED = {
    "include", "include[]", "known_speaker_names", "known_speaker_names[]",
    "known_speaker_references", "known_speaker_references[]",
}  # fmt: skip
_MAX_FIELDS = 32
_FORM_OVERHEAD_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class AudioForm:
    """What was asked.

    Attributes:
        content: The file's bytes.
        model: Name of a route; empty for the default one.
        language: BCP-47 code of what is spoken; empty for the default.
        response_format: One of ``FORMATS``.
        wants_words: Whether ``verbose_json`` holds words.
        wants_segments: Whether it holds segments.
        is_streamed: Whether events are wanted in place of one answer.
    """

    content: bytes
    model: str
    language: str
    response_format: str
    wants_words: bool
    wants_segments: bool
    is_streamed: bool


async def read_audio_form(request: Request, limits: WebLimits) -> AudioForm:
    """Read a call.

    Raises:
        BadConfig: If a field is unknown or holds nonsense, or there is no file.
        LimitExceeded: If the file is too large.
        DeadlineMissed: If it takes too long to arrive.
        NotImplementedYet: If it asks for what this server does not do.
    """
    _refuse_large(request, limits)
    try:
        async with (
            arriving(limits.body_seconds),
            request.form(max_files=1, max_fields=_MAX_FIELDS, max_part_size=64 << 10) as form,
        ):
            return await _checked(form, limits)
    except HTTPException as error:
        raise BadConfig(f"the body is no multipart form: {error.detail}") from None


def _refuse_large(request: Request, limits: WebLimits) -> None:
    """By what the caller says of its length; a body without it is counted as it comes."""
    length = request.headers.get("content-length", "")
    if not length.isdecimal():
        raise BadConfig("content-length is missing: send the form with its length")
    if int(length) > limits.max_upload_bytes + _FORM_OVERHEAD_BYTES:
        raise LimitExceeded(f"a body of {length} bytes; at most {limits.max_upload_bytes}")


async def _checked(form: FormData, limits: WebLimits) -> AudioForm:
    file = form.get("file")
    if not isinstance(file, UploadFile):
        raise BadConfig("file is missing: a multipart part with a file name")
    for name in form:
        if name in _UNSERVED:
            raise NotImplementedYet(f"{name} is not served")
        if name not in _KNOWN:
            raise BadConfig(f"{name[:40]!r} is not a field of this call")
    content = await file.read(limits.max_upload_bytes + 1)
    if len(content) > limits.max_upload_bytes:
        raise LimitExceeded(f"a file of more than {limits.max_upload_bytes} bytes")
    model = _text(form, "model")
    kinds = _granularities(form)
    shape = _text(form, "response_format") or "json"
    if shape not in FORMATS:
        raise BadConfig(f"response_format is one of {', '.join(FORMATS)}")
    return AudioForm(
        content=content,
        model="" if model in DEFAULT_MODELS else model,
        language=_text(form, "language"),
        response_format=shape,
        wants_words="word" in kinds,
        wants_segments="segment" in kinds or not kinds,
        is_streamed=_flag(form, "stream"),
    )


def _text(form: FormData, name: str) -> str:
    value = form.get(name, "")
    if not isinstance(value, str):
        raise BadConfig(f"{name} is text, not a file")
    return value.strip()


def _flag(form: FormData, name: str) -> bool:
    value = _text(form, name).lower()
    if value not in ("", "true", "false"):
        raise BadConfig(f"{name} is true or false")
    return value == "true"


def _granularities(form: FormData) -> set[str]:
    names = ("timestamp_granularities[]", "timestamp_granularities")
    kinds = {value for name in names for value in form.getlist(name)}
    if kinds - {"word", "segment"}:
        raise BadConfig("timestamp_granularities[] holds word, segment or both")
    return {kind for kind in kinds if isinstance(kind, str)}
