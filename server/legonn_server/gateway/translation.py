"""TranslationService: texts are cut into sentences, each is encoded and decoded alone."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AbstractContextManager

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
    PoisonSegment,
)
from legonn_core.runtime.messages import DecodedText
from legonn_server.gateway import convert
from legonn_server.gateway.entrance import TEXT, entered
from legonn_server.gateway.interceptors.errors import first_cause
from legonn_server.gateway.interceptors.telemetry import current_request_id
from legonn_server.gateway.interceptors.wrapping import Context
from legonn_server.gateway.sentence import SentenceReader, SentenceWishes
from legonn_server.gateway.services import Services
from legonn_server.gateway.text_call import TextCall, item_status, text_call
from legonn_server.gateway.text_stream import TextStream, Write
from legonn_server.pools.module_manager import Pair
from legonn_server.routing.sentences import split_sentences

_ATTEMPTS = 2


class TranslationService(pb_grpc.TranslationServiceServicer):
    """Handlers of whole texts and of text as it is written."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._reader = SentenceReader(services.workers, services.cache)

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
        with self._traced("Translate"), self._enter():
            toll = self._services.toll()
            count = sum(map(len, request.texts))
            toll.require_characters(count)
            toll.note_characters(count)
            pair = self._services.modules.find(call.key, session_id=current_request_id.get())
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

    async def StreamingTranslate(  # type: ignore[override]  # grpc.aio also takes a coroutine that writes
        self, request_iterator: AsyncIterator[pb.StreamingTranslateRequest], context: Context
    ) -> None:
        """Text as it is written: partials while a sentence grows, a final when it ends."""
        await self.live(request_iterator, context.write)

    async def live(
        self, requests: AsyncIterator[pb.StreamingTranslateRequest], write: Write
    ) -> None:
        """The same for any transport.

        Raises:
            LegonnError: Why the stream ended early, possibly inside an ExceptionGroup.
        """
        with self._traced("StreamingTranslate"), self._enter():
            stream = TextStream(self._services, self._reader, write)
            self._services.text_runners.add(stream.runner)
            try:
                await stream.run(requests)
            finally:
                self._services.text_runners.discard(stream.runner)

    def _traced(self, name: str) -> AbstractContextManager[None]:
        return self._services.tracing.call(name, current_request_id.get())

    def _enter(self) -> AbstractContextManager[None]:
        services = self._services
        return entered(
            services.text_admission, services.workers.metrics, TEXT, tenants=services.tenants
        )

    async def item(
        self, text: str, call: TextCall, pair: Pair, busy: asyncio.Semaphore
    ) -> pb.TranslationItem:
        """One text's translation, or why there is none."""
        try:
            return pb.TranslationItem(translation=await self.translate(text, call, pair, busy))
        except (LegonnError, ExceptionGroup) as raised:
            error = first_cause(raised)
            is_ours = isinstance(error, PoisonSegment) or not isinstance(error, InternalFault)
            if not isinstance(error, LegonnError) or not is_ours:
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
                    pair.encoder,
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
        """Encode and decode one sentence; once more if the engine is lost.

        Raises:
            PoisonSegment: If a second engine ended, and worked on nothing else that is suspect.
        """
        wishes = SentenceWishes(
            beam=self._services.decoding.final_beam,
            num_best=call.num_best,
            phrases=call.phrases,
            glossary=call.glossary,
            style=call.style,
        )
        is_suspect = False
        async with busy:
            for attempt in range(_ATTEMPTS):
                if self._services.workers.pins.are_retired(pair.encoder.ref, pair.decoder.ref):
                    pair = self._services.modules.find(call.key)
                try:
                    found = await self._reader.read(sentence, pair, wishes, is_suspect=is_suspect)
                except BackendDown as error:
                    if error.was_running and is_suspect:
                        raise PoisonSegment("the same text ended two engines") from error
                    is_suspect = is_suspect or error.was_running
                    if attempt + 1 == _ATTEMPTS:
                        raise
                else:
                    return found.hypotheses
        raise InternalFault("a sentence was not tried at all")


def _joined(sentences: list[DecodedText]) -> DecodedText:
    """Translations of sentences in order as one text; as sure as the least sure of them."""
    return DecodedText(
        tokens=(),
        text=" ".join(one.text for one in sentences if one.text),
        score=sum(one.score for one in sentences),
        confidence=min((one.confidence for one in sentences), default=1.0),
        words=tuple(word for one in sentences for word in one.words),
    )
