"""One ``StreamingTranslate``: messages become events, and what the machine emits messages."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable

from legonn.v1 import translation_service_pb2 as pb
from legonn_core.errors import BadText, InternalFault, LimitExceeded, ProtocolViolation
from legonn_core.runtime.messages import DecodedText
from legonn_server.gateway import convert
from legonn_server.gateway.interceptors.telemetry import current_request_id
from legonn_server.gateway.sentence import SentenceReader, SentenceWishes
from legonn_server.gateway.services import Services
from legonn_server.gateway.text_call import TextCall, item_status, text_call
from legonn_server.gateway.text_runner import TextRunner
from legonn_server.gateway.tolls import SMALL_MESSAGE_CHARACTERS
from legonn_server.pools.module_manager import Pair
from legonn_server.routing.sentences import sentence_end
from legonn_server.session import events as e
from legonn_server.session import text_messages as t
from legonn_server.session.commands import EmitReplaying, EmitStarted
from legonn_server.session.text_machine import TextMachine

Write = Callable[[pb.StreamingTranslateResponse], Awaitable[None]]
"""Hands one response to the transport; waits while the caller does not read."""

_NOTHING = DecodedText((), "", 0.0, 1.0, ())


class TextStream:
    """See the module's docstring."""

    def __init__(self, services: Services, reader: SentenceReader, write: Write) -> None:
        self._services = services
        self._reader = reader
        self._write = write
        self._toll = services.toll()
        self._call: TextCall | None = None
        self._names: dict[int, dict[str, str]] = {}
        self._session_id = f"s-{uuid.uuid4().hex}"
        self._sequence = 0
        self._processed = 0
        self._machine = TextMachine(services.text, sentence_end=sentence_end)
        self.runner = TextRunner(
            self._machine,
            read=self._read,
            find_pair=lambda: services.modules.find(self.call.key, session_id=self._session_id),
            is_retired=services.workers.pins.are_retired,
            max_pending=services.limits.max_text_characters,
            max_unsent=services.limits.max_unsent_answers,
            on_broken=lambda one: services.workers.metrics.invariant_violations.labels(
                one.value
            ).inc(),
        )

    @property
    def call(self) -> TextCall:
        """The checked config; there is one once the stream is open."""
        if self._call is None:
            raise InternalFault("a stream without a config was opened")
        return self._call

    async def run(self, requests: AsyncIterator[pb.StreamingTranslateRequest]) -> None:
        """Live until the stream ends."""
        self._toll.require_characters()
        await self.runner.run(self._events(requests), self._emit)

    # --- input

    async def _events(
        self, requests: AsyncIterator[pb.StreamingTranslateRequest]
    ) -> AsyncIterator[t.TextEvent]:
        async for request in requests:
            match request.WhichOneof("request"):
                case "config":
                    yield self._configure(request.config)
                case "input":
                    for event in self._input(request.input):
                        yield event
                    count = len(request.input.text)
                    owed_s = self._toll.note_characters(count)
                    share = count / SMALL_MESSAGE_CHARACTERS
                    await self._toll.pay(owed_s, "characters", share=share)
                case _:
                    raise ProtocolViolation("a message with neither config nor input")

    def _configure(self, config: pb.TranslationConfig) -> t.TextOpened:
        call = text_call(config)
        if self._call is None:
            self._services.modules.find(call.key)
            self._call = call
        return t.TextOpened(rule=call.rule, append_only=call.append_only)

    def _input(self, piece: pb.TextInput) -> list[t.TextEvent]:
        limits = self._services.limits
        if len(piece.text.encode()) > limits.max_message_bytes:
            raise LimitExceeded(
                f"more than {limits.max_message_bytes} bytes of text in one message"
            )
        if "\x00" in piece.text:
            raise BadText("the text holds the character U+0000")
        self._services.workers.metrics.text_characters.inc(len(piece.text))
        now = asyncio.get_running_loop().time()
        events: list[t.TextEvent] = [t.TextReceived(piece.text, now)]
        return [*events, e.Flushed()] if piece.end_of_segment else events

    # --- work

    async def _read(self, command: t.ReadText, pair: Pair) -> t.TextReading:
        if not command.text.strip():
            return t.TextReading((_NOTHING,), 0, pair.encoder, pair.decoder)
        if command.is_final:
            beam, num_best = self._services.decoding.final_beam, self.call.num_best
        else:
            beam, num_best = self._services.text.partial_beam, 1
        call = self.call
        text = command.text
        if not command.is_final:
            text = text[: call.glossary.readable(text)]
        wishes = SentenceWishes(
            beam=beam,
            num_best=num_best,
            forced=command.forced,
            phrases=call.phrases,
            glossary=call.glossary,
            style=call.style,
            is_whole=command.is_final,
            names=self._names.setdefault(command.ticket.segment, {}),
        )
        found = await self._reader.read(text, pair, wishes, is_suspect=command.is_suspect)
        if command.is_final:
            del self._names[command.ticket.segment]
        return t.TextReading(found.hypotheses, found.num_rows, pair.encoder, pair.decoder)

    # --- output

    async def _emit(self, command: t.TextCommand) -> None:
        message = self._message(command)
        if message is None:
            return
        message.sequence = self._sequence
        self._sequence += 1
        self._processed = max(self._processed, self._machine.num_processed)
        message.characters_processed = self._processed
        await self._write(message)

    def _message(self, command: t.TextCommand) -> pb.StreamingTranslateResponse | None:
        match command:
            case EmitStarted():
                started = pb.TranslationStarted(
                    session_id=self._session_id,
                    request_id=current_request_id.get(),
                    config=self.call.resolved,
                )
                return pb.StreamingTranslateResponse(started=started)
            case t.EmitTextPartial():
                partial = pb.TranslationPartial(
                    segment_index=command.segment_index,
                    revision=command.revision,
                    stable_text=command.stable_text,
                    tail_text=command.tail_text,
                    end_character=command.end_character,
                )
                self._processed = max(self._processed, command.end_character)
                return pb.StreamingTranslateResponse(partial=partial)
            case t.EmitTextFinal():
                return pb.StreamingTranslateResponse(final=self._final(command))
            case EmitReplaying():
                return pb.StreamingTranslateResponse(notice=convert.replaying())
            case t.CloseText():
                summary = pb.TranslationSummary(
                    characters_received=command.characters_received,
                    num_segments=command.num_segments,
                    num_replays=command.num_replays,
                )
                return pb.StreamingTranslateResponse(summary=summary)
        return None

    def _final(self, final: t.EmitTextFinal) -> pb.TranslationFinal:
        reading = final.reading
        if reading is not None:
            translation = pb.Translation(
                alternatives=[
                    convert.hypothesis(
                        one,
                        reading.encoder,
                        wants_offsets=False,
                        wants_confidence=self.call.wants_confidence,
                    )
                    for one in reading.hypotheses[: self.call.num_best]
                ],
                encoder=str(reading.encoder.ref),
                decoder=str(reading.decoder.ref),
            )
            item = pb.TranslationItem(translation=translation)
        elif final.error is not None:
            item = pb.TranslationItem(error=item_status(final.error))
        else:
            raise InternalFault("a segment ended with neither a translation nor an error")
        self._processed = max(self._processed, final.end_character)
        return pb.TranslationFinal(
            segment_index=final.segment_index,
            start_character=final.start_character,
            end_character=final.end_character,
            item=item,
            replays=final.replays,
            reason=convert.final_reason(final.reason),
        )
