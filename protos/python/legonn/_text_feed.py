"""Streams of text: between plain values and messages, and how both clients feed a call."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import replace
from typing import Any

import grpc
from google.protobuf.duration_pb2 import Duration

from legonn import _channel, _convert, streams
from legonn.translation import (
    EndOfSegment,
    TextEvent,
    TextFinal,
    TextPartial,
    TextSummary,
    TranslateOptions,
)
from legonn.v1 import speech_service_pb2
from legonn.v1 import translation_service_pb2 as pb

Piece = str | EndOfSegment

ACCEPTED_WITHIN_S = 2.0
"""How long text waits for the server's first word; see ``aio``."""

_POLICIES = {
    "local-agreement": pb.COMMIT_POLICY_LOCAL_AGREEMENT,
    "wait-k": pb.COMMIT_POLICY_WAIT_K,
    "latency-budget": pb.COMMIT_POLICY_LATENCY_BUDGET,
    "finals-only": pb.COMMIT_POLICY_FINALS_ONLY,
}


def config(options: TranslateOptions, *, source: str, target: str) -> pb.TranslationConfig:
    """The wishes as a message."""
    delay = Duration()
    delay.FromNanoseconds(round(options.max_delay_s * 1e9))
    streaming = pb.TextStreaming(
        policy=_POLICIES[options.policy],
        agreement=options.agreement,
        wait_words=options.wait_words,
        max_delay=delay,
        append_only=options.append_only,
    )
    return pb.TranslationConfig(
        source_language_code=source,
        target_language_code=target,
        model=options.model,
        interim_results=options.interim_results,
        max_alternatives=options.max_alternatives,
        phrases=[
            speech_service_pb2.Phrase(text=text, boost=boost)
            for text, boost in options.phrases.items()
        ],
        glossary=[
            speech_service_pb2.GlossaryEntry(source=term, target=rendering)
            if rendering is not None
            else speech_service_pb2.GlossaryEntry(source=term, keep=True)
            for term, rendering in options.glossary.items()
        ],
        mask_profanity=options.mask_profanity,
        labels=options.labels,
        streaming=streaming if options.interim_results else None,
    )


def request(piece: Piece) -> pb.StreamingTranslateRequest:
    """One piece of text, or the end of a segment, as a message."""
    if isinstance(piece, EndOfSegment):
        return pb.StreamingTranslateRequest(input=pb.TextInput(end_of_segment=True))
    return pb.StreamingTranslateRequest(input=pb.TextInput(text=piece))


def event(response: pb.StreamingTranslateResponse) -> TextEvent | None:
    """One message of the server as an event; None for a kind that this version does not know."""
    found = _event(response)
    return replace(found, sequence=response.sequence) if found else None


def _event(response: pb.StreamingTranslateResponse) -> TextEvent | None:
    match response.WhichOneof("event"):
        case "started":
            return streams.Started(response.started.session_id, response.started.request_id)
        case "partial":
            partial = response.partial
            return TextPartial(
                partial.segment_index,
                partial.revision,
                partial.stable_text,
                partial.tail_text,
                partial.end_character,
            )
        case "final":
            return _final(response.final)
        case "notice":
            return _convert.notice(response.notice)
        case "summary":
            summary = response.summary
            return TextSummary(
                summary.characters_received, summary.num_segments, summary.num_replays
            )
    return None


def _final(message: pb.TranslationFinal) -> TextFinal:
    translation = message.item.translation
    return TextFinal(
        segment_index=message.segment_index,
        start_character=message.start_character,
        end_character=message.end_character,
        alternatives=tuple(_convert.hypothesis(one) for one in translation.alternatives),
        encoder=translation.encoder,
        decoder=translation.decoder,
        replays=message.replays,
        reason=_convert.final_reason(message.reason),
        error=_convert.item_error(message.item) if message.item.HasField("error") else None,
    )


class BlockingFeed:
    """The config, then the pieces, as gRPC's own thread takes them."""

    def __init__(self, config: pb.TranslationConfig, pieces: Iterable[Piece]) -> None:
        self._config = config
        self._pieces = pieces
        self._kept = _channel.Kept()
        self._cancel: Callable[[], object] = bool  # until there is a call, nothing to cancel

    def _messages(self) -> Iterator[pb.StreamingTranslateRequest]:
        yield pb.StreamingTranslateRequest(config=self._config)
        with self._kept:
            for piece in self._pieces:
                yield request(piece)
        if self._kept.error:
            self._cancel()

    def events(self, method: Callable[..., Any]) -> Iterator[TextEvent]:
        """Call ``method`` of the stub, feed it, and yield what the server says."""
        call = method(self._messages())
        self._cancel = call.cancel
        if self._kept.error:  # the pieces may have failed already
            call.cancel()
        try:
            for response in call:
                found = event(response)
                if found is not None:
                    yield found
        except grpc.RpcError:
            self._kept.check()
            raise
        finally:
            call.cancel()
        self._kept.check()


class AsyncFeed:
    """The same for asyncio, as gRPC's own task takes them."""

    def __init__(
        self, config: pb.TranslationConfig, pieces: Iterable[Piece] | AsyncIterable[Piece]
    ) -> None:
        self._config = config
        self._pieces = pieces
        self._kept = _channel.Kept()
        self._cancel: Callable[[], object] = bool
        self.is_accepted = asyncio.Event()

    async def _messages(self) -> AsyncIterator[pb.StreamingTranslateRequest]:
        yield pb.StreamingTranslateRequest(config=self._config)
        # A refusal that meets a write in flight is reported by gRPC as an internal error.
        with suppress(TimeoutError):
            await asyncio.wait_for(self.is_accepted.wait(), ACCEPTED_WITHIN_S)
        with self._kept:
            if isinstance(self._pieces, AsyncIterable):
                async for piece in self._pieces:
                    yield request(piece)
            else:
                for piece in self._pieces:
                    yield request(piece)
                    await asyncio.sleep(0)
        if self._kept.error:
            self._cancel()

    async def events(self, method: Callable[..., Any]) -> AsyncIterator[TextEvent]:
        """Call ``method`` of the stub, feed it, and yield what the server says."""
        call = method(self._messages())
        self._cancel = call.cancel
        try:
            async for response in call:
                self.is_accepted.set()
                found = event(response)
                if found is not None:
                    yield found
        except (grpc.RpcError, asyncio.CancelledError):
            self._kept.check()
            raise
        finally:
            call.cancel()
        self._kept.check()
