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

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Self, cast, overload

import grpc
from grpc_health.v1 import health_pb2

from legonn import _channel, _convert, _text_feed, errors
from legonn._text_feed import Piece
from legonn.audio import Samples, open_audio, sample_chunks
from legonn.streams import Event, Final, ModuleInfo, SpeechOptions, Transcript
from legonn.translation import TextEvent, TranslateOptions
from legonn.v1 import (
    module_service_pb2,
    module_service_pb2_grpc,
    speech_service_pb2,
    speech_service_pb2_grpc,
    translation_service_pb2_grpc,
)

DEFAULT_RATE_HERTZ = 16_000


class Client:
    """One connection to a legonn server; safe to share between threads.

    Args:
        address: host:port; default $LEGONN_ADDRESS, else 127.0.0.1:50051.
        timeout_s: Deadline of each unary call, in seconds; streams have none.
    """

    def __init__(self, address: str | None = None, *, timeout_s: float = 60.0) -> None:
        self.address = _channel.resolve(address)
        self._timeout_s = timeout_s
        self._channel = grpc.insecure_channel(self.address, _channel.options(self.address))
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

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

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
        chunks: Iterable[bytes],
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
        chunks: Iterable[bytes],
        options: SpeechOptions | None = None,
        *,
        sample_rate_hertz: int = DEFAULT_RATE_HERTZ,
    ) -> Iterator[Event]:
        """Send audio as it comes and yield what the server says, until the summary.

        Leaving the loop early ends the call. An error of ``chunks`` ends it too, and is raised.

        Args:
            chunks: LINEAR16 mono, taken one by one in a thread of gRPC; its end ends the audio.
            options: Languages and wishes.
            sample_rate_hertz: Of the chunks.
        """
        config = _convert.config_request(options or SpeechOptions(), sample_rate_hertz)
        requests = _Requests(config, chunks)
        with _rpc_errors():
            call = self._speech.StreamingRecognize(iter(requests))
            requests.started(call.cancel)
            try:
                for response in call:
                    event = _convert.event(response)
                    if event is not None:
                        yield event
            except grpc.RpcError:
                requests.kept.check()
                raise
            finally:
                call.cancel()
            requests.kept.check()

    @overload
    def translate(self, text: str, *, source: str, target: str = "en") -> str: ...
    @overload
    def translate(
        self, text: list[str] | tuple[str, ...], *, source: str, target: str = "en"
    ) -> list[str]: ...
    def translate(
        self, text: str | list[str] | tuple[str, ...], *, source: str, target: str = "en"
    ) -> str | list[str]:
        """Translate a text, or texts in batches with their order kept.

        Raises:
            LegonnError: Also when one text of several fails; see ``translate_each``.
        """
        texts = [text] if isinstance(text, str) else list(text)
        results = []
        for result in self.translate_each(texts, source=source, target=target):
            if isinstance(result, errors.LegonnError):
                raise result
            results.append(result)
        return results[0] if isinstance(text, str) else results

    def translate_each(
        self, texts: Sequence[str], *, source: str, target: str = "en"
    ) -> Iterator[str | errors.LegonnError]:
        """Translate texts; a text that fails gives its error in its place and stops no other."""
        for batch in _channel.batches(list(texts)):
            request = _convert.translate_request(batch, source, target)
            with _rpc_errors():
                response = self._translation.Translate(request, timeout=self._timeout_s)
            yield from _convert.translations(response)

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
        with _rpc_errors():
            yield from feed.events(self._translation.StreamingTranslate)

    def modules(self) -> list[ModuleInfo]:
        """All versions of all modules that the server knows, by name."""
        request = module_service_pb2.ListModulesRequest()
        found: list[ModuleInfo] = []
        while True:
            with _rpc_errors():
                page = self._modules.ListModules(request, timeout=self._timeout_s)
            found += [info for module in page.modules for info in _convert.modules(module)]
            if not page.next_page_token:
                return found
            request.page_token = page.next_page_token

    def health(self) -> str:
        """SERVING, NOT_SERVING or UNKNOWN, from the standard health service."""
        with _rpc_errors():
            answer = self._health(health_pb2.HealthCheckRequest(), timeout=self._timeout_s)
        return _channel.serving_status(answer)


class _Requests:
    """The config, then the chunks, as gRPC's own thread takes them."""

    def __init__(
        self, config: speech_service_pb2.StreamingRecognizeRequest, chunks: Iterable[bytes]
    ) -> None:
        self._config = config
        self._chunks = chunks
        self._cancel: Callable[[], object] | None = None
        self.kept = _channel.Kept()

    def __iter__(self) -> Iterator[speech_service_pb2.StreamingRecognizeRequest]:
        yield self._config
        with self.kept:
            for chunk in self._chunks:
                yield _convert.audio_request(chunk)
        if self.kept.error and self._cancel:
            self._cancel()

    def started(self, cancel: Callable[[], object]) -> None:
        """The call runs, and this ends it; the chunks may have failed already."""
        self._cancel = cancel
        if self.kept.error:
            cancel()


@contextmanager
def _rpc_errors() -> Iterator[None]:
    """Turn what gRPC raises into our tree."""
    try:
        yield
    except grpc.RpcError as error:
        # What gRPC raises from a call is the call itself, which its types do not say.
        raise errors.from_rpc(cast("errors.RpcFailure", error)) from error
