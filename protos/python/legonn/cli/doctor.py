"""``legonn doctor``: one check after another, and what to do about the first that fails."""

from __future__ import annotations

import argparse
import platform
import urllib.request
from collections.abc import Callable, Iterator

import grpc
import numpy as np
from google.protobuf import __version__ as protobuf_version

from legonn import __version__
from legonn.access import Access
from legonn.cli.connection import add_address, explain
from legonn.cli.symptoms import parsed, symptoms, total, why_not_serving
from legonn.client import Client
from legonn.errors import LegonnError, PermissionDenied
from legonn.streams import SpeechOptions

HELP = "check the server and say what is wrong"
EXAMPLES = """examples:
  legonn doctor                            the server at the default address
  legonn doctor --address gpu-box:50051    another one
  legonn doctor --metrics http://gpu-box:9464/metrics
  legonn doctor --health-only              one question, for health checks

It also reads the server's /metrics, where it can, and says what the numbers mean; names in
brackets are headings of docs/operations.md. Exit code 0 if all is well, else 1."""

# A sentence in each language that a text encoder may read; others are not tried.
SENTENCES = {"de": "Guten Morgen!", "ro": "Bună dimineața!"}
TIMEOUT_S = 10.0
METRICS = "http://127.0.0.1:9464/metrics"
SECOND = 16_000

Check = Callable[[Client], Iterator[str]]


class Unwell(Exception):
    """A check that failed: what is wrong, and what to do."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    add_address(parser)
    parser.add_argument(
        "--metrics", metavar="URL", default=METRICS, help="its /metrics (default: this machine's)"
    )
    parser.add_argument(
        "--health-only", action="store_true", help="ask only whether it serves, and be quiet"
    )


def run(arguments: argparse.Namespace) -> int:
    """Run the checks until one fails."""
    if arguments.health_only:
        return _ask_health(arguments.address)
    print(
        f"legonn {__version__}, Python {platform.python_version()}, "
        f"gRPC {grpc.__version__}, protobuf {protobuf_version}"
    )
    with Client(arguments.address, timeout_s=TIMEOUT_S) as client:
        numbers = _numbers(arguments.metrics)

        def health(client: Client) -> Iterator[str]:
            return _health(client, numbers)

        def symptomless(_: Client) -> Iterator[str]:
            return _symptomless(numbers)

        for check in (health, _modules, symptomless, _speech, _translation):
            try:
                for line in check(client):
                    print(f"ok    {line}", flush=True)
            except LegonnError as error:
                print(f"FAIL  {explain(error, client.address)}")
                return 1
            except Unwell as trouble:
                print(f"FAIL  {trouble}")
                return 1
    print("all is well")
    return 0


def _ask_health(address: str | None) -> int:
    try:
        with Client(address, timeout_s=4.0) as client:
            return 0 if client.health() == "SERVING" else 1
    except LegonnError:
        return 1


def _numbers(url: str) -> dict[str, float]:
    """What /metrics says; nothing if there is no such page."""
    if not url.startswith(("http://", "https://")):
        return {}
    try:
        key = Access.from_environment().key
        headers = {"authorization": f"Bearer {key}"} if key else {}
        request = urllib.request.Request(url, headers=headers)
        with urllib.request.urlopen(request, timeout=4.0) as answer:
            return parsed(answer.read().decode("utf-8", "replace"))
    except OSError:
        return {}


def _health(client: Client, numbers: dict[str, float]) -> Iterator[str]:
    status = client.health()
    if status != "SERVING":
        unknown = "it is starting, draining or has lost its engine; wait a little, read its log"
        why = (why_not_serving(numbers) if numbers else "") or unknown
        raise Unwell(f"the server at {client.address} answers {status}: {why}")
    yield f"a server answers at {client.address}: {status}"


def _modules(client: Client) -> Iterator[str]:
    try:
        found = client.modules()
    except PermissionDenied:
        yield "modules: not shown, since this key has no admin role"
        return
    if not found:
        raise Unwell(
            "the server has no modules: start it where the folder `modules` is, or name the "
            "folder (`legonn serve --help`)"
        )
    for module in found:
        if module.state == "FAILED":
            raise Unwell(f"module {module.name}/{module.version} failed: {module.error}")
    yield "modules: " + ", ".join(f"{module.name}/{module.version}" for module in found)
    if not any(module.kind == "DECODER" for module in found):
        raise Unwell("there is no decoder among them, so nothing can be written")


def _symptomless(numbers: dict[str, float]) -> Iterator[str]:
    if not numbers:
        yield "no numbers: its /metrics cannot be read from here (--metrics URL)"
        return
    found = list(symptoms(numbers))
    if found:
        raise Unwell("; ".join(found))
    open_now = total(numbers, "legonn_sessions_open")
    yield f"its numbers are well: {open_now:.0f} calls open, nothing behind, nothing refused"


def _languages(client: Client, modality: str) -> set[str]:
    """What encoders read; the usual ones if the key may not ask."""
    try:
        return {m.source_language for m in client.modules() if m.modality == modality}
    except PermissionDenied:
        return {"en"} if modality == "SPEECH" else set(SENTENCES)


def _speech(client: Client) -> Iterator[str]:
    for language in sorted(_languages(client, "SPEECH")):
        quiet = np.zeros(SECOND, np.float32)
        transcript = client.transcribe(quiet, SpeechOptions(language=language))
        yield f"{language}: a second of silence was heard as {len(transcript.text.split())} words"


def _translation(client: Client) -> Iterator[str]:
    languages = _languages(client, "TEXT")
    for language, sentence in SENTENCES.items():
        if language in languages:
            translated = client.translate(sentence, source=language)
            if not translated:
                raise Unwell(f"{language}: {sentence!r} was translated to nothing")
            yield f"{language}: {sentence} → {translated}"
