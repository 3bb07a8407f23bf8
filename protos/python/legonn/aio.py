"""The asyncio client: the same surface as ``legonn.Client``.

    async with legonn.AsyncClient() as client:
        print(await client.translate("Guten Morgen!", source="de"))
        async for event in client.stream(microphone()):
            ...

Every call raises ``legonn.LegonnError`` or one of its children, and nothing else, when it fails.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import (
    AsyncIterable,
    AsyncIterator,
    Awaitable,
    Callable,
    Iterable,
    Mapping,
    Sequence,
)
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar, overload

import grpc
from grpc_health.v1 import health_pb2

from legonn import _channel, _convert, _text_feed, errors
from legonn._module_calls import AsyncModuleCalls
from legonn._session import SessionLog, note, reconnecting
from legonn._source import AsyncSource
from legonn._text_feed import Piece
from legonn.access import Access
from legonn.audio import Samples, open_audio, sample_chunks
from legonn.client import DEFAULT_RATE_HERTZ
from legonn.feed import Item
from legonn.retry import Retries, RetryPolicy
from legonn.streams import Event, Final, SpeechOptions, Transcript
from legonn.translation import TextEvent, TranslateOptions
from legonn.v1 import (
    module_service_pb2_grpc,
    speech_service_pb2_grpc,
    translation_service_pb2_grpc,
)

Answer = TypeVar("Answer")
Terms = Mapping[str, str | None]


class AsyncClient(AsyncModuleCalls):
    """One connection to a legonn server, for one event loop; made inside it.

    Args:
        address: As ``legonn.Client``.
        timeout_s: Deadline of each unary call, in seconds; streams have none.
        retry: How patient to be with a server that is lost or full; see ``NO_RETRIES``.
        access: Key, token and certificates; default $LEGONN_KEY, $LEGONN_CA, $LEGONN_CERT and
            $LEGONN_CERT_KEY.
        clock: Seconds that only grow.
        sleep: Waits so many seconds.
        dice: A number in [0, 1) each time, for the jitter of retries.
    """

    def __init__(
        self,
        address: str | None = None,
        *,
        timeout_s: float = 60.0,
        retry: RetryPolicy | None = None,
        access: Access | None = None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        dice: Callable[[], float] = random.random,
    ) -> None:
        self.address = _channel.resolve(address)
        self._timeout_s = timeout_s
        self._retry = retry or RetryPolicy()
        self._clock, self._sleep, self._dice = clock, sleep, dice
        self._channel = _channel.dial_async(self.address, access or Access.from_environment())
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

    def _retries(self) -> Retries:
        return Retries(self._retry, clock=self._clock, dice=self._dice)

    async def _call(
        self, method: Callable[..., Awaitable[Answer]], request: object, *, more_s: float = 0.0
    ) -> Answer:
        """One unary call within its deadline, tried again where the error allows."""
        retries = self._retries()
        end = self._clock() + self._timeout_s + more_s
        while True:
            try:
                return await method(request, timeout=max(0.001, end - self._clock()))
            except grpc.aio.AioRpcError as raised:
                error = _as_ours(raised)
                wait = retries.delay_s(error)
                if wait is None or self._clock() + wait >= end:
                    raise error from raised
            await self._sleep(wait)

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
        chunks: Iterable[Item] | AsyncIterable[Item],
        options: SpeechOptions | None = None,
        *,
        sample_rate_hertz: int = DEFAULT_RATE_HERTZ,
    ) -> AsyncIterator[Event]:
        """Send audio as it comes and yield what the server says; see ``legonn.Client.stream``."""
        log = SessionLog(options or SpeechOptions(), sample_rate_hertz)
        source = AsyncSource(log, chunks)
        retries = self._retries()
        pump = asyncio.create_task(source.pump())
        try:
            while True:
                try:
                    async for event in self._attempt(source):
                        note(retries, event)
                        yield event
                except grpc.aio.AioRpcError as raised:
                    source.kept.check()
                    error = _as_ours(raised)
                    wait = retries.delay_s(error, was_accepted=source.is_accepted)
                    if wait is None or not log.can_go_on():
                        raise error from raised
                    if source.is_accepted:
                        yield log.numbered(reconnecting(error))
                    await self._sleep(wait)
                else:
                    source.kept.check()
                    return
        finally:
            pump.cancel()

    async def _attempt(self, source: AsyncSource) -> AsyncIterator[Event]:
        """One stream of a session."""
        call = self._speech.StreamingRecognize(source.requests())
        source.started(call.cancel)
        try:
            async for response in call:
                event = source.receive(response)
                if event is not None:
                    yield event
        except asyncio.CancelledError:
            source.kept.check()
            raise
        finally:
            call.cancel()

    @overload
    async def translate(
        self, text: str, *, source: str, target: str = "en", glossary: Terms | None = None
    ) -> str: ...
    @overload
    async def translate(
        self,
        text: list[str] | tuple[str, ...],
        *,
        source: str,
        target: str = "en",
        glossary: Terms | None = None,
    ) -> list[str]: ...
    async def translate(
        self,
        text: str | list[str] | tuple[str, ...],
        *,
        source: str,
        target: str = "en",
        glossary: Terms | None = None,
    ) -> str | list[str]:
        """Translate a text, or texts in batches; see ``legonn.Client.translate``."""
        texts = [text] if isinstance(text, str) else list(text)
        results = []
        async for result in self.translate_each(
            texts, source=source, target=target, glossary=glossary
        ):
            if isinstance(result, errors.LegonnError):
                raise result
            results.append(result)
        return results[0] if isinstance(text, str) else results

    async def translate_each(
        self,
        texts: Sequence[str],
        *,
        source: str,
        target: str = "en",
        glossary: Terms | None = None,
    ) -> AsyncIterator[str | errors.LegonnError]:
        """Translate texts; a text that fails gives its error in its place and stops no other."""
        for batch in _channel.batches(list(texts)):
            request = _convert.translate_request(batch, source, target, glossary)
            response = await self._call(self._translation.Translate, request)
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
        retries = self._retries()
        while True:
            feed = _text_feed.AsyncFeed(config, pieces)
            try:
                async for event in feed.events(self._translation.StreamingTranslate):
                    yield event
            except grpc.aio.AioRpcError as raised:
                # Nothing was accepted and no piece taken: ask again.
                is_open = feed.is_accepted.is_set()
                error = _as_ours(raised)
                wait = None if is_open else retries.delay_s(error)
                if wait is None:
                    raise error from raised
                await self._sleep(wait)
            else:
                return

    async def health(self) -> str:
        """SERVING, NOT_SERVING or UNKNOWN, from the standard health service."""
        answer = await self._call(self._health, health_pb2.HealthCheckRequest())
        return _channel.serving_status(answer)


def _as_ours(raised: grpc.aio.AioRpcError) -> errors.LegonnError:
    """The error of our tree; what gRPC hid behind an error of its own is worth asking again."""
    if _channel.hides_refusal(raised.code(), raised.details()):
        return errors.Unavailable(raised.details() or "")
    return errors.from_rpc(raised)
