"""A captions socket as a front end opens it, and an uploaded file."""

from __future__ import annotations

import contextlib
import io
import json
from contextlib import asynccontextmanager

import numpy as np
import soundfile
import websockets
from websockets.asyncio.client import ClientConnection

from legonn_server.backends.fake import SAMPLE_RATE
from legonn_server.gateway.web.bridge import PROTOCOL

CONFIG = {"encoding": "AUDIO_ENCODING_LINEAR16", "sampleRateHertz": SAMPLE_RATE}


@asynccontextmanager
async def captions(page: str, **headers: str):
    """A socket of the sub-protocol; ``page`` is the gateway's."""
    url = page.replace("http", "ws", 1) + "v1/captions"
    async with websockets.connect(
        url, subprotocols=[PROTOCOL], additional_headers=headers, max_size=None
    ) as socket:
        yield socket


async def say(socket: ClientConnection, content: bytes, *, size: int = 3200, **config: object):
    """Send a config, audio and the end; give every answer."""
    await socket.send(json.dumps({"config": CONFIG | config}))
    for start in range(0, len(content), size):
        await socket.send(content[start : start + size])
    await socket.send('{"end": {}}')
    return await heard(socket)


async def heard(socket: ClientConnection) -> list[dict]:
    """Every answer up to the close, whatever its code."""
    answers = []
    with contextlib.suppress(websockets.ConnectionClosedError):
        async for message in socket:
            answers.append(json.loads(message))
    return answers


def finals(answers: list[dict]) -> list[str]:
    """Texts of the finals among JSON answers."""
    return [one["final"]["alternatives"][0]["text"] for one in answers if "final" in one]


def wav(samples: np.ndarray, rate: int = SAMPLE_RATE, kind: str = "WAV") -> bytes:
    """Samples as a file."""
    file = io.BytesIO()
    soundfile.write(file, samples, rate, format=kind)
    return file.getvalue()
