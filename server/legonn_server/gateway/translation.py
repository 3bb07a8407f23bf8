"""TranslationService: texts are cut into sentences, each is encoded and decoded alone."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator
from contextlib import AbstractContextManager
from dataclasses import dataclass

from legonn.v1 import hypothesis_pb2
from legonn.v1 import translation_service_pb2 as pb
from legonn.v1 import translation_service_pb2_grpc as pb_grpc
from legonn_core.errors import (
    BackendDown,
    BadConfig,
    BadText,
    DeadlineMissed,
    InternalFault,
    LegonnError,
    LimitExceeded,
    NotImplementedYet,
    ProtocolViolation,
)
from legonn_core.runtime.messages import DecodedText, DecodeJob, DecodeKind, EncodeText
from legonn_server.gateway import convert
from legonn_server.gateway.entrance import TEXT, entered
from legonn_server.gateway.interceptors.errors import first_cause, status_number
from legonn_server.gateway.interceptors.telemetry import current_request_id
from legonn_server.gateway.interceptors.wrapping import Context
from legonn_server.gateway.services import Services
from legonn_server.pools.module_manager import Pair
from legonn_server.routing.routes import Modality, RouteKey, route_key
from legonn_server.routing.sentences import sentence_end, split_sentences

_ATTEMPTS = 2


@dataclass(frozen=True, slots=True)
class TextCall:
    """A checked ``TranslationConfig``."""

    key: RouteKey
    num_best: int
    wants_confidence: bool
    resolved: pb.TranslationConfig


def text_call(config: pb.TranslationConfig) -> TextCall:
    """Check a config.

    Raises:
        BadConfig: If a field holds nonsense.
        NotImplementedYet: If it asks for what this version does not serve.
    """
    if not config.source_language_code:
        raise BadConfig("source_language_code is missing")
    for field in ("glossary", "phrases", "mask_profanity"):
        if getattr(config, field):
            raise NotImplementedYet(f"{field} is not served by this version")
    if config.HasField("streaming"):
        raise NotImplementedYet("streaming is not served by this version")
    resolved = pb.TranslationConfig()
    resolved.CopyFrom(config)
    resolved.target_language_code = config.target_language_code or "en"
    resolved.max_alternatives = convert.alternatives(config.max_alternatives)
    return TextCall(
        key=route_key(
            Modality.TEXT,
            resolved.source_language_code,
            resolved.target_language_code,
            model=config.model,
        ),
        num_best=resolved.max_alternatives,
        wants_confidence=config.enable_word_confidence,
        resolved=resolved,
    )


class TranslationService(pb_grpc.TranslationServiceServicer):
    """Handlers of whole texts and of text as it is written."""

    def __init__(self, services: Services) -> None:
        self._services = services

    async def Translate(
        self, request: pb.TranslateRequest, context: Context
    ) -> pb.TranslateResponse:
        """A batch: each text has its own result, order is kept."""
        del context
        return await self.whole(request)

    async def whole(self, request: pb.TranslateRequest) -> pb.TranslateResponse:
        """The same for any transport.

        Raises:
            LegonnError: If the call as a whole cannot be answered.
        """
        limits = self._services.limits
        if not request.HasField("config"):
            raise BadConfig("config is missing")
        call = text_call(request.config)
        if not request.texts:
            raise BadText("there is no text")
        if len(request.texts) > limits.max_texts:
            raise LimitExceeded(f"{len(request.texts)} texts; at most {limits.max_texts} in a call")
        with self._enter():
            pair = self._services.modules.find(call.key)
            try:
                async with asyncio.timeout(limits.unary_seconds), asyncio.TaskGroup() as group:
                    busy = asyncio.Semaphore(limits.max_text_concurrency)
                    items = [
                        group.create_task(self.item(text, call, pair, busy))
                        for text in request.texts
                    ]
            except TimeoutError:
                raise DeadlineMissed(f"not done within {limits.unary_seconds:g} s") from None
        return pb.TranslateResponse(
            request_id=current_request_id.get(), items=[item.result() for item in items]
        )

    # grpc.aio also takes a coroutine that writes; the stubs know generators only.
    async def StreamingTranslate(  # type: ignore[override]
        self, request_iterator: AsyncIterator[pb.StreamingTranslateRequest], context: Context
    ) -> None:
        """Text as it is written: each segment is translated when it ends."""
        with self._enter():
            stream = _TextStream(self, self._services, context)
            async for request in request_iterator:
                await stream.receive(request)
            await stream.end()

    def _enter(self) -> AbstractContextManager[None]:
        return entered(self._services.text_admission, self._services.workers.metrics, TEXT)

    async def item(
        self, text: str, call: TextCall, pair: Pair, busy: asyncio.Semaphore
    ) -> pb.TranslationItem:
        """One text's translation, or why there is none."""
        try:
            return pb.TranslationItem(translation=await self.translate(text, call, pair, busy))
        except (LegonnError, ExceptionGroup) as raised:
            error = first_cause(raised)
            if not isinstance(error, LegonnError) or isinstance(error, InternalFault):
                raise
            return pb.TranslationItem(error=item_status(error))

    async def translate(
        self, text: str, call: TextCall, pair: Pair, busy: asyncio.Semaphore
    ) -> pb.Translation:
        """Translate one text.

        Raises:
            LegonnError: If it cannot be; possibly inside an ExceptionGroup.
        """
        longest = self._services.limits.max_text_characters
        if len(text) > longest:
            raise LimitExceeded(f"a text of {len(text)} characters; at most {longest}")
        if "\x00" in text:
            raise BadText("a text holds the character U+0000")
        self._services.workers.metrics.text_characters.inc(len(text))
        async with asyncio.TaskGroup() as group:
            found = [
                group.create_task(self._sentence(sentence, call, pair, busy))
                for sentence in split_sentences(text)
            ]
        sentences = [task.result() for task in found]
        count = max(1, min((len(one) for one in sentences), default=1))
        return pb.Translation(
            alternatives=[
                convert.hypothesis(
                    _joined([one[rank] for one in sentences]),
                    wants_offsets=False,
                    wants_confidence=call.wants_confidence,
                )
                for rank in range(count)
            ],
            encoder=str(pair.encoder.ref),
            decoder=str(pair.decoder.ref),
        )

    async def _sentence(
        self, sentence: str, call: TextCall, pair: Pair, busy: asyncio.Semaphore
    ) -> tuple[DecodedText, ...]:
        """Encode and decode one sentence; once more if the engine is lost."""
        workers = self._services.workers
        async with busy:
            for attempt in range(_ATTEMPTS):
                try:
                    encoded = await workers.encoders.encode_text(
                        EncodeText(pair.encoder.ref, sentence)
                    )
                    job = DecodeJob(
                        module=pair.decoder.ref,
                        marginals=(encoded.marginals,),
                        kind=DecodeKind.TEXT,
                        beam=max(self._services.decoding.final_beam, call.num_best),
                        num_best=call.num_best,
                        ctc_weight=pair.encoder.ctc_weight,
                        length_bonus=pair.encoder.length_bonus,
                    )
                    decoded = await workers.decoders.submit(job)
                except BackendDown:
                    if attempt + 1 == _ATTEMPTS:
                        raise
                else:
                    if decoded.hypotheses:
                        return decoded.hypotheses
                    raise InternalFault("the decoder answered without a hypothesis")
        raise InternalFault("a sentence was not tried at all")


def item_status(error: LegonnError) -> pb.ItemStatus:
    """An error of one text in a batch."""
    return pb.ItemStatus(
        code=status_number(error),
        reason=f"ERROR_REASON_{error.reason}",
        message=error.message,
    )


def _joined(sentences: list[DecodedText]) -> DecodedText:
    """Translations of sentences in order as one text; as sure as the least sure of them."""
    return DecodedText(
        tokens=(),
        text=" ".join(one.text for one in sentences if one.text),
        score=sum(one.score for one in sentences),
        confidence=min((one.confidence for one in sentences), default=1.0),
        words=tuple(word for one in sentences for word in one.words),
    )


class _TextStream:
    """One ``StreamingTranslate``: text gathers until a segment ends, then it is translated."""

    def __init__(self, service: TranslationService, services: Services, context: Context) -> None:
        self._service = service
        self._services = services
        self._context = context
        self._call: TextCall | None = None
        self._text = ""
        self._num_received = 0
        self._num_segments = 0
        self._sequence = 0

    async def receive(self, request: pb.StreamingTranslateRequest) -> None:
        """Take one message of the caller."""
        match request.WhichOneof("request"):
            case "config":
                await self._configure(request.config)
            case "input":
                await self._add(request.input)
            case _:
                raise ProtocolViolation("a message with neither config nor input")

    async def end(self) -> None:
        """The caller half-closed: translate the rest and send the account."""
        if self._call is None:
            raise ProtocolViolation("the stream ended before a config was sent")
        await self._finish(self._text, hypothesis_pb2.FINAL_REASON_HALF_CLOSE)
        summary = pb.TranslationSummary(
            characters_received=self._num_received, num_segments=self._num_segments
        )
        await self._write(pb.StreamingTranslateResponse(summary=summary))

    async def _configure(self, config: pb.TranslationConfig) -> None:
        if self._call is not None:
            raise ProtocolViolation(
                "the config was sent twice; it comes once, as the first message"
            )
        call = text_call(config)
        self._services.modules.find(call.key)
        self._call = call
        started = pb.TranslationStarted(
            session_id=f"s-{uuid.uuid4().hex}",
            request_id=current_request_id.get(),
            config=call.resolved,
        )
        await self._write(pb.StreamingTranslateResponse(started=started))

    async def _add(self, piece: pb.TextInput) -> None:
        if self._call is None:
            raise ProtocolViolation("text before the config: send the config first")
        self._num_received += len(piece.text)
        self._text += piece.text
        while end := sentence_end(self._text):
            await self._finish(self._text[:end], hypothesis_pb2.FINAL_REASON_ENDPOINT)
        if len(self._text) > self._services.limits.max_text_characters:
            raise LimitExceeded("a segment without an end is too long")
        if piece.end_of_segment:
            await self._finish(self._text, hypothesis_pb2.FINAL_REASON_FLUSH)

    async def _finish(self, segment: str, reason: hypothesis_pb2.FinalReason) -> None:
        """Translate the oldest part of the text, and forget it."""
        end = self._num_received - len(self._text) + len(segment)
        self._text = self._text[len(segment) :]
        if not segment.strip() and reason != hypothesis_pb2.FINAL_REASON_FLUSH:
            return
        if self._call is None:
            raise InternalFault("a segment ended before the config")
        pair = self._services.modules.find(self._call.key)
        busy = asyncio.Semaphore(self._services.limits.max_text_concurrency)
        final = pb.TranslationFinal(
            segment_index=self._num_segments,
            start_character=end - len(segment),
            end_character=end,
            item=await self._service.item(segment, self._call, pair, busy),
            reason=reason,
        )
        self._num_segments += 1
        await self._write(pb.StreamingTranslateResponse(final=final))

    async def _write(self, message: pb.StreamingTranslateResponse) -> None:
        message.sequence = self._sequence
        message.characters_processed = self._num_received - len(self._text)
        self._sequence += 1
        await self._context.write(message)
