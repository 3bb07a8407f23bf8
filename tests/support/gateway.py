"""A whole gateway on a free port with a fake backend, and what tests send to it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import grpc
import numpy as np
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from legonn.v1 import (
    audio_pb2,
    module_service_pb2_grpc,
    speech_service_pb2,
    speech_service_pb2_grpc,
    translation_service_pb2_grpc,
)
from legonn_core.runtime.messages import ModuleDescription
from legonn_server.app import Gateway
from legonn_server.backends.fake import SAMPLE_RATE, FakeBackend, FakeScript
from legonn_server.config.settings import ServerSettings, Settings
from legonn_server.gateway.doorkeeper import AccessOptions
from legonn_server.gateway.tls import TlsFiles
from legonn_server.telemetry.metrics import Metrics

speech_pb = speech_service_pb2


@dataclass
class Running:
    """A gateway that serves, and stubs to talk to it."""

    gateway: Gateway
    backend: FakeBackend
    channel: grpc.aio.Channel

    def __post_init__(self) -> None:
        self.speech = speech_service_pb2_grpc.SpeechServiceStub(self.channel)
        self.translation = translation_service_pb2_grpc.TranslationServiceStub(self.channel)
        self.modules = module_service_pb2_grpc.ModuleServiceStub(self.channel)


@asynccontextmanager
async def running(
    script: FakeScript | None = None,
    *,
    http: str = "",
    access: AccessOptions | None = None,
    tls: TlsFiles | None = None,
    dial: Callable[[str], grpc.aio.Channel] | None = None,
    absent: tuple[ModuleDescription, ...] = (),
    routes: Path | None = None,
    is_read_only: bool = False,
    **sections: object,
) -> AsyncIterator[Running]:
    """Serve on a free port for the length of a ``with`` block.

    ``absent`` are modules that may be loaded, ``routes`` is the folder of a routes file, ``dial``
    makes the channel of a server that asks for TLS.
    """
    settings = Settings(
        server=ServerSettings(
            listen="127.0.0.1:0",
            http=http,
            metrics="",
            backend="fake",
            routes=str(routes) if routes else "",
            routes_read_only=is_read_only,
        ),
        access=access or AccessOptions(),
        tls=tls or TlsFiles(),
        **sections,
    )
    backend = FakeBackend(script, absent=absent)
    gateway = Gateway(settings, backend)
    await gateway.start()
    options = (("grpc.max_send_message_length", -1),)
    dial = dial or (lambda address: grpc.aio.insecure_channel(address, options=options))
    try:
        async with dial(gateway.address) as channel:
            yield Running(gateway, backend, channel)
    finally:
        await gateway.stop(grace_seconds=0)
    # Whatever a test did to the server: no promise of the contract was broken.
    assert broken_promises(gateway.metrics) == {}


def broken_promises(metrics: Metrics) -> dict[str, float]:
    """How often each promise was broken, without those that were kept."""
    (family,) = metrics.invariant_violations.collect()
    return {
        one.labels["promise"]: one.value
        for one in family.samples
        if one.name.endswith("_total") and one.value
    }


def tone(seconds: float, *, level: float = 0.3) -> np.ndarray:
    """Loud audio in which the fake hears words."""
    times = np.arange(round(seconds * SAMPLE_RATE)) / SAMPLE_RATE
    return (level * np.sin(2 * np.pi * 440 * times)).astype(np.float32)


def silence(seconds: float) -> np.ndarray:
    """Audio in which nobody hears anything."""
    return np.zeros(round(seconds * SAMPLE_RATE), np.float32)


def two_utterances() -> np.ndarray:
    """Speech, a pause, speech at another loudness."""
    parts = [silence(0.3), tone(1.0), silence(1.5), tone(0.8, level=0.8), silence(0.2)]
    return np.concatenate(parts)


def linear16(samples: np.ndarray) -> bytes:
    """Samples as LINEAR16 bytes."""
    return (samples * 32767).astype("<i2").tobytes()


def config(**fields: object) -> speech_pb.RecognitionConfig:
    """A config that is right but for the fields given."""
    good = {"encoding": audio_pb2.AUDIO_ENCODING_LINEAR16, "sample_rate_hertz": SAMPLE_RATE}
    return speech_pb.RecognitionConfig(**(good | fields))


def first(**fields: object) -> speech_pb.StreamingRecognizeRequest:
    """The first message of a stream."""
    return speech_pb.StreamingRecognizeRequest(config=config(**fields))


def audio(content: bytes, **fields: object) -> speech_pb.StreamingRecognizeRequest:
    """One message of audio."""
    chunk = audio_pb2.AudioChunk(content=content, **fields)
    return speech_pb.StreamingRecognizeRequest(audio=chunk)


def control(action: int) -> speech_pb.StreamingRecognizeRequest:
    """One control message."""
    return speech_pb.StreamingRecognizeRequest(control=speech_pb.StreamControl(action=action))


def chunked(content: bytes, size: int = 3200) -> list[speech_pb.StreamingRecognizeRequest]:
    """Audio as messages of ``size`` bytes."""
    return [audio(content[start : start + size]) for start in range(0, len(content), size)]


async def streamed(
    stub: speech_service_pb2_grpc.SpeechServiceStub,
    requests: Iterable[speech_pb.StreamingRecognizeRequest],
) -> list[speech_pb.StreamingRecognizeResponse]:
    """Send all, half-close, and collect the answers."""
    return [answer async for answer in stub.StreamingRecognize(iter(requests), timeout=90)]


def texts(answers: Iterable[speech_pb.StreamingRecognizeResponse]) -> list[str]:
    """Texts of the finals."""
    return [one.final.alternatives[0].text for one in answers if one.HasField("final")]


@dataclass(frozen=True)
class Refusal:
    """How a call failed, as a client sees it."""

    code: grpc.StatusCode
    reason: str
    message: str


def refusal(error: grpc.RpcError) -> Refusal:
    """Read the details of a failed call."""
    info = error_details_pb2.ErrorInfo()
    status = rpc_status.from_call(error)
    for detail in status.details if status else ():
        detail.Unpack(info)
    return Refusal(error.code(), info.reason, error.details() or "")
