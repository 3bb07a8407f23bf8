"""The asyncio client: the same surface as ``legonn.Client``.

    async with legonn.AsyncClient() as client:
        print(await client.translate("Guten Morgen!", source="de"))
        async for event in client.stream(microphone()):
            ...

Every call raises ``legonn.LegonnError`` or one of its children, and nothing else, when it fails.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Self, overload

import grpc
from grpc_health.v1 import health_pb2

from legonn import _channel, _convert, _text_feed, errors
from legonn._text_feed import Piece
from legonn.audio import Samples, open_audio, sample_chunks
from legonn.client import DEFAULT_RATE_HERTZ
from legonn.streams import Event, Final, ModuleInfo, SpeechOptions, Transcript
from legonn.translation import TextEvent, TranslateOptions
from legonn.v1 import (
    module_service_pb2,
    module_service_pb2_grpc,
    speech_service_pb2,
    speech_service_pb2_grpc,
    translation_service_pb2_grpc,
)

ACCEPTED_WITHIN_S = 2.0
"""How long audio waits for the server's first word."""

REFUSAL_ATTEMPTS = 3
"""A refusal may meet the config in flight; gRPC then reports its own error in place of ours."""


class AsyncClient:
    """One connection to a legonn server, for one event loop; made inside it.

    Args:
        address: host:port; default $LEGONN_ADDRESS, else 127.0.0.1:50051.
        timeout_s: Deadline of each unary call, in seconds; streams have none.
    """

    def __init__(self, address: str | None = None, *, timeout_s: float = 60.0) -> None:
        self.address = _channel.resolve(address)
        self._timeout_s = timeout_s
        self._channel = grpc.aio.insecure_channel(self.address, _channel.options(self.address))
        self._speech = speech_service_pb2_grpc.SpeechServiceStub(self._channel)
        self._translation = translation_service_pb2_grpc.TranslationServiceStub(self._channel)
        self._modules = module_service_pb2_grpc.ModuleServiceStub(self._channel)
        self._health = self._channel.unary_unary(
            _channel.HEALTH_METHOD,
            health_pb2.HealthCheckRequest.SerializeToString,
            health_pb2.HealthCheckResponse.FromString,
        )

    async def close(self) -> None:
        """End all calls and the connection."""
        await self._channel.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    async def transcribe(
        self,
        audio: str | Path | Samples,
        options: SpeechOptions | None = None,
        *,
        sample_rate_hertz: int = DEFAULT_RATE_HERTZ,
        on_final: Callable[[Final], None] | None = None,
    ) -> Transcript:
        """The text of a whole recording; arguments and errors as ``legonn.Client.transcribe``."""
        wishes = replace(options or SpeechOptions(), interim_results=False)
        if isinstance(audio, str | Path):
            with open_audio(audio) as file:
                return await self._collect(file.chunks(), wishes, file.sample_rate_hertz, on_final)
        chunks = sample_chunks(audio, sample_rate_hertz)
        return await self._collect(chunks, wishes, sample_rate_hertz, on_final)

    async def _collect(
        self,
        chunks: Iterable[bytes],
        options: SpeechOptions,
        rate: int,
        on_final: Callable[[Final], None] | None,
    ) -> Transcript:
        segments = []
        async for event in self.stream(chunks, options, sample_rate_hertz=rate):
            if isinstance(event, Final):
                segments.append(event)
                if on_final:
                    on_final(event)
        return Transcript(tuple(segments))

    async def stream(
        self,
        chunks: Iterable[bytes] | AsyncIterable[bytes],
        options: SpeechOptions | None = None,
        *,
        sample_rate_hertz: int = DEFAULT_RATE_HERTZ,
    ) -> AsyncIterator[Event]:
        """Send audio as it comes and yield what the server says; see ``legonn.Client.stream``."""
        config = _convert.config_request(options or SpeechOptions(), sample_rate_hertz)
        with _rpc_errors():
            for attempt in range(REFUSAL_ATTEMPTS):
                requests = _Requests(config, chunks)
                try:
                    async for event in self._events(requests):
                        yield event
                except grpc.aio.AioRpcError as error:
                    # Nothing was accepted and no chunk taken: ask again for the true reason.
                    if requests.is_accepted.is_set() or not _hides_refusal(error):
                        raise
                    if attempt + 1 == REFUSAL_ATTEMPTS:
                        raise
                else:
                    return

    async def _events(self, requests: _Requests) -> AsyncIterator[Event]:
        call = self._speech.StreamingRecognize(requests.messages())
        requests.cancel = call.cancel
        try:
            async for response in call:
                requests.is_accepted.set()
                event = _convert.event(response)
                if event is not None:
                    yield event
        except (grpc.RpcError, asyncio.CancelledError):
            requests.kept.check()
            raise
        finally:
            call.cancel()
        requests.kept.check()

    @overload
    async def translate(self, text: str, *, source: str, target: str = "en") -> str: ...
    @overload
    async def translate(
        self, text: list[str] | tuple[str, ...], *, source: str, target: str = "en"
    ) -> list[str]: ...
    async def translate(
        self, text: str | list[str] | tuple[str, ...], *, source: str, target: str = "en"
    ) -> str | list[str]:
        """Translate a text, or texts in batches; see ``legonn.Client.translate``."""
        texts = [text] if isinstance(text, str) else list(text)
        results = []
        async for result in self.translate_each(texts, source=source, target=target):
            if isinstance(result, errors.LegonnError):
                raise result
            results.append(result)
        return results[0] if isinstance(text, str) else results

    async def translate_each(
        self, texts: Sequence[str], *, source: str, target: str = "en"
    ) -> AsyncIterator[str | errors.LegonnError]:
        """Translate texts; a text that fails gives its error in its place and stops no other."""
        for batch in _channel.batches(list(texts)):
            request = _convert.translate_request(batch, source, target)
            with _rpc_errors():
                response = await self._translation.Translate(request, timeout=self._timeout_s)
            for result in _convert.translations(response):
                yield result

    async def translate_stream(
        self,
        pieces: Iterable[Piece] | AsyncIterable[Piece],
        *,
        source: str,
        target: str = "en",
        options: TranslateOptions | None = None,
    ) -> AsyncIterator[TextEvent]:
        """Send text as it is written; see ``legonn.Client.translate_stream``."""
        config = _text_feed.config(options or TranslateOptions(), source=source, target=target)
        with _rpc_errors():
            for attempt in range(REFUSAL_ATTEMPTS):
                feed = _text_feed.AsyncFeed(config, pieces)
                try:
                    async for event in feed.events(self._translation.StreamingTranslate):
                        yield event
                except grpc.aio.AioRpcError as error:
                    is_hidden = _hides_refusal(error) and not feed.is_accepted.is_set()
                    if not is_hidden or attempt + 1 == REFUSAL_ATTEMPTS:
                        raise
                else:
                    return

    async def modules(self) -> list[ModuleInfo]:
        """All versions of all modules that the server knows, by name."""
        request = module_service_pb2.ListModulesRequest()
        found: list[ModuleInfo] = []
        while True:
            with _rpc_errors():
                page = await self._modules.ListModules(request, timeout=self._timeout_s)
            found += [info for module in page.modules for info in _convert.modules(module)]
            if not page.next_page_token:
                return found
            request.page_token = page.next_page_token

    async def health(self) -> str:
        """SERVING, NOT_SERVING or UNKNOWN, from the standard health service."""
        request = health_pb2.HealthCheckRequest()
        with _rpc_errors():
            answer = await self._health(request, timeout=self._timeout_s)
        return _channel.serving_status(answer)


class _Requests:
    """The config, then the chunks, as gRPC's own task takes them."""

    def __init__(
        self,
        config: speech_service_pb2.StreamingRecognizeRequest,
        chunks: Iterable[bytes] | AsyncIterable[bytes],
    ) -> None:
        self._config = config
        self._chunks = chunks
        self.kept = _channel.Kept()
        self.is_accepted = asyncio.Event()
        self.cancel: Callable[[], object] = bool  # until there is a call, nothing to cancel

    async def messages(self) -> AsyncIterator[speech_service_pb2.StreamingRecognizeRequest]:
        yield self._config
        # A refusal that meets a write in flight is reported by gRPC as an internal error. A server
        # that never says "started" gets its audio all the same.
        with suppress(TimeoutError):
            await asyncio.wait_for(self.is_accepted.wait(), ACCEPTED_WITHIN_S)
        with self.kept:
            async for chunk in _each(self._chunks):
                yield _convert.audio_request(chunk)
        if self.kept.error:
            self.cancel()


def _hides_refusal(error: grpc.aio.AioRpcError) -> bool:
    return error.code() is grpc.StatusCode.INTERNAL and "from Core" in (error.details() or "")


async def _each(chunks: Iterable[bytes] | AsyncIterable[bytes]) -> AsyncIterator[bytes]:
    if isinstance(chunks, AsyncIterable):
        async for chunk in chunks:
            yield chunk
        return
    for chunk in chunks:
        yield chunk
        await asyncio.sleep(0)  # a long file must not keep the loop from everybody else


@contextmanager
def _rpc_errors() -> Iterator[None]:
    """Turn what gRPC raises into our tree."""
    try:
        yield
    except grpc.aio.AioRpcError as error:
        raise errors.from_rpc(error) from error
