"""Between this package's plain values and the messages of ``legonn.v1``; only here do both meet."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Protocol

from google.protobuf.duration_pb2 import Duration

from legonn import errors, streams
from legonn.feed import Control
from legonn.v1 import (
    audio_pb2,
    error_reason_pb2,
    hypothesis_pb2,
    module_card_pb2,
    speech_service_pb2,
    translation_service_pb2,
)

_ACTIONS = {
    Control.FLUSH: speech_service_pb2.CONTROL_ACTION_FLUSH,
    Control.KEEP_ALIVE: speech_service_pb2.CONTROL_ACTION_KEEP_ALIVE,
    Control.CANCEL_SEGMENT: speech_service_pb2.CONTROL_ACTION_CANCEL_SEGMENT,
}


class _EnumNames(Protocol):
    """An enum of the stubs."""

    def Name(self, number: int) -> str:  # noqa: N802 - protobuf's own name
        """The name of a number."""


def seconds(duration: Duration) -> float:
    """A duration as seconds."""
    return duration.seconds + duration.nanos / 1e9


def duration(seconds: float) -> Duration:
    """Seconds as a duration."""
    whole, rest = divmod(round(seconds * 1e9), 10**9)
    return Duration(seconds=whole, nanos=rest)


def enum_word(names: _EnumNames, value: int, prefix: str) -> str:
    """The word for an enum value; a value that this version does not know is shown as a number."""
    try:
        return names.Name(value).removeprefix(prefix)
    except ValueError:
        return str(value)


def recognition_config(
    options: streams.SpeechOptions, sample_rate_hertz: int
) -> speech_service_pb2.RecognitionConfig:
    """The first message of a stream of LINEAR16 mono."""
    config = speech_service_pb2.RecognitionConfig(
        encoding=audio_pb2.AUDIO_ENCODING_LINEAR16,
        sample_rate_hertz=sample_rate_hertz,
        channel_count=1,
        language_code=options.language,
        target_language_code=options.target_language,
        model=options.model,
        interim_results=options.interim_results,
        max_alternatives=options.max_alternatives,
        enable_word_offsets=True,
        enable_word_confidence=True,
        labels=options.labels,
        mask_profanity=options.mask_profanity,
        verbatim=options.verbatim,
        phrases=[_phrase(text, boost) for text, boost in options.phrases.items()],
        glossary=glossary(options.glossary),
    )
    if options.end_silence_s is not None:
        config.endpointing.end_silence.CopyFrom(duration(options.end_silence_s))
    if options.max_segment_s is not None:
        config.endpointing.max_segment.CopyFrom(duration(options.max_segment_s))
    return config


def _phrase(text: str, boost: float) -> speech_service_pb2.Phrase:
    return speech_service_pb2.Phrase(text=text, boost=boost)


def glossary(terms: Mapping[str, str | None]) -> list[speech_service_pb2.GlossaryEntry]:
    """Terms with their one rendering; None keeps the term as it is."""
    entry = speech_service_pb2.GlossaryEntry
    return [
        entry(source=source, keep=True) if target is None else entry(source=source, target=target)
        for source, target in terms.items()
    ]


def audio_request(content: bytes, sample: int) -> speech_service_pb2.StreamingRecognizeRequest:
    """One chunk of audio as a message; the server checks that it begins at ``sample``."""
    chunk = audio_pb2.AudioChunk(content=content, sample_offset=sample)
    return speech_service_pb2.StreamingRecognizeRequest(audio=chunk)


def control_request(control: Control) -> speech_service_pb2.StreamingRecognizeRequest:
    """A wish as a message."""
    return speech_service_pb2.StreamingRecognizeRequest(
        control=speech_service_pb2.StreamControl(action=_ACTIONS[control])
    )


def event(response: speech_service_pb2.StreamingRecognizeResponse) -> streams.Event | None:
    """One message of the server as an event; None for a kind that this version does not know."""
    found = _event(response)
    return replace(found, sequence=response.sequence) if found else None


def _event(response: speech_service_pb2.StreamingRecognizeResponse) -> streams.Event | None:
    kind = response.WhichOneof("event")
    if kind == "started":
        return streams.Started(response.started.session_id, response.started.request_id)
    if kind == "partial":
        return _partial(response.partial)
    if kind == "final":
        return final(response.final)
    if kind == "speech_event":
        mark = response.speech_event
        kinds = speech_service_pb2.SpeechEventKind
        return streams.SpeechMark(
            enum_word(kinds, mark.kind, "SPEECH_EVENT_KIND_"), seconds(mark.offset)
        )
    if kind == "notice":
        return notice(response.notice)
    if kind == "summary":
        summary = response.summary
        return streams.Summary(
            samples_received=summary.samples_received,
            samples_in_finals=summary.samples_in_finals,
            samples_non_speech=summary.samples_non_speech,
            num_segments=summary.num_segments,
            num_replays=summary.num_replays,
        )
    return None


def _partial(message: speech_service_pb2.RecognitionPartial) -> streams.Partial:
    return streams.Partial(
        segment_index=message.segment_index,
        revision=message.revision,
        stable_text=message.stable_text,
        tail_text=message.tail_text,
        end_s=seconds(message.end_offset),
    )


def final(message: speech_service_pb2.RecognitionFinal) -> streams.Final:
    """One segment's text."""
    return streams.Final(
        segment_index=message.segment_index,
        start_s=seconds(message.start_offset),
        end_s=seconds(message.end_offset),
        start_sample=message.start_sample,
        end_sample=message.end_sample,
        alternatives=tuple(hypothesis(alternative) for alternative in message.alternatives),
        encoder=message.encoder,
        decoder=message.decoder,
        replays=message.replays,
        reason=final_reason(message.reason),
    )


def final_reason(reason: hypothesis_pb2.FinalReason) -> str:
    """Why a segment ended, as a word."""
    return enum_word(hypothesis_pb2.FinalReason, reason, "FINAL_REASON_")


def notice(message: hypothesis_pb2.Notice) -> streams.Notice:
    """A remark."""
    return streams.Notice(
        kind=enum_word(hypothesis_pb2.NoticeKind, message.kind, "NOTICE_KIND_"),
        message=message.message,
        grace_s=seconds(message.grace_duration) if message.HasField("grace_duration") else None,
    )


def hypothesis(message: hypothesis_pb2.Hypothesis) -> streams.Hypothesis:
    """One reading."""
    return streams.Hypothesis(
        message.text, message.confidence, tuple(_word(word) for word in message.words)
    )


def _word(message: hypothesis_pb2.Word) -> streams.Word:
    return streams.Word(
        text=message.text,
        start_s=seconds(message.start_offset) if message.HasField("start_offset") else None,
        end_s=seconds(message.end_offset) if message.HasField("end_offset") else None,
        confidence=message.confidence if message.HasField("confidence") else None,
    )


def translate_request(
    texts: Sequence[str],
    source: str,
    target: str,
    terms: Mapping[str, str | None] | None = None,
) -> translation_service_pb2.TranslateRequest:
    """A batch of texts."""
    config = translation_service_pb2.TranslationConfig(
        source_language_code=source,
        target_language_code=target,
        glossary=glossary(terms or {}),
    )
    return translation_service_pb2.TranslateRequest(config=config, texts=texts)


def translations(
    response: translation_service_pb2.TranslateResponse,
) -> Iterator[str | errors.LegonnError]:
    """The best translation of each text, or why there is none, in the order of the texts."""
    for item in response.items:
        if item.WhichOneof("result") == "translation":
            alternatives = item.translation.alternatives
            yield alternatives[0].text if alternatives else ""
        else:
            yield item_error(item)


def item_error(item: translation_service_pb2.TranslationItem) -> errors.LegonnError:
    """Why one text has no translation."""
    reason = enum_word(error_reason_pb2.ErrorReason, item.error.reason, "ERROR_REASON_")
    return errors.from_reason(reason, item.error.message)


def modules(message: module_card_pb2.Module) -> Iterator[streams.ModuleInfo]:
    """The versions of a module, one by one."""
    for version in message.versions:
        modality = enum_word(module_card_pb2.Modality, message.modality, "MODALITY_")
        yield streams.ModuleInfo(
            name=message.name,
            version=version.version,
            kind=enum_word(module_card_pb2.ModuleKind, message.kind, "MODULE_KIND_"),
            modality="" if modality == "UNSPECIFIED" else modality,
            source_language=message.source_language_code,
            target_language=message.target_language_code,
            state=enum_word(module_card_pb2.ModuleState, version.state, "MODULE_STATE_"),
            vocabulary=version.contract.vocabulary,
            digest=version.digest,
            num_parameters=version.num_parameters,
            scores=dict(version.scores),
            error=version.error,
        )
