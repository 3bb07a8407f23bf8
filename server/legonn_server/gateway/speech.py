"""SpeechService: whole recordings and live streams, both through the same session machine."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator
from time import perf_counter

import numpy as np
from google.protobuf.duration_pb2 import Duration

from legonn.v1 import audio_pb2, hypothesis_pb2
from legonn.v1 import speech_service_pb2 as pb
from legonn.v1 import speech_service_pb2_grpc as pb_grpc
from legonn_core.errors import (
    BadAudio,
    BadConfig,
    DeadlineMissed,
    InternalFault,
    LimitExceeded,
    NotImplementedYet,
    ProtocolViolation,
)
from legonn_server.gateway import convert
from legonn_server.gateway.audio import (
    AudioInput,
    Container,
    Encoding,
    Samples,
    decode_samples,
    read_container,
)
from legonn_server.gateway.interceptors.telemetry import current_request_id
from legonn_server.gateway.interceptors.wrapping import Context
from legonn_server.gateway.services import Services
from legonn_server.gateway.stream import StreamRunner
from legonn_server.session import commands as c
from legonn_server.session import events as e
from legonn_server.session.machine import SessionMachine

_NO_SAMPLES = np.zeros(0, np.float32)


class SpeechService(pb_grpc.SpeechServiceServicer):
    """Handlers; one ``_Call`` holds what belongs to one of them."""

    def __init__(self, services: Services) -> None:
        self._services = services

    async def Recognize(
        self, request: pb.RecognizeRequest, context: Context
    ) -> pb.RecognizeResponse:
        """One whole recording."""
        del context
        limits = self._services.limits
        with self._services.speech_admission.enter():
            try:
                async with asyncio.timeout(limits.unary_seconds):
                    return await self._recognize(request)
            except TimeoutError:
                raise DeadlineMissed(f"not done within {limits.unary_seconds:g} s") from None

    async def _recognize(self, request: pb.RecognizeRequest) -> pb.RecognizeResponse:
        if not request.HasField("config"):
            raise BadConfig("config is missing")
        call = _Call(self._services)
        call.configure(request.config, is_whole=True)
        samples = await call.read_whole(request.audio)
        segments: list[pb.RecognitionFinal] = []

        async def events() -> AsyncIterator[e.Event]:
            yield call.opened()
            for event in call.feed(samples):
                yield event
            for event in call.flush():
                yield event

        async def emit(command: c.Command) -> None:
            if isinstance(command, c.EmitFinal):
                segments.append(call.final(command))

        await call.runner.run(events(), emit)
        return pb.RecognizeResponse(
            request_id=current_request_id.get(),
            segments=segments,
            audio_duration=convert.duration(call.num_received, call.input_rate),
        )

    # grpc.aio also takes a coroutine that writes; the stubs know generators only.
    async def StreamingRecognize(  # type: ignore[override]
        self, request_iterator: AsyncIterator[pb.StreamingRecognizeRequest], context: Context
    ) -> None:
        """A live stream: answers are written as they come."""
        metrics = self._services.workers.metrics
        with self._services.speech_admission.enter(), metrics.sessions_active.track_inprogress():
            call = _Call(self._services)
            self._services.runners.add(call.runner)
            try:
                await call.runner.run(call.events(request_iterator), _Writer(call, context).emit)
            finally:
                self._services.runners.discard(call.runner)


class _Call:
    """One recording or stream: its config, its input, and what its finals look like."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._config: convert.SpeechCall | None = None
        self._input: AudioInput | None = None
        self._model_rate = 0
        self.input_rate = 0
        self.machine = SessionMachine(services.decoding)
        self.runner = StreamRunner(
            self.machine,
            services.workers,
            find_pair=lambda: services.modules.find(self.config.key),
            max_pending_s=services.limits.max_pending_seconds,
        )

    @property
    def config(self) -> convert.SpeechCall:
        """The checked config; there is one once the stream is open."""
        if self._config is None:
            raise InternalFault("a stream without a config was opened")
        return self._config

    @property
    def num_received(self) -> int:
        """Input samples so far."""
        return self._input.num_received if self._input else 0

    def configure(self, config: pb.RecognitionConfig, *, is_whole: bool) -> None:
        """Check the config and the route."""
        checked = convert.speech_call(config, self._services.endpoint_rule)
        if isinstance(checked.encoding, Container) and not is_whole:
            raise NotImplementedYet(
                f"{checked.encoding.name} cannot be streamed to this version; send LINEAR16,"
                " or use Recognize"
            )
        pair = self._services.modules.find(checked.key)
        self._config = checked
        self._model_rate = pair.encoder.sample_rate_hertz
        self.set_input_rate(checked.sample_rate)

    def set_input_rate(self, rate: int) -> None:
        """The rate of the samples that will be fed."""
        if rate:
            self.input_rate = rate
            self._input = AudioInput(rate, self._model_rate)

    def opened(self) -> e.Opened:
        """The event that begins the session."""
        config = self.config
        return e.Opened(
            sample_rate=self._model_rate,
            rule=config.rule,
            interim_results=config.interim_results and not isinstance(config.encoding, Container),
            num_best=config.num_best,
        )

    # --- input

    async def read_whole(self, audio: bytes) -> Samples:
        """The samples of a whole recording."""
        if not audio:
            raise BadAudio("the audio is empty")
        encoding = self.config.encoding
        longest = self._services.limits.max_recognize_seconds
        if isinstance(encoding, Container):
            # A damaged or tricky file may keep its reader busy: never on the event loop.
            samples, rate = await asyncio.to_thread(
                read_container, encoding, audio, max_seconds=longest
            )
            if not 1_000 <= rate <= 384_000:
                raise BadAudio(f"a sample rate of {rate} Hz")
            self.set_input_rate(rate)
        else:
            samples = decode_samples(encoding, audio)
        if not len(samples):
            raise BadAudio("the audio is empty")
        if len(samples) > longest * self.input_rate:
            raise LimitExceeded(f"more than {longest:g} s of audio in one call")
        return samples

    async def events(
        self, requests: AsyncIterator[pb.StreamingRecognizeRequest]
    ) -> AsyncIterator[e.Event]:
        """The caller's messages as events."""
        async for request in requests:
            match request.WhichOneof("request"):
                case "config":
                    if self._config is None:
                        self.configure(request.config, is_whole=False)
                    yield self.opened()
                case "audio":
                    for event in self._audio(request.audio):
                        yield event
                case "control":
                    for event in self._control(request.control.action):
                        yield event
                case _:
                    raise ProtocolViolation("a message with neither config, audio nor control")
        for event in self.flush():
            yield event

    def _audio(self, chunk: audio_pb2.AudioChunk) -> list[e.Event]:
        if self._input is None:
            return [e.AudioReceived(_NO_SAMPLES)]
        limits = self._services.limits
        if len(chunk.content) > limits.max_message_bytes:
            raise LimitExceeded(
                f"{len(chunk.content)} bytes of audio in one message;"
                f" at most {limits.max_message_bytes}"
            )
        if chunk.HasField("sample_offset") and chunk.sample_offset != self.num_received:
            raise BadAudio(
                f"sample_offset is {chunk.sample_offset}, but {self.num_received} samples came"
            )
        encoding = self.config.encoding
        if not isinstance(encoding, Encoding):
            raise InternalFault("a stream of a container was opened")
        samples = decode_samples(encoding, chunk.content)
        if len(samples) > limits.max_chunk_seconds * self.input_rate:
            raise LimitExceeded(f"more than {limits.max_chunk_seconds:g} s of audio in one message")
        return self.feed(samples)

    def _control(self, action: pb.ControlAction) -> list[e.Event]:
        match action:
            case pb.CONTROL_ACTION_FLUSH:
                return [*self.flush(), e.Flushed()]
            case pb.CONTROL_ACTION_KEEP_ALIVE:
                return []
            case pb.CONTROL_ACTION_CANCEL_SEGMENT:
                raise NotImplementedYet("CONTROL_ACTION_CANCEL_SEGMENT is not served yet")
            case _:
                raise BadConfig(f"control action {action} is not known")

    def feed(self, samples: Samples) -> list[e.Event]:
        """Input samples as an event at the model's rate."""
        if self._input is None:
            raise InternalFault("audio was fed before its rate was known")
        self._services.workers.metrics.audio_received.inc(len(samples) / self.input_rate)
        return [e.AudioReceived(self._input.feed(samples))]

    def flush(self) -> list[e.Event]:
        """What the resampler still holds, so that a flush covers every sample received."""
        return [e.AudioReceived(self._input.flush())] if self._input else []

    # --- output

    def input_sample(self, model_sample: int) -> int:
        """The caller's sample at a position of the model's stream."""
        return self._input.input_sample(model_sample) if self._input else 0

    def final(self, final: c.EmitFinal) -> pb.RecognitionFinal:
        """A final as a message."""
        return convert.recognition_final(
            final,
            self.config,
            model_rate=self._model_rate,
            start=self.input_sample(final.start_sample),
            end=self.input_sample(final.end_sample),
        )

    def offset(self, model_sample: int) -> Duration:
        """A position of the model's stream as time."""
        return convert.duration(model_sample, self._model_rate)


class _Writer:
    """Numbers the answers of one stream and writes them."""

    def __init__(self, call: _Call, context: Context) -> None:
        self._call = call
        self._context = context
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
        await self._context.write(message)

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
                notice = hypothesis_pb2.Notice(
                    kind=hypothesis_pb2.NOTICE_KIND_REPLAYING,
                    message="a part of the server was lost; the open segment is heard again",
                )
                return pb.StreamingRecognizeResponse(notice=notice)
            case c.CloseStream():
                return pb.StreamingRecognizeResponse(summary=self._summary(command))
        return None

    def _started(self) -> pb.RecognitionStarted:
        limits = self._call._services.limits
        return pb.RecognitionStarted(
            session_id=f"s-{uuid.uuid4().hex}",
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
            metrics = self._call._services.workers.metrics
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
