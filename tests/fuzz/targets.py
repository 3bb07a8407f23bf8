"""What is fed with anything: each target takes bytes and returns, or refuses with our errors.

A target names its seeds: valid inputs, from which mutation reaches further than from noise. An
exception of any other kind is a finding; so is a result that is not what its room promises.
"""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import zlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from unittest import mock

import av
import numpy as np
from google.protobuf.message import DecodeError

from legonn.v1 import speech_service_pb2 as speech_pb
from legonn.v1 import translation_service_pb2 as text_pb
from legonn_core.errors import BadAudio, BrokenInvariant, EncodingMismatch, LegonnError
from legonn_core.interface import codec
from legonn_core.interface.card import ModuleCard
from legonn_core.interface.marginals import Marginals
from legonn_core.interface.vocabulary import Vocabulary
from legonn_core.runtime import wire
from legonn_core.runtime.messages import DecodedText, DecodeJob, DecodeKind, DecodeResult, ModuleRef
from legonn_server.gateway import convert
from legonn_server.gateway.audio import AudioInput, Encoding, decode_samples
from legonn_server.gateway.decoding import frames, reader
from legonn_server.gateway.decoding.decoder import AudioDecoder
from legonn_server.gateway.decoding.formats import MARK_BYTES, recognize
from legonn_server.gateway.text_call import text_call
from legonn_server.gateway.web.bridge import read_message
from legonn_server.routing import routes_file
from legonn_server.session.endpoint import EndpointRule
from tests.fuzz.sessions import playground, speech_session, text_session
from tests.support.recordings import every_format, webm

ROOT = Path(__file__).resolve().parents[2]
RATES = (8_000, 16_000, 44_100)
TONE = (0.5 * np.sin(np.arange(3_200) * 0.1)).astype(np.float32)


@dataclass(frozen=True)
class Target:
    """One door.

    Attributes:
        run: Takes the bytes; raises nothing but findings.
        seeds: Valid inputs.
        share: Part of the time that it gets, beside the others.
    """

    run: Callable[[bytes], None]
    seeds: Callable[[], Iterable[bytes]]
    share: float = 1.0


def samples(data: bytes) -> None:
    """Headerless audio of any encoding, then the resampler."""
    if not data:
        return
    encoding = list(Encoding)[data[0] & 3]
    channels, rate = 1 + (data[0] >> 2 & 1), RATES[(data[0] >> 3) % 3]
    try:
        heard = decode_samples(encoding, data[1:], channels=channels)
    except BadAudio:
        return
    assert heard.dtype == np.float32
    assert np.isfinite(heard).all()
    resampler = AudioInput(rate, 16_000)
    out = np.concatenate([resampler.feed(heard), resampler.flush()])
    assert resampler.num_received == len(heard)
    assert np.isfinite(out).all()
    assert resampler.input_sample(len(out)) == len(heard)


class _Channel(io.BytesIO):
    """The reader's socket, with everything already in it; what it answers is looked at."""

    def recv(self, count: int) -> bytes:
        return self.read(count)

    def sendall(self, content: bytes) -> None:
        kind, length = frames.unpack_header(content[: frames.HEADER.size])
        assert isinstance(kind, frames.Kind)
        assert length == len(content) - frames.HEADER.size <= frames.MAX_PAYLOAD


def files(data: bytes) -> None:
    """Containers, by FFmpeg in this process: in service a crash ends one reader alone.

    The limits of memory and time, which a reader sets for its own process, are left out here.
    """
    container = recognize(data[:MARK_BYTES])
    if container is None:
        return
    pieces = [data[at : at + 1_000] for at in range(0, len(data), 1_000)]
    said = [frames.pack(frames.Kind.DATA, piece) for piece in pieces]
    channel = _Channel(b"".join([*said, frames.pack(frames.Kind.END)]))
    with mock.patch.object(reader, "_grant_time"), contextlib.suppress(*_REFUSALS):
        reader._read(reader._Inbox(channel), channel, container)


_REFUSALS = (reader._BadFile, av.FFmpegError, ValueError, IndexError, MemoryError)
"""What ``read_file`` turns into an answer."""


def marginals(data: bytes) -> None:
    """The codec of what crosses the interface."""
    try:
        found = codec.decode(data)
    except EncodingMismatch:
        return
    # What it reads are distributions, and it reads again what it writes of them.
    mass = np.exp(found.log_probs).sum(axis=1) + found.tail
    assert np.abs(mass - 1.0).max(initial=0.0) < 1e-3


def framed(data: bytes) -> None:
    """The codec behind a right checksum: what only a hostile engine would send."""
    if len(data) >= codec._INNER.size:
        marginals(codec._OUTER.pack(codec.MAGIC, codec.VERSION, zlib.crc32(data)) + data)


def letters(data: bytes) -> None:
    """What gateways and engines write to each other."""
    text, _, block = data.partition(b"\xff\xfe")
    for read in (wire.read_call, wire.read_answer):
        try:
            read(wire.Letter(text, blocks=(block,)))
        except BrokenInvariant:
            continue


def card(data: bytes) -> None:
    """A module's card; what is accepted is written and read back the same."""
    text = _text(data)
    try:
        found = ModuleCard.parse(text)
    except LegonnError:
        return
    assert ModuleCard.parse(found.to_toml()) == found


def routes(data: bytes) -> None:
    """A routes file; likewise."""
    try:
        table = routes_file.parse(_text(data))
    except LegonnError:
        return
    assert routes_file.parse(routes_file.dump(table)) == table


def vocabulary(data: bytes) -> None:
    """A vocabulary of a module store."""
    try:
        Vocabulary.from_json(_text(data))
    except ValueError:
        return


def socket_message(data: bytes) -> None:
    """What a browser sends: JSON or audio."""
    message = {"text": _text(data[1:])} if data[:1] < b"\xf0" else {"bytes": data[1:]}
    try:
        request = read_message(message)
    except LegonnError as error:
        _assert_short(error)
        return
    if request is not None and request.HasField("config"):
        _speech_config(request.config)


def _assert_short(error: LegonnError) -> None:
    """A refusal names what is wrong; it does not repeat what was sent."""
    assert len(error.message) < 500


def speech_config(data: bytes) -> None:
    """A RecognitionConfig from the wire."""
    found = speech_pb.RecognitionConfig()
    try:
        found.ParseFromString(data)
    except DecodeError:
        return
    _speech_config(found)


def _speech_config(config: speech_pb.RecognitionConfig) -> None:
    try:
        call = convert.speech_call(config, EndpointRule())
    except LegonnError as error:
        _assert_short(error)
        return
    assert 1 <= call.num_best <= 10


def text_config(data: bytes) -> None:
    """A TranslationConfig from the wire."""
    found = text_pb.TranslationConfig()
    try:
        found.ParseFromString(data)
        call = text_call(found)
    except (DecodeError, LegonnError):
        return
    assert 1 <= call.num_best <= 10


class _Writer:
    """A socket whose other end does not listen."""

    def write(self, content: bytes) -> None:
        del content

    async def drain(self) -> None:
        pass


def reader_frames(data: bytes) -> None:
    """What a reader of files says to the gateway, were it taken over by a file."""

    async def take() -> None:
        stream = asyncio.StreamReader()
        stream.feed_data(data)
        stream.feed_eof()
        decoder = AudioDecoder(stream, _Writer())  # type: ignore[arg-type]  # all that it calls
        async for samples in decoder.finish():
            assert samples.dtype == np.float32

    with contextlib.suppress(BadAudio):
        playground().loop.run_until_complete(take())


def _text(data: bytes) -> str:
    return data.decode(errors="replace")


# --- seeds


def _sample_seeds() -> Iterable[bytes]:
    yield from (bytes([kind]) + (TONE * 32767).astype("<i2").tobytes()[:400] for kind in range(24))


def _file_seeds() -> Iterable[bytes]:
    for _, content in every_format(TONE, 16_000).values():
        yield content
    yield webm(TONE, 16_000, is_live=False)


def _marginal_seeds() -> Iterable[bytes]:
    dice = np.random.default_rng(1)
    for rows in (0, 1, 5):
        probs = dice.dirichlet(np.ones(5), rows).astype(np.float32)
        yield codec.encode(
            Marginals(
                ids=np.tile(np.arange(4, dtype=np.uint16), (rows, 1)),
                log_probs=np.log(probs[:, :4]),
                tail=probs[:, 4],
                times_ms=np.arange(rows, dtype=np.int32) * 80,
                first_position=0,
                fingerprint="0123456789abcdef",
            )
        )


def _inner_seeds() -> Iterable[bytes]:
    return [content[codec._OUTER.size :] for content in _marginal_seeds()]


def _letter_seeds() -> Iterable[bytes]:
    job = DecodeJob(ModuleRef("decoder-en", "1"), (b"",), DecodeKind.FINAL)
    for call in (
        wire.Call(wire.Op.PROBE),
        wire.Call(wire.Op.TEXT, text="Wo"),
        wire.Call(wire.Op.DECODE, job=job),
    ):
        yield wire.write_call(call).text
    said = DecodedText((1, 2), "a b", -1.0, 0.5, ())
    yield wire.write_answer(wire.Answer(life="x", decoded=DecodeResult((said,)))).text


def _card_seeds() -> Iterable[bytes]:
    return [path.read_bytes() for path in sorted((ROOT / "modules").glob("*/*/card.toml"))]


def _route_seeds() -> Iterable[bytes]:
    plain = (
        b'generation = 3\n[[routes]]\nmodality = "speech"\nsource = "en"\ntarget = "en"\n'
        b'encoder = "speech-en/1"\ndecoder = "decoder-en/1"\n'
    )
    yield plain
    yield plain + b'[routes.canary]\nencoder = "speech-en/2"\nsteps = [1, 50]\n'
    yield plain + b'[routes.shadow]\nencoder = "speech-en/2"\npercent = 5\n'


def _vocabulary_seeds() -> Iterable[bytes]:
    content = json.loads((ROOT / "modules/en/1/vocabulary.json").read_text("utf-8"))
    for key, value in content.items():
        if isinstance(value, list):
            content[key] = value[:20]
    yield json.dumps(content).encode()


def _socket_seeds() -> Iterable[bytes]:
    yield b'{{"config": {"encoding": "AUDIO_ENCODING_LINEAR16", "sampleRateHertz": 16000}}'
    yield b'{{"control": {"action": "CONTROL_ACTION_FLUSH"}}'
    yield b'{{"end": {}}'
    yield b"\xf1\x00\x01\x02\x03"


def _speech_seeds() -> Iterable[bytes]:
    yield speech_pb.RecognitionConfig(
        encoding=1, sample_rate_hertz=16_000, language_code="en", max_alternatives=3,
        phrases=[speech_pb.RecognitionConfig().phrases.add(text="Brandenburg", boost=4.0)],
    ).SerializeToString()  # fmt: skip
    resumed = speech_pb.RecognitionConfig(encoding=2, sample_rate_hertz=8_000)
    resumed.resume.session_id = "s-1"
    resumed.resume.sample_offset = 800
    resumed.endpointing.end_silence.FromMilliseconds(500)
    yield resumed.SerializeToString()


def _text_seeds() -> Iterable[bytes]:
    config = text_pb.TranslationConfig(source_language_code="de", interim_results=True)
    yield config.SerializeToString()
    config.streaming.policy = text_pb.COMMIT_POLICY_LATENCY_BUDGET
    config.streaming.max_delay.FromMilliseconds(1_500)
    config.glossary.add(source="Bahnhof", target="station")
    yield config.SerializeToString()


def _session_seeds() -> Iterable[bytes]:
    dice = np.random.default_rng(2)
    for length in (4, 16, 64):
        yield dice.bytes(length)


def _frame_seeds() -> Iterable[bytes]:
    rate, done = frames.pack(frames.Kind.RATE, b"16000"), frames.pack(frames.Kind.DONE)
    yield rate + frames.pack(frames.Kind.SAMPLES, TONE[:8].tobytes()) + done
    yield frames.pack(frames.Kind.BAD, b"the file is damaged")


TARGETS: dict[str, Target] = {
    "samples": Target(samples, _sample_seeds),
    "files": Target(files, _file_seeds, share=2.0),
    "marginals": Target(marginals, _marginal_seeds),
    "marginals-framed": Target(framed, _inner_seeds),
    "letters": Target(letters, _letter_seeds),
    "card": Target(card, _card_seeds),
    "routes": Target(routes, _route_seeds),
    "vocabulary": Target(vocabulary, _vocabulary_seeds),
    "socket-message": Target(socket_message, _socket_seeds),
    "speech-config": Target(speech_config, _speech_seeds),
    "text-config": Target(text_config, _text_seeds),
    "reader-frames": Target(reader_frames, _frame_seeds),
    "speech-session": Target(speech_session, _session_seeds, share=4.0),
    "text-session": Target(text_session, _session_seeds, share=2.0),
}
