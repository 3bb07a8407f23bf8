"""A small legonn server on a free port: what it hears and says is up to the test."""

# ruff: noqa: N802 - methods are named as the calls of the protos

from __future__ import annotations

import itertools
from collections.abc import Iterator
from concurrent import futures
from contextlib import contextmanager

import grpc
from google.protobuf import any_pb2
from google.protobuf.duration_pb2 import Duration
from google.rpc import error_details_pb2, status_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc

from legonn.v1 import (
    error_reason_pb2,
    module_card_pb2,
    module_service_pb2,
    module_service_pb2_grpc,
    speech_service_pb2,
    speech_service_pb2_grpc,
    translation_service_pb2,
    translation_service_pb2_grpc,
)


def refuse(context, code, reason, message, *, delay_s=None):
    """End the call as the real server does."""
    details = [error_details_pb2.ErrorInfo(reason=reason, domain="legonn")]
    if delay_s is not None:
        details.append(error_details_pb2.RetryInfo(retry_delay=Duration(seconds=delay_s)))
    status = status_pb2.Status(code=code.value[0], message=message)
    for detail in details:
        packed = any_pb2.Any()
        packed.Pack(detail)
        status.details.append(packed)
    context.set_trailing_metadata(
        (("x-request-id", "r-9"), ("grpc-status-details-bin", status.SerializeToString()))
    )
    context.abort(code, message)


def seconds(value: float) -> Duration:
    return Duration(seconds=int(value), nanos=round(value % 1 * 1e9))


class FakeLegonn(
    speech_service_pb2_grpc.SpeechServiceServicer,
    translation_service_pb2_grpc.TranslationServiceServicer,
    module_service_pb2_grpc.ModuleServiceServicer,
    health_pb2_grpc.HealthServicer,
):
    """Hears one word a recording; translates by writing in capitals; fails when told to.

    ``refusal`` is (code, reason, message, delay_s) for every call. The text "fail" fails alone.
    """

    def __init__(self):
        self.address = ""
        self.configs = []
        self.batches = []
        self.audio = b""
        self.refusal = None
        self.health = health_pb2.HealthCheckResponse.SERVING

    def _check(self, context):
        if self.refusal:
            code, reason, message, delay_s = self.refusal
            refuse(context, code, reason, message, delay_s=delay_s)

    def StreamingRecognize(self, request_iterator, context):
        response = speech_service_pb2.StreamingRecognizeResponse
        self._check(context)
        audio = b""
        config = next(request_iterator).config
        self.configs.append(config)
        yield response(sequence=0, started={"session_id": "s-1", "request_id": "r-1"})
        for request in request_iterator:
            audio += request.audio.content
        self.audio = audio
        next_sequence = itertools.count(1)
        if config.interim_results:
            partial = {"revision": 1, "stable_text": "hel", "tail_text": "lo", "segment_index": 0}
            yield response(sequence=next(next_sequence), partial=partial)
        num_samples = len(audio) // 2
        end = seconds(num_samples / config.sample_rate_hertz)
        word = {
            "text": "hello",
            "start_offset": seconds(0.25),
            "end_offset": end,
            "confidence": 0.5,
        }
        final = {
            "end_offset": end,
            "end_sample": num_samples,
            "alternatives": [{"text": "hello", "confidence": 0.5, "words": [word]}],
            "encoder": "speech-en/1",
            "decoder": "decoder-en/1",
            "reason": "FINAL_REASON_HALF_CLOSE",
        }
        yield response(sequence=next(next_sequence), audio_processed=end, final=final)
        summary = {"samples_received": num_samples, "samples_in_finals": num_samples}
        yield response(sequence=next(next_sequence), summary={**summary, "num_segments": 1})

    def Translate(self, request, context):
        self._check(context)
        self.batches.append(list(request.texts))
        response = translation_service_pb2.TranslateResponse(request_id="r-2")
        for text in request.texts:
            if text == "fail":
                status = {"code": 3, "reason": error_reason_pb2.ERROR_REASON_BAD_TEXT}
                response.items.add(error={**status, "message": "the text cannot be read"})
            else:
                response.items.add(translation={"alternatives": [{"text": text.upper()}]})
        return response

    def StreamingTranslate(self, request_iterator, context):
        """Each message is shown as a partial; a line break or the end of a segment ends it."""
        response = translation_service_pb2.StreamingTranslateResponse
        self._check(context)
        config = next(request_iterator).config
        self.configs.append(config)
        yield response(sequence=0, started={"session_id": "t-1", "request_id": "r-1"})
        sequence, index, start, text = itertools.count(1), 0, 0, ""

        def final():
            item = {"translation": {"alternatives": [{"text": text.strip().upper()}]}}
            if "fail" in text:
                status = {"code": 3, "reason": error_reason_pb2.ERROR_REASON_BAD_TEXT}
                item = {"error": {**status, "message": "the text cannot be read"}}
            place = {"start_character": start, "end_character": start + len(text)}
            return {"segment_index": index, "item": item, "reason": 2, **place}

        for request in request_iterator:
            text += request.input.text
            if request.input.end_of_segment or text.endswith("\n"):
                yield response(sequence=next(sequence), final=final())
                index, start, text = index + 1, start + len(text), ""
            elif config.interim_results:
                partial = {"segment_index": index, "revision": 1, "tail_text": text.upper()}
                yield response(sequence=next(sequence), partial=partial)
        if text:
            yield response(sequence=next(sequence), final=final())
            index, start = index + 1, start + len(text)
        summary = {"characters_received": start, "num_segments": index}
        yield response(sequence=next(sequence), summary=summary)

    def ListModules(self, request, context):
        self._check(context)
        encoder = module_card_pb2.Module(
            name="text-de",
            kind=module_card_pb2.MODULE_KIND_ENCODER,
            modality=module_card_pb2.MODALITY_TEXT,
            source_language_code="de",
            target_language_code="en",
        )
        decoder = module_card_pb2.Module(
            name="decoder-en", kind=module_card_pb2.MODULE_KIND_DECODER, target_language_code="en"
        )
        for module in (decoder, encoder):
            version = module.versions.add(version="1", num_parameters=12_345_678)
            version.state = module_card_pb2.MODULE_STATE_SERVING
            version.contract.vocabulary = "en/1"
        # One module a page, so that a client that stops at the first page is found out.
        if request.page_token == "":
            return module_service_pb2.ListModulesResponse(modules=[decoder], next_page_token="2")
        return module_service_pb2.ListModulesResponse(modules=[encoder])

    def Check(self, request, context):
        return health_pb2.HealthCheckResponse(status=self.health)


@contextmanager
def serving(fake: FakeLegonn | None = None) -> Iterator[FakeLegonn]:
    """A fake on a port that the kernel chooses."""
    fake = fake or FakeLegonn()
    server = grpc.server(futures.ThreadPoolExecutor(max_workers=4))
    speech_service_pb2_grpc.add_SpeechServiceServicer_to_server(fake, server)
    translation_service_pb2_grpc.add_TranslationServiceServicer_to_server(fake, server)
    module_service_pb2_grpc.add_ModuleServiceServicer_to_server(fake, server)
    health_pb2_grpc.add_HealthServicer_to_server(fake, server)
    fake.address = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    server.start()
    try:
        yield fake
    finally:
        server.stop(grace=None).wait()
