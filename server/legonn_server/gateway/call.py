"""One recording or stream on its way in: its config, its samples, and what its finals look like."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import numpy as np
from google.protobuf.duration_pb2 import Duration

from legonn.v1 import audio_pb2
from legonn.v1 import speech_service_pb2 as pb
from legonn_core.errors import (
    BadAudio,
    BadConfig,
    InternalFault,
    LimitExceeded,
    ProtocolViolation,
)
from legonn_server.gateway import convert
from legonn_server.gateway.audio import (
    AudioInput,
    Encoding,
    Samples,
    decode_samples,
)
from legonn_server.gateway.decoding.decoder import AudioDecoder
from legonn_server.gateway.decoding.formats import Container
from legonn_server.gateway.services import Services
from legonn_server.gateway.stream import StreamRunner
from legonn_server.gateway.tolls import SMALL_MESSAGE_BYTES, SMALL_MESSAGE_MS
from legonn_server.session import commands as c
from legonn_server.session import events as e
from legonn_server.session.machine import SessionMachine

_NO_SAMPLES = np.zeros(0, np.float32)


class Call:
    """One recording or stream: its config, its input, and what its finals look like."""

    def __init__(self, services: Services) -> None:
        self.services = services
        self._config: convert.SpeechCall | None = None
        self._input: AudioInput | None = None
        self._model_rate = 0
        self._origin = 0
        self.input_rate = 0
        self.session_id = ""
        self._decoder: AudioDecoder | None = None
        self.toll = services.toll()
        self._owed_s = 0.0
        self.machine = SessionMachine(services.decoding)
        self.runner = StreamRunner(
            self.machine,
            services.workers,
            find_pair=lambda: services.modules.find(self.config.key, session_id=self.session_id),
            max_pending_s=services.limits.max_pending_seconds,
            max_unsent=services.limits.max_unsent_answers,
            present=lambda one: self.config.style.apply(one),
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
        checked = convert.speech_call(config, self.services.endpoint_rule)
        if is_whole and checked.resume:
            raise BadConfig(
                "resume belongs to StreamingRecognize; a whole recording has no session"
            )
        pair = self.services.modules.find(checked.key)
        self._config = checked
        self._model_rate = pair.encoder.sample_rate_hertz
        self.set_input_rate(checked.sample_rate)
        if not is_whole:
            self._hold_session(checked.resume)

    def _hold_session(self, resume: convert.ResumeFrom | None) -> None:
        sessions = self.services.sessions
        self._origin = resume.sample if resume else 0
        self.session_id = resume.session_id if resume else sessions.new_id()
        sessions.take(self.session_id, self.runner)

    def set_input_rate(self, rate: int) -> None:
        """The rate of the samples that will be fed."""
        if rate:
            self.input_rate = rate
            self._input = AudioInput(rate, self._model_rate)

    def opened(self) -> e.Opened:
        """The event that begins the session."""
        config = self.config
        resume = config.resume
        return e.Opened(
            sample_rate=self._model_rate,
            rule=config.rule,
            interim_results=config.interim_results,
            num_best=config.num_best,
            phrases=config.phrases,
            first_index=resume.segment_index if resume else 0,
            committed_text=resume.committed_text if resume else "",
        )

    # --- input

    async def read_whole(self, audio: bytes) -> Samples:
        """The samples of a whole recording."""
        if not audio:
            raise BadAudio("the audio is empty")
        encoding = self.config.encoding
        longest = self.services.limits.max_recognize_seconds
        if isinstance(encoding, Container):
            samples, rate = await self.services.decoders.whole(
                audio, max_seconds=longest, container=encoding
            )
            self.set_input_rate(rate)
        else:
            samples = decode_samples(encoding, audio, channels=self.config.channels)
        if not len(samples):
            raise BadAudio("the audio is empty")
        if len(samples) > longest * self.input_rate:
            raise LimitExceeded(f"more than {longest:g} s of audio in one call")
        return samples

    async def events(
        self, requests: AsyncIterator[pb.StreamingRecognizeRequest]
    ) -> AsyncIterator[e.Event]:
        """The caller's messages as events."""
        async with AsyncExitStack() as stack:
            async for request in requests:
                match request.WhichOneof("request"):
                    case "config":
                        if self._config is None:
                            self.configure(request.config, is_whole=False)
                            await self._open_decoder(stack)
                        yield self.opened()
                    case "audio" if self._decoder is not None:
                        async for samples in self._decoded(self._decoder, request.audio):
                            yield samples
                        await self._pay(len(request.audio.content) / SMALL_MESSAGE_BYTES)
                    case "audio":
                        received = self.num_received
                        yield self._audio(request.audio)
                        brought_ms = (self.num_received - received) * 1_000 / (self.input_rate or 1)
                        await self._pay(brought_ms / SMALL_MESSAGE_MS)
                    case "control":
                        for event in self._control(request.control.action):
                            yield event
                        await self._pay(0.0)
                    case _:
                        raise ProtocolViolation("a message with neither config, audio nor control")
            if self._decoder is not None:
                async for samples in self._taken(self._decoder, self._decoder.finish()):
                    yield samples
            for event in self.flush():
                yield event

    async def _pay(self, share: float) -> None:
        """Read on when what the last message cost is paid; ``share`` is what it brought."""
        owed_s, self._owed_s = self._owed_s, 0.0
        await self.toll.pay(owed_s, "audio", share=share)

    async def _open_decoder(self, stack: AsyncExitStack) -> None:
        encoding = self.config.encoding
        if isinstance(encoding, Container):
            opened = await self.services.decoders.open(encoding)
            self._decoder = await stack.enter_async_context(opened)

    async def _decoded(
        self, decoder: AudioDecoder, chunk: audio_pb2.AudioChunk
    ) -> AsyncIterator[e.Event]:
        """What a piece of a file completes."""
        self._check_size(chunk)
        if chunk.HasField("sample_offset"):
            raise BadAudio("sample_offset has no meaning for an encoding with a header")
        async for event in self._taken(decoder, decoder.feed(chunk.content)):
            yield event

    async def _taken(
        self, decoder: AudioDecoder, pieces: AsyncIterator[Samples]
    ) -> AsyncIterator[e.Event]:
        async for samples in pieces:
            if self._input is None:
                self.set_input_rate(decoder.sample_rate_hertz)
            for event in self.feed(samples):
                yield event

    def _check_size(self, chunk: audio_pb2.AudioChunk) -> None:
        limits = self.services.limits
        if len(chunk.content) > limits.max_message_bytes:
            raise LimitExceeded(
                f"{len(chunk.content)} bytes of audio in one message;"
                f" at most {limits.max_message_bytes}"
            )

    def _audio(self, chunk: audio_pb2.AudioChunk) -> e.Event:
        if self._input is None:
            return e.AudioReceived(_NO_SAMPLES)
        self._check_size(chunk)
        limits = self.services.limits
        expected = self._origin + self.num_received
        if chunk.HasField("sample_offset") and chunk.sample_offset != expected:
            raise BadAudio(f"sample_offset is {chunk.sample_offset}; {expected} samples came")
        encoding = self.config.encoding
        if not isinstance(encoding, Encoding):
            raise InternalFault("a stream of a container was opened without its decoder")
        samples = decode_samples(encoding, chunk.content, channels=self.config.channels)
        if len(samples) > limits.max_chunk_seconds * self.input_rate:
            raise LimitExceeded(f"more than {limits.max_chunk_seconds:g} s of audio in one message")
        return self.feed(samples)[0]

    def _control(self, action: pb.ControlAction) -> list[e.Event]:
        match action:
            case pb.CONTROL_ACTION_FLUSH:
                return [*self.flush(), e.Flushed()]
            case pb.CONTROL_ACTION_KEEP_ALIVE:
                return []
            case pb.CONTROL_ACTION_CANCEL_SEGMENT:
                return [*self.flush(), e.SegmentCancelled()]
            case _:
                raise BadConfig(f"control action {action} is not known")

    def feed(self, samples: Samples) -> list[e.Event]:
        """Input samples as an event at the model's rate."""
        if self._input is None:
            raise InternalFault("audio was fed before its rate was known")
        seconds = len(samples) / self.input_rate
        self.services.workers.metrics.audio_received.inc(seconds)
        self._owed_s = self.toll.note_audio(seconds)
        return [e.AudioReceived(self._input.feed(samples))]

    def flush(self) -> list[e.Event]:
        """What the resampler still holds, so that a flush covers every sample received."""
        return [e.AudioReceived(self._input.flush())] if self._input else []

    # --- output

    def input_sample(self, model_sample: int) -> int:
        """The caller's sample at a position of the model's stream."""
        return self._origin + (self._input.input_sample(model_sample) if self._input else 0)

    def final(self, final: c.EmitFinal) -> pb.RecognitionFinal:
        """A final as a message."""
        return convert.recognition_final(
            final,
            self.config,
            timeline=self._timeline,
            start=self.input_sample(final.start_sample),
            end=self.input_sample(final.end_sample),
        )

    def offset(self, model_sample: int) -> Duration:
        """A position of the model's stream as time."""
        return self._timeline.offset(model_sample)

    @property
    def _timeline(self) -> convert.Timeline:
        return convert.Timeline(self.input_rate, self._model_rate, self._origin)
