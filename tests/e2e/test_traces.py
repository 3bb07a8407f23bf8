"""Traces as a collector gets them over OTLP: chosen by share, by the caller or by their fate."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from concurrent import futures

import grpc
import pytest
from opentelemetry.proto.collector.trace.v1 import (
    trace_service_pb2 as otlp_pb,
)
from opentelemetry.proto.collector.trace.v1 import (
    trace_service_pb2_grpc as otlp_grpc,
)
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from legonn.v1 import translation_service_pb2 as text_pb
from legonn_core.errors import BackendDown, LegonnError
from legonn_server.backends.fake import FakeScript
from legonn_server.telemetry.traces import TraceOptions
from tests.support.gateway import (
    Running,
    chunked,
    first,
    linear16,
    running,
    streamed,
    two_utterances,
)

PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-{flags}"


class Collector(otlp_grpc.TraceServiceServicer):
    """Keeps every span."""

    def __init__(self) -> None:
        self.spans: list[Span] = []

    def Export(  # noqa: N802 - the name that gRPC calls
        self, request: otlp_pb.ExportTraceServiceRequest, context: object
    ) -> object:
        for resource in request.resource_spans:
            for scope in resource.scope_spans:
                self.spans += scope.spans
        return otlp_pb.ExportTraceServiceResponse()


@pytest.fixture
def collector():
    found = Collector()
    server = grpc.server(futures.ThreadPoolExecutor(1))
    otlp_grpc.add_TraceServiceServicer_to_server(found, server)
    found.port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield found
    server.stop(None).wait()


async def spans_of(
    collector: Collector,
    calls: Callable[[Running], AsyncIterator[object]],
    *,
    ratio: float,
    script: FakeScript | None = None,
) -> list[Span]:
    """What a gateway sends while it lives for some calls; stopping it sends the rest."""
    options = TraceOptions(f"http://127.0.0.1:{collector.port}", ratio)
    async with running(script, traces=options) as server:
        async for _ in calls(server):
            pass
    return collector.spans


async def _speech(server: Running, **metadata: str) -> None:
    requests = [first(interim_results=True), *chunked(linear16(two_utterances()), 3200)]
    call = server.speech.StreamingRecognize(iter(requests), metadata=tuple(metadata.items()))
    assert [answer async for answer in call][-1].HasField("summary")


def _values(span: Span) -> dict[str, object]:
    return {one.key: getattr(one.value, one.value.WhichOneof("value")) for one in span.attributes}


async def test_a_stream_is_a_call_of_segments_of_stages(collector: Collector):
    async def calls(server: Running) -> AsyncIterator[object]:
        yield await _speech(server)

    spans = await spans_of(collector, calls, ratio=1.0)
    by_id = {span.span_id: span for span in spans}
    (call,) = [span for span in spans if span.name == "StreamingRecognize"]
    segments = [span for span in spans if span.name == "segment"]
    assert [_values(one)["legonn.segment"] for one in segments] == [0, 1]
    assert {one.parent_span_id for one in segments} == {call.span_id}
    stages = [span for span in spans if span.name in ("encode", "decode", "write")]
    assert {by_id[one.parent_span_id].name for one in stages} <= {"segment", "rest"}
    assert {_values(one)["kind"] for one in stages if one.name == "decode"} == {"commit", "final"}
    encodes = [_values(one) for one in stages if one.name == "encode"]
    assert {one["module"] for one in encodes} == {"speech-en/1"} and len(encodes) >= 10
    for one in stages:
        parent = by_id[one.parent_span_id]
        assert parent.start_time_unix_nano <= one.start_time_unix_nano <= one.end_time_unix_nano
        assert call.start_time_unix_nano <= one.start_time_unix_nano <= call.end_time_unix_nano
    assert _values(call)["legonn.code"] == "OK"
    words = {"d" + " g" * 3, "h" + " o" * 3}
    assert not any(word in str(one) for one in spans for word in words)


async def test_the_caller_decides_with_its_own_trace(collector: Collector):
    async def calls(server: Running) -> AsyncIterator[object]:
        yield await _speech(server, traceparent=PARENT.format(flags="01"))
        yield await _speech(server, traceparent="00-nonsense")

    spans = await spans_of(collector, calls, ratio=0.0)
    assert {span.trace_id.hex() for span in spans} == {"0af7651916cd43dd8448eb211c80319c"}
    (call,) = [span for span in spans if span.name == "StreamingRecognize"]
    assert call.parent_span_id.hex() == "b7ad6b7169203331"


async def test_what_failed_is_sent_though_nobody_chose_it(collector: Collector):
    async def calls(server: Running) -> AsyncIterator[object]:
        yield await _speech(server)
        with pytest.raises(grpc.aio.AioRpcError):
            await streamed(server.speech, [first(encoding=99)])
        yield

    spans = await spans_of(collector, calls, ratio=0.0)
    assert [(span.name, _values(span)["legonn.code"]) for span in spans] == [
        ("StreamingRecognize", "NOT_IMPLEMENTED")
    ]


async def test_what_was_replayed_is_sent_too(collector: Collector):
    def lost_once(method: str, count: int) -> LegonnError | None:
        return BackendDown("gone") if method == "step" and count == 3 else None

    async def calls(server: Running) -> AsyncIterator[object]:
        yield await _speech(server)

    spans = await spans_of(collector, calls, ratio=0.0, script=FakeScript(fault=lost_once))
    assert next(_values(one)["replays"] for one in spans if one.name == "segment") == 1


async def test_texts_are_traced(collector: Collector):
    async def calls(server: Running) -> AsyncIterator[object]:
        config = text_pb.TranslationConfig(source_language_code="de")
        yield await server.translation.Translate(
            text_pb.TranslateRequest(config=config, texts=["Zitronenfalter."])
        )

    spans = await spans_of(collector, calls, ratio=1.0)
    assert {span.name for span in spans} == {"Translate", "rest", "encode", "decode"}
    assert "itronen" not in str(spans) and "ITRONEN" not in str(spans)
