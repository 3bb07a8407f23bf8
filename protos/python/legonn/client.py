r"""The blocking client: recordings and streams to text, text to text, and what the server serves.

    import legonn

    with legonn.Client() as client, legonn.open_audio("talk.wav") as audio:
        live = legonn.paced(audio.chunks(), audio.sample_rate_hertz)
        for event in client.stream(live, sample_rate_hertz=audio.sample_rate_hertz):
            match event:
                case legonn.Partial():
                    print(event.stable_text, "…", event.tail_text, end="\r")
                case legonn.Final():
                    print(event.text)

Every call raises ``legonn.LegonnError`` or one of its children, and nothing else, when it fails.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TypeVar, cast, overload

import grpc
from grpc_health.v1 import health_pb2

from legonn import _channel, _convert, _text_feed, errors
from legonn._closing import Closing
from legonn._module_calls import ModuleCalls
from legonn._session import SessionLog, note, reconnecting
from legonn._source import Source
from legonn._text_feed import Piece
from legonn.access import Access
from legonn.audio import Samples, open_audio, sample_chunks
from legonn.feed import Item
from legonn.retry import Retries, RetryPolicy
from legonn.streams import Event, Final, SpeechOptions, Transcript
from legonn.translation import TextEvent, TranslateOptions
from legonn.v1 import (
    module_service_pb2_grpc,
    speech_service_pb2_grpc,
    translation_service_pb2_grpc,
)

DEFAULT_RATE_HERTZ = 16_000

Answer = TypeVar("Answer")
Terms = Mapping[str, str | None]


class Client(ModuleCalls, Closing):
    """One connection to a legonn server; safe to share between threads.

    Args:
        address: host:port, several divided by commas, or a gRPC target such as dns:///host:port;
            default $LEGONN_ADDRESS, else 127.0.0.1:50051.
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
        sleep: Callable[[float], None] = time.sleep,
        dice: Callable[[], float] = random.random,
    ) -> None:
        self.address = _channel.resolve(address)
        self._timeout_s = timeout_s
        self._retry = retry or RetryPolicy()
        self._clock, self._sleep, self._dice = clock, sleep, dice
        self._channel = _channel.dial(self.address, access or Access.from_environment())
        self._speech = speech_service_pb2_grpc.SpeechServiceStub(self._channel)
        self._translation = translation_service_pb2_grpc.TranslationServiceStub(self._channel)
        self._modules = module_service_pb2_grpc.ModuleServiceStub(self._channel)
        self._health = self._channel.unary_unary(
            _channel.HEALTH_METHOD,
            health_pb2.HealthCheckRequest.SerializeToString,
            health_pb2.HealthCheckResponse.FromString,
        )

    def close(self) -> None:
        """End all calls and the connection."""
        self._channel.close()

    def _retries(self) -> Retries:
        return Retries(self._retry, clock=self._clock, dice=self._dice)

    def _call(
        self, method: Callable[..., Answer], request: object, *, more_s: float = 0.0
    ) -> Answer:
        """One unary call within its deadline, tried again where the error allows."""
        retries = self._retries()
        end = self._clock() + self._timeout_s + more_s
        while True:
            try:
                return method(request, timeout=max(0.001, end - self._clock()))
            except grpc.RpcError as raised:
                error = errors.from_rpc(cast("errors.RpcFailure", raised))
                wait = retries.delay_s(error)
                if wait is None or self._clock() + wait >= end:
                    raise error from raised
            self._sleep(wait)

    def transcribe(
        self,
        audio: str | Path | Samples,
        options: SpeechOptions | None = None,
        *,
        sample_rate_hertz: int = DEFAULT_RATE_HERTZ,
        on_final: Callable[[Final], None] | None = None,
    ) -> Transcript:
        """The text of a whole recording of any length, as fast as the server can.

        Args:
            audio: A file, or (N,) samples as int16 or float in [-1, 1].
            options: Languages and wishes; ``interim_results`` is taken as False.
            sample_rate_hertz: Of samples; a file knows its own.
            on_final: Called with each segment as it comes.

        Raises:
            BadAudio: If the file is missing or no audio.
        """
        wishes = replace(options or SpeechOptions(), interim_results=False)
        if isinstance(audio, str | Path):
            with open_audio(audio) as file:
                return self._collect(file.chunks(), wishes, file.sample_rate_hertz, on_final)
        chunks = sample_chunks(audio, sample_rate_hertz)
        return self._collect(chunks, wishes, sample_rate_hertz, on_final)

    def _collect(
        self,
        chunks: Iterable[Item],
        options: SpeechOptions,
        rate: int,
        on_final: Callable[[Final], None] | None,
    ) -> Transcript:
        segments = []
        for event in self.stream(chunks, options, sample_rate_hertz=rate):
            if isinstance(event, Final):
                segments.append(event)
                if on_final:
                    on_final(event)
        return Transcript(tuple(segments))

    def stream(
        self,
        chunks: Iterable[Item],
        options: SpeechOptions | None = None,
        *,
        sample_rate_hertz: int = DEFAULT_RATE_HERTZ,
    ) -> Iterator[Event]:
        """Send audio as it comes and yield what the server says, until the summary.

        A server that is lost or drained is replaced: the session goes on at the next one with the
        audio kept since the last final (at most 60 s), and the notices RECONNECTING and RECOVERED
        say so. Leaving the loop early ends the call. An error of ``chunks`` ends it too, and is
        raised.

        Args:
            chunks: LINEAR16 mono, and wishes (``Control``) between the chunks; taken one by one in
                a thread of gRPC. Its end ends the audio. See ``Feed`` for audio that is pushed.
            options: Languages and wishes.
            sample_rate_hertz: Of the chunks.
        """
        log = SessionLog(options or SpeechOptions(), sample_rate_hertz)
        source = Source(log, iter(chunks))
        retries = self._retries()
        while True:
            try:
                for event in self._attempt(source):
                    note(retries, event)
                    yield event
            except grpc.RpcError as raised:
                source.kept.check()
                # What gRPC raises from a call is the call itself, which its types do not say.
                error = errors.from_rpc(cast("errors.RpcFailure", raised))
                wait = retries.delay_s(error, was_accepted=source.is_accepted)
                if wait is None or not log.can_go_on():
                    raise error from raised
                if source.is_accepted:
                    yield log.numbered(reconnecting(error))
                self._sleep(wait)
            else:
                source.kept.check()
                return

    def _attempt(self, source: Source) -> Iterator[Event]:
        """One stream of a session."""
        call = self._speech.StreamingRecognize(source.requests())
        source.started(call.cancel)
        try:
            for response in call:
                event = source.receive(response)
                if event is not None:
                    yield event
        finally:
            call.cancel()

    @overload
    def translate(
        self, text: str, *, source: str, target: str = "en", glossary: Terms | None = None
    ) -> str: ...
    @overload
    def translate(
        self,
        text: list[str] | tuple[str, ...],
        *,
        source: str,
        target: str = "en",
        glossary: Terms | None = None,
    ) -> list[str]: ...
    def translate(
        self,
        text: str | list[str] | tuple[str, ...],
        *,
        source: str,
        target: str = "en",
        glossary: Terms | None = None,
    ) -> str | list[str]:
        """Translate a text, or texts in batches with their order kept.

        Args:
            text: One text, or several.
            source: BCP-47 code of its language.
            target: BCP-47 code of the language wanted.
            glossary: Terms with their one translation; None keeps the term as it is.

        Raises:
            LegonnError: Also when one text of several fails; see ``translate_each``.
        """
        texts = [text] if isinstance(text, str) else list(text)
        results = []
        for result in self.translate_each(texts, source=source, target=target, glossary=glossary):
            if isinstance(result, errors.LegonnError):
                raise result
            results.append(result)
        return results[0] if isinstance(text, str) else results

    def translate_each(
        self,
        texts: Sequence[str],
        *,
        source: str,
        target: str = "en",
        glossary: Terms | None = None,
    ) -> Iterator[str | errors.LegonnError]:
        """Translate texts; a text that fails gives its error in its place and stops no other."""
        for batch in _channel.batches(list(texts)):
            request = _convert.translate_request(batch, source, target, glossary)
            yield from _convert.translations(self._call(self._translation.Translate, request))

    def translate_stream(
        self,
        pieces: Iterable[Piece],
        *,
        source: str,
        target: str = "en",
        options: TranslateOptions | None = None,
    ) -> Iterator[TextEvent]:
        """Send text as it is written and yield what the server says, until the summary.

        Leaving the loop early ends the call. An error of ``pieces`` ends it too, and is raised.

        Args:
            pieces: Text, cut anywhere, and ``legonn.END_OF_SEGMENT`` where a segment shall end;
                taken one by one in a thread of gRPC; its end ends the text.
            source: BCP-47 code of the language of the text.
            target: BCP-47 code of the language wanted.
            options: What of a partial is settled, and other wishes.
        """
        config = _text_feed.config(options or TranslateOptions(), source=source, target=target)
        feed = _text_feed.BlockingFeed(config, pieces)
        with _channel.rpc_errors():
            yield from feed.events(self._translation.StreamingTranslate)

    def health(self) -> str:
        """SERVING, NOT_SERVING or UNKNOWN, from the standard health service."""
        answer = self._call(self._health, health_pb2.HealthCheckRequest())
        return _channel.serving_status(answer)
