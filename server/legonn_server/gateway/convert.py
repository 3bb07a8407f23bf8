"""Between messages of the wire and what the rooms below speak; the last place that knows protobuf.

Configs are checked here, field by field; what is settled in the protos but not served yet is
refused by name.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from google.protobuf.duration_pb2 import Duration

from legonn.v1 import audio_pb2, hypothesis_pb2, module_card_pb2, speech_service_pb2
from legonn_core.errors import BadConfig, NotImplementedYet
from legonn_core.runtime.messages import DecodedText, ModuleDescription, Phrase
from legonn_core.search.confidence import ConfidenceCurve
from legonn_server.gateway import wishes
from legonn_server.gateway.audio import Encoding
from legonn_server.gateway.decoding.formats import Container
from legonn_server.language.glossary import written
from legonn_server.language.masking import WordStyle
from legonn_server.routing.routes import Modality, RouteKey, primary_language, route_key
from legonn_server.session.commands import EmitFinal
from legonn_server.session.endpoint import EndpointRule, EndReason

RecognitionConfig = speech_service_pb2.RecognitionConfig
_A = audio_pb2

_HEADERLESS = {
    _A.AUDIO_ENCODING_LINEAR16: Encoding.LINEAR16,
    _A.AUDIO_ENCODING_FLOAT32: Encoding.FLOAT32,
    _A.AUDIO_ENCODING_MULAW: Encoding.MULAW,
    _A.AUDIO_ENCODING_ALAW: Encoding.ALAW,
}
_CONTAINERS = {
    _A.AUDIO_ENCODING_WAV: Container.WAV,
    _A.AUDIO_ENCODING_FLAC: Container.FLAC,
    _A.AUDIO_ENCODING_OGG_OPUS: Container.OGG,
    _A.AUDIO_ENCODING_WEBM_OPUS: Container.WEBM,
    _A.AUDIO_ENCODING_MP3: Container.MP3,
}
_REASONS = {
    EndReason.ENDPOINT: hypothesis_pb2.FINAL_REASON_ENDPOINT,
    EndReason.FLUSH: hypothesis_pb2.FINAL_REASON_FLUSH,
    EndReason.MAX_SEGMENT: hypothesis_pb2.FINAL_REASON_MAX_SEGMENT,
    EndReason.HALF_CLOSE: hypothesis_pb2.FINAL_REASON_HALF_CLOSE,
}
MAX_ALTERNATIVES = 10
MAX_CHANNELS = 2
_MAX_LABELS = 16
_MAX_COMMITTED = 2_000
_SESSION_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")


@dataclass(frozen=True, slots=True)
class ResumeFrom:
    """A checked ``ResumePoint``; ``sample`` is at the input rate."""

    session_id: str
    sample: int
    segment_index: int
    committed_text: str


@dataclass(frozen=True, slots=True)
class Timeline:
    """Where the samples of one stream lie in its session.

    Attributes:
        input_rate: Of the caller's audio, in Hz.
        model_rate: Of the audio that the encoder hears, in Hz.
        origin: Input samples before this stream, above 0 where a session was resumed.
    """

    input_rate: int
    model_rate: int
    origin: int = 0

    def nanoseconds(self, model_sample: int) -> int:
        """A position of this stream at the model's rate as time from the session's start."""
        before = self.origin * 1_000_000_000 // self.input_rate
        return before + model_sample * 1_000_000_000 // self.model_rate

    def offset(self, model_sample: int) -> Duration:
        """The same as a message."""
        # Not FromNanoseconds, which checks what cannot be here and takes five times as long.
        seconds, nanos = divmod(self.nanoseconds(model_sample), 1_000_000_000)
        return Duration(seconds=seconds, nanos=nanos)


@dataclass(frozen=True, slots=True)
class SpeechCall:
    """A checked ``RecognitionConfig``.

    Attributes:
        encoding: How bytes become samples.
        sample_rate: Of the input in Hz; 0 if the container says it.
        channels: Interleaved in headerless audio.
        key: What to route by.
        phrases: Text that is likely to be said.
        style: How words are shown.
        resume: Where a broken session goes on.
        resolved: The config with its defaults filled in, for ``started``.
    """

    encoding: Encoding | Container
    sample_rate: int
    channels: int
    key: RouteKey
    rule: EndpointRule
    interim_results: bool
    num_best: int
    wants_offsets: bool
    wants_confidence: bool
    phrases: tuple[Phrase, ...]
    style: WordStyle
    resume: ResumeFrom | None
    resolved: RecognitionConfig


def speech_call(config: RecognitionConfig, defaults: EndpointRule) -> SpeechCall:
    """Check a config.

    Raises:
        BadConfig: If a field holds nonsense; the message names it.
        NotImplementedYet: If it asks for what this version does not serve.
    """
    encoding = _encoding(config)
    _refuse_unserved(config)
    if not 0 <= config.channel_count <= MAX_CHANNELS:
        raise BadConfig(f"channel_count is {config.channel_count}; it is 1 or 2")
    rule = _rule(config, defaults)
    num_best = alternatives(config.max_alternatives)
    source = config.language_code or "en"
    target, task = _target(config, source)
    terms = wishes.terms(config.glossary)
    resolved = RecognitionConfig()
    resolved.CopyFrom(config)
    resolved.channel_count = config.channel_count or 1
    resolved.language_code = source
    resolved.target_language_code = target
    resolved.task = task
    resolved.max_alternatives = num_best
    resolved.endpointing.start_speech.FromMilliseconds(0)
    resolved.endpointing.end_silence.FromMilliseconds(rule.end_silence_ms)
    resolved.endpointing.max_segment.FromMilliseconds(rule.max_segment_ms)
    return SpeechCall(
        encoding=encoding,
        sample_rate=config.sample_rate_hertz if isinstance(encoding, Encoding) else 0,
        channels=resolved.channel_count,
        key=route_key(Modality.SPEECH, source, target, model=config.model),
        rule=rule,
        interim_results=config.interim_results,
        num_best=num_best,
        wants_offsets=config.enable_word_offsets,
        wants_confidence=config.enable_word_confidence,
        phrases=(*wishes.phrases(config.phrases), *wishes.expected(terms)),
        style=WordStyle(
            masks_coarse=config.mask_profanity,
            drops_hesitations=not config.verbatim,
            written={} if task == module_card_pb2.TASK_TRANSLATE else written(terms),
        ),
        resume=_resume(config, encoding),
        resolved=resolved,
    )


def _encoding(config: RecognitionConfig) -> Encoding | Container:
    number = config.encoding
    if number in _CONTAINERS:
        return _CONTAINERS[number]
    if number == _A.AUDIO_ENCODING_UNSPECIFIED:
        raise BadConfig("encoding is not set")
    if number not in _HEADERLESS:
        raise NotImplementedYet(f"encoding {number} is not known to this server")
    if not 8_000 <= config.sample_rate_hertz <= 48_000:
        raise BadConfig(
            f"sample_rate_hertz is {config.sample_rate_hertz}; it lies in [8000, 48000] Hz"
        )
    return _HEADERLESS[number]


def _refuse_unserved(config: RecognitionConfig) -> None:
    if config.HasField("caption"):
        raise NotImplementedYet("caption is not served by this version")
    if len(config.labels) > _MAX_LABELS:
        raise BadConfig(f"labels has {len(config.labels)} entries; at most {_MAX_LABELS}")


def _resume(config: RecognitionConfig, encoding: Encoding | Container) -> ResumeFrom | None:
    if not config.HasField("resume"):
        return None
    asked = config.resume
    if isinstance(encoding, Container):
        raise BadConfig("resume needs a headerless encoding, such as LINEAR16")
    if not _SESSION_ID.fullmatch(asked.session_id):
        raise BadConfig("resume.session_id has 1 to 64 letters, digits, - and _")
    if not 0 <= asked.sample_offset < 1 << 53 or asked.next_segment_index < 0:
        raise BadConfig("resume.sample_offset and resume.next_segment_index count from 0")
    text = " ".join(asked.committed_text.split())
    if len(text) > _MAX_COMMITTED:
        raise BadConfig(f"resume.committed_text is longer than {_MAX_COMMITTED} characters")
    return ResumeFrom(asked.session_id, asked.sample_offset, asked.next_segment_index, text)


def alternatives(asked: int) -> int:
    """``max_alternatives`` with its default and range."""
    if not 0 <= asked <= MAX_ALTERNATIVES:
        raise BadConfig(f"max_alternatives is {asked}; it lies in [1, {MAX_ALTERNATIVES}]")
    return asked or 1


def _target(config: RecognitionConfig, source: str) -> tuple[str, module_card_pb2.Task]:
    """The target language and the task, each of which may follow from the other."""
    transcribe, translate = module_card_pb2.TASK_TRANSCRIBE, module_card_pb2.TASK_TRANSLATE
    task = config.task
    if task not in (module_card_pb2.TASK_UNSPECIFIED, transcribe, translate):
        raise BadConfig(f"task {task} is not known")
    target = config.target_language_code or ("en" if task == translate else source)
    is_same = primary_language(target) == primary_language(source)
    if task == transcribe and not is_same:
        raise BadConfig("task is TASK_TRANSCRIBE, but target_language_code is another language")
    if task == translate and is_same:
        raise BadConfig("task is TASK_TRANSLATE, but target_language_code is the same language")
    return target, transcribe if is_same else translate


def _rule(config: RecognitionConfig, defaults: EndpointRule) -> EndpointRule:
    asked = config.endpointing
    if asked.start_speech.ToMilliseconds() != 0:
        raise NotImplementedYet("endpointing.start_speech other than 0 s is not served yet")
    silence = _in_range(asked, "end_silence", defaults.end_silence_ms, 200, 5_000)
    longest = _in_range(asked, "max_segment", defaults.max_segment_ms, 2_000, 25_000)
    return replace(
        defaults,
        end_silence_ms=silence,
        max_segment_ms=longest,
        cut_window_ms=min(defaults.cut_window_ms, longest // 2),
    )


def _in_range(
    asked: speech_service_pb2.Endpointing, field: str, default: int, low: int, high: int
) -> int:
    if not asked.HasField(field):
        return default
    value: Duration = getattr(asked, field)
    milliseconds = value.ToMilliseconds()
    if not low <= milliseconds <= high:
        raise BadConfig(f"endpointing.{field} lies in [{low / 1000:g} s, {high / 1000:g} s]")
    return milliseconds


def final_reason(reason: EndReason) -> hypothesis_pb2.FinalReason:
    """Why a segment ended, as the wire says it."""
    return _REASONS[reason]


def replaying() -> hypothesis_pb2.Notice:
    """The remark that a segment is computed again."""
    return hypothesis_pb2.Notice(
        kind=hypothesis_pb2.NOTICE_KIND_REPLAYING,
        message="a part of the server was lost; the open segment is computed again",
    )


def draining(grace_s: float) -> hypothesis_pb2.Notice:
    """The remark that the server is about to stop."""
    return hypothesis_pb2.Notice(
        kind=hypothesis_pb2.NOTICE_KIND_DRAINING,
        message="the server is about to stop; go on elsewhere when the segment has ended",
        grace_duration=duration(round(grace_s * 1000), 1000),
    )


def duration(samples: int, rate: int) -> Duration:
    """A number of samples as time."""
    found = Duration()
    found.FromNanoseconds(samples * 1_000_000_000 // rate)
    return found


def recognition_final(
    final: EmitFinal, call: SpeechCall, *, timeline: Timeline, start: int, end: int
) -> speech_service_pb2.RecognitionFinal:
    """A final as a message; ``start`` and ``end`` are its input samples."""
    return speech_service_pb2.RecognitionFinal(
        segment_index=final.segment_index,
        start_offset=timeline.offset(final.start_sample),
        end_offset=timeline.offset(final.end_sample),
        start_sample=start,
        end_sample=end,
        alternatives=[
            hypothesis(
                one,
                final.encoder,
                wants_offsets=call.wants_offsets,
                wants_confidence=call.wants_confidence,
                start_ns=timeline.nanoseconds(final.start_sample),
            )
            for one in final.hypotheses[: call.num_best]
        ],
        language_code=call.resolved.target_language_code,
        encoder=str(final.encoder.ref),
        decoder=str(final.decoder.ref),
        replays=final.replays,
        reason=final_reason(final.reason),
    )


def hypothesis(
    found: DecodedText,
    encoder: ModuleDescription,
    *,
    wants_offsets: bool,
    wants_confidence: bool,
    start_ns: int = 0,
) -> hypothesis_pb2.Hypothesis:
    """One reading as a message.

    Args:
        found: What was read.
        encoder: Its card says how confidences are calibrated; that of the whole is the share of
            words to be expected right.
        wants_offsets: Whether words carry times.
        wants_confidence: Whether words carry confidences.
        start_ns: Where the segment begins in the session.
    """
    curve = ConfidenceCurve(encoder.confidence_scale, encoder.confidence_offset)
    sure = [curve.apply(word.confidence) for word in found.words]
    whole = sum(sure) / len(sure) if sure else found.confidence
    message = hypothesis_pb2.Hypothesis(text=found.text, confidence=whole)
    if not (wants_offsets or wants_confidence):
        return message
    for word, confidence in zip(found.words, sure, strict=True):
        one = message.words.add(text=word.text)
        if wants_offsets:
            one.start_offset.FromNanoseconds(start_ns + word.start_ms * 1_000_000)
            one.end_offset.FromNanoseconds(start_ns + word.end_ms * 1_000_000)
        if wants_confidence:
            one.confidence = confidence
    return message
