"""One attack: ``python -m tests.hostile.attacks NAME GRPC HTTP SECONDS``; prints what was done.

Attackers have a key of their own tenant, which may have four calls open, or none at all.
"""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import os
import random
import socket
import sys
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Awaitable, Callable

import grpc
import jwt
import numpy as np
import soundfile
import websockets

from legonn.v1 import audio_pb2
from legonn.v1 import module_service_pb2 as modules_pb
from legonn.v1 import module_service_pb2_grpc as modules_grpc
from legonn.v1 import speech_service_pb2 as pb
from legonn.v1 import speech_service_pb2_grpc as pb_grpc
from legonn_server.gateway.web.bridge import PROTOCOL
from tests.hostile import http2
from tests.hostile.connections import half_open, over, slow_loris
from tests.support.gateway import audio, first, linear16, tone

ATTACKER, ADMIN, GREEDY = "lk_attacker", "lk_admin", "lk_greedy"
NICE = 5
STREAMING = "/legonn.v1.SpeechService/StreamingRecognize"

Attack = Callable[[str, str, float], Awaitable[Counter[str]]]


def bearer(key: str) -> tuple[tuple[str, str], ...]:
    """The metadata that bring a key."""
    return (("authorization", f"Bearer {key}"),)


async def opens_and_cancels(rpc: str, _: str, seconds: float) -> Counter[str]:
    """Ten thousand streams, opened and cancelled as fast as it goes."""
    end = time.monotonic() + seconds
    done: Counter[str] = Counter()
    async with grpc.aio.insecure_channel(rpc) as channel:
        stub = pb_grpc.SpeechServiceStub(channel)

        async def some() -> None:
            while not over(end) and done["opened"] < 10_000:
                call = stub.StreamingRecognize(metadata=bearer(ATTACKER))
                done["opened"] += 1
                with contextlib.suppress(grpc.RpcError, asyncio.InvalidStateError):
                    await call.write(first())
                call.cancel()

        async with asyncio.TaskGroup() as group:
            for _ in range(16):
                group.create_task(some())
    return done


async def crumbs(rpc: str, _: str, seconds: float) -> Counter[str]:
    """Four streams of messages with one byte of audio each, as fast as they are taken."""
    end = time.monotonic() + seconds
    done: Counter[str] = Counter()
    start = first(encoding=audio_pb2.AUDIO_ENCODING_MULAW)
    async with grpc.aio.insecure_channel(rpc) as channel:
        stub = pb_grpc.SpeechServiceStub(channel)

        async def one() -> None:
            call = stub.StreamingRecognize(metadata=bearer(ATTACKER))
            with contextlib.suppress(grpc.RpcError, TimeoutError):
                await call.write(start)
                async with asyncio.timeout(max(0.1, end - time.monotonic())):
                    while True:
                        await call.write(audio(b"\x7f"))
                        done["messages"] += 1
            call.cancel()

        async with asyncio.TaskGroup() as group:
            for _ in range(4):
                group.create_task(one())
    return done


async def huge_metadata(rpc: str, _: str, seconds: float) -> Counter[str]:
    """Calls with 4 KiB to 1 MiB of headers."""
    end = time.monotonic() + seconds
    done: Counter[str] = Counter()
    async with grpc.aio.insecure_channel(rpc) as channel:
        stub = pb_grpc.SpeechServiceStub(channel)
        while not over(end):
            size = 1 << random.randint(12, 20)
            metadata = (*bearer(ATTACKER), ("x-filler", "f" * size))
            try:
                await stub.Recognize(pb.RecognizeRequest(), metadata=metadata, timeout=10)
            except grpc.RpcError as error:
                done[error.code().name] += 1
    return done


async def rapid_reset(rpc: str, _: str, seconds: float) -> Counter[str]:
    """HEADERS and RST_STREAM in turn (CVE-2023-44487), on a new connection when one is closed."""
    host, port = rpc.rsplit(":", 1)
    end = time.monotonic() + seconds
    done: Counter[str] = Counter()
    while not over(end):
        reader, writer = await asyncio.open_connection(host, int(port))
        done["connections"] += 1
        writer.write(http2.PREFACE + http2.settings())
        with contextlib.suppress(OSError, TimeoutError):
            for stream in range(1, 20_001, 2):
                writer.write(http2.headers(stream, STREAMING) + http2.reset(stream))
                done["resets"] += 1
                if stream % 200 == 1:
                    async with asyncio.timeout(2):
                        await writer.drain()
                    await asyncio.sleep(0)
                    if over(end) or reader.at_eof():
                        break
        writer.close()
    return done


def silent_flac(minutes: int) -> bytes:
    """A small file that is long: what compressed silence costs next to nothing."""
    file = io.BytesIO()
    with soundfile.SoundFile(file, "w", 8_000, 1, format="FLAC") as out:
        for _ in range(minutes):
            out.write(np.zeros(480_000, np.int16))
    return file.getvalue()


async def bombs(rpc: str, web: str, seconds: float) -> Counter[str]:
    """Files of two hours in a megabyte, and gRPC messages that unpack to 64 MiB."""
    done: Counter[str] = Counter()
    flac = silent_flac(120)
    done["file_bytes"] = len(flac)
    zeros = pb.RecognizeRequest(config=first().config, audio=bytes(64 << 20))
    config = first(encoding=audio_pb2.AUDIO_ENCODING_FLAC).config
    packed = pb.RecognizeRequest(config=config, audio=flac[: 3 << 20])
    end = time.monotonic() + seconds
    options = (("grpc.max_send_message_length", -1),)
    async with grpc.aio.insecure_channel(rpc, options=options) as channel:
        stub = pb_grpc.SpeechServiceStub(channel)
        while not over(end):
            for request, how in ((zeros, grpc.Compression.Gzip), (packed, None)):
                try:
                    await stub.Recognize(
                        request, metadata=bearer(ATTACKER), compression=how, timeout=30
                    )
                except grpc.RpcError as error:
                    done[f"grpc {error.code().name}"] += 1
            done[f"http {await asyncio.to_thread(_upload, web, flac)}"] += 1
    return done


def _upload(web: str, content: bytes) -> int:
    mark = "legonn-bomb"
    body = (
        (
            f'--{mark}\r\ncontent-disposition: form-data; name="file"; filename="a.flac"\r\n\r\n'
        ).encode()
        + content
        + f"\r\n--{mark}--\r\n".encode()
    )
    request = urllib.request.Request(
        f"http://{web}/v1/audio/transcriptions",
        data=body,
        headers={
            "authorization": f"Bearer {ATTACKER}",
            "content-type": f"multipart/form-data; boundary={mark}",
        },
    )
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        with error:
            return error.code


async def bad_text(rpc: str, web: str, seconds: float) -> Counter[str]:
    """Messages that are no protobuf, text that is no UTF-8, frames that are no JSON."""
    end = time.monotonic() + seconds
    done: Counter[str] = Counter()
    dice = random.Random(7)
    async with grpc.aio.insecure_channel(rpc) as channel:
        raw = channel.unary_unary("/legonn.v1.SpeechService/Recognize")
        while not over(end):
            junk = dice.choice(
                (b"\x0a\x06\x2a\x04\xff\xfe\xfd\xfc", dice.randbytes(64), b"\xff" * 9)
            )
            try:
                await raw(junk, metadata=bearer(ATTACKER), timeout=10)
            except grpc.RpcError as error:
                done[f"grpc {error.code().name}"] += 1
            with contextlib.suppress(websockets.WebSocketException, OSError):
                async with websockets.connect(
                    f"ws://{web}/v1/captions",
                    subprotocols=[PROTOCOL],
                    additional_headers={"authorization": f"Bearer {ATTACKER}"},
                ) as one:
                    await one.send(
                        dice.choice(["{", "[]", '{"config": {"languageCode": "\\ud800"}}'])
                    )
                    with contextlib.suppress(websockets.ConnectionClosed):
                        async for _ in one:
                            pass
                    done[f"socket {one.close_code}"] += 1
    return done


async def forged_tokens(rpc: str, _: str, seconds: float) -> Counter[str]:
    """Keys and tokens that are expired, unsigned, foreign, or noise."""
    end = time.monotonic() + seconds
    done: Counter[str] = Counter()
    claims = {"iss": "https://login.example", "aud": "legonn", "exp": 4_000_000_000}
    claims |= {"tenant": "bystander", "roles": ["speech", "admin"]}
    wrong = [
        jwt.encode(claims, None, algorithm="none"),
        jwt.encode(claims, "a secret that is not the issuer's", algorithm="HS256"),
        jwt.encode(claims | {"exp": 1}, "a secret that is not the issuer's", algorithm="HS256"),
        "lk_bystande",
        "lk_" + "A" * 43,
        "a.b.c",
        "A" * 7_000,
    ]
    async with grpc.aio.insecure_channel(rpc) as channel:
        stub = modules_grpc.ModuleServiceStub(channel)

        async def some(offset: int) -> None:
            number = offset
            while not over(end):
                key = wrong[number % len(wrong)]
                number += 1
                try:
                    request = modules_pb.ListModulesRequest()
                    await stub.ListModules(request, metadata=bearer(key), timeout=10)
                    done["let in"] += 1
                except grpc.RpcError as error:
                    done[error.code().name] += 1

        async with asyncio.TaskGroup() as group:
            for offset in range(4):
                group.create_task(some(offset))
    return done


TRICKS = (
    "../../etc", "speech-en/../..", "/etc/passwd", "..\\..\\windows", "speech-en\x00", "~root",
    "%2e%2e%2f", "speech-en/1/../../..", "a" * 5_000, "．．／", "$(id)", "CON", "-rf",
)  # fmt: skip


async def path_tricks(rpc: str, web: str, seconds: float) -> Counter[str]:
    """Names of modules and pages that point elsewhere; with the admin role, so that only the name
    is judged."""
    end = time.monotonic() + seconds
    done: Counter[str] = Counter()
    paths = ("/..%2f..%2fetc/passwd", "/%2e%2e/%2e%2e/etc/passwd", "//etc/passwd", "/v1/../../x")
    async with grpc.aio.insecure_channel(rpc) as channel:
        stub = modules_grpc.ModuleServiceStub(channel)
        while not over(end):
            for name in TRICKS:
                for version in ("1", name[:100]):
                    try:
                        request = modules_pb.LoadModuleRequest(name=name, version=version)
                        request.wait_duration.seconds = 5  # or the answer is that it is tried
                        await stub.LoadModule(request, metadata=bearer(ADMIN), timeout=10)
                        done["loaded"] += 1
                    except grpc.RpcError as error:
                        done[f"grpc {error.code().name}"] += 1
            for path in paths:
                done[f"http {await asyncio.to_thread(_raw_get, web, path)}"] += 1
    return done


def _raw_get(web: str, path: str) -> str:
    host, port = web.rsplit(":", 1)
    with socket.create_connection((host, int(port)), timeout=10) as one:
        one.sendall(f"GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n".encode())
        answer = b""
        while part := one.recv(4_096):
            answer += part
    assert b"root:" not in answer, "a file of this machine was given away"
    return answer.split(b" ", 2)[1].decode()


async def greedy_tenant(rpc: str, _: str, seconds: float) -> Counter[str]:
    """A tenant that opens all it can and sends audio as fast as it is taken."""
    end = time.monotonic() + seconds
    done: Counter[str] = Counter()
    content = linear16(tone(0.3))
    async with grpc.aio.insecure_channel(rpc) as channel:
        stub = pb_grpc.SpeechServiceStub(channel)

        async def one() -> None:
            while not over(end):
                call = stub.StreamingRecognize(metadata=bearer(GREEDY))
                try:
                    await call.write(first())
                    async with asyncio.timeout(max(0.1, end - time.monotonic())):
                        while True:
                            await call.write(audio(content))
                            done["seconds of audio / 0.3"] += 1
                except TimeoutError:
                    done["held back"] += 1
                except (grpc.RpcError, asyncio.InvalidStateError):
                    done["refused"] += 1
                    await asyncio.sleep(0.1)
                call.cancel()

        async with asyncio.TaskGroup() as group:
            for _ in range(24):
                group.create_task(one())
    return done


ATTACKS: dict[str, Attack] = {
    one.__name__: one
    for one in (
        slow_loris,
        half_open,
        opens_and_cancels,
        crumbs,
        huge_metadata,
        rapid_reset,
        bombs,
        bad_text,
        forged_tokens,
        path_tricks,
        greedy_tenant,
    )
}


if __name__ == "__main__":
    os.nice(NICE)
    begun = time.monotonic()  # the same clock in every process of one machine
    found = asyncio.run(ATTACKS[sys.argv[1]](sys.argv[2], sys.argv[3], float(sys.argv[4])))
    print(json.dumps({"begun": begun, "ended": time.monotonic(), "did": found}))
