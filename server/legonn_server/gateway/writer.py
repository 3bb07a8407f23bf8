"""What a session emits, as numbered responses of the wire contract."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from time import perf_counter

from legonn.v1 import hypothesis_pb2
from legonn.v1 import speech_service_pb2 as pb
from legonn_server.gateway import convert
from legonn_server.gateway.call import Call
from legonn_server.gateway.interceptors.telemetry import current_request_id
from legonn_server.session import commands as c

Write = Callable[[pb.StreamingRecognizeResponse], Awaitable[None]]
"""Hands one response to the transport; waits while the caller does not read."""


class Writer:
    """Numbers the answers of one stream and hands them to the transport."""

    def __init__(self, call: Call, write: Write) -> None:
        self._call = call
        self._write = write
        self._sequence = 0
        self._processed = 0
        self._samples_in_finals = 0
        self._opened_at = perf_counter()
        self._has_partial = False

    async def emit(self, command: c.Command) -> None:
        """Write what the machine emits; each becomes one message."""
        message = self._message(command)
        if message is None:
            return
        message.sequence = self._sequence
        self._sequence += 1
        self._processed = max(self._processed, self._call.machine.processed_sample)
        if self._call.input_rate:
            message.audio_processed.CopyFrom(self._call.offset(self._processed))
        await self._write(message)

    def _message(self, command: c.Command) -> pb.StreamingRecognizeResponse | None:
        match command:
            case c.EmitStarted():
                return pb.StreamingRecognizeResponse(started=self._started())
            case c.EmitPartial():
                return pb.StreamingRecognizeResponse(partial=self._partial(command))
            case c.EmitFinal():
                final = self._call.final(command)
                self._samples_in_finals += final.end_sample - final.start_sample
                return pb.StreamingRecognizeResponse(final=final)
            case c.EmitReplaying():
                return pb.StreamingRecognizeResponse(notice=convert.replaying())
            case c.EmitCancelled():
                notice = hypothesis_pb2.Notice(
                    kind=hypothesis_pb2.NOTICE_KIND_CANCELLED,
                    message="the open segment was dropped, as you asked",
                )
                return pb.StreamingRecognizeResponse(notice=notice)
            case c.EmitDraining(grace_s):
                return pb.StreamingRecognizeResponse(notice=convert.draining(grace_s))
            case c.CloseStream():
                return pb.StreamingRecognizeResponse(summary=self._summary(command))
        return None

    def _started(self) -> pb.RecognitionStarted:
        limits = self._call.services.limits
        return pb.RecognitionStarted(
            session_id=self._call.session_id,
            request_id=current_request_id.get(),
            config=self._call.config.resolved,
            limits=pb.StreamLimits(
                max_message_bytes=limits.max_message_bytes,
                max_chunk_duration=convert.duration(int(limits.max_chunk_seconds * 1000), 1000),
                max_pending_duration=convert.duration(int(limits.max_pending_seconds * 1000), 1000),
                max_segment_duration=convert.duration(25, 1),
            ),
        )

    def _partial(self, partial: c.EmitPartial) -> pb.RecognitionPartial:
        if not self._has_partial:
            self._has_partial = True
            metrics = self._call.services.workers.metrics
            metrics.first_partial.observe(perf_counter() - self._opened_at)
        return pb.RecognitionPartial(
            segment_index=partial.segment_index,
            revision=partial.revision,
            stable_text=partial.stable_text,
            tail_text=partial.tail_text,
            end_offset=self._call.offset(partial.end_sample),
            language_code=self._call.config.resolved.target_language_code,
        )

    def _summary(self, closing: c.CloseStream) -> pb.RecognitionSummary:
        received = self._call.num_received
        return pb.RecognitionSummary(
            samples_received=received,
            samples_in_finals=self._samples_in_finals,
            samples_non_speech=received - self._samples_in_finals,
            num_segments=closing.num_segments,
            num_replays=closing.replays,
        )
