"""``legonn doctor``: one check after another, and what to do about the first that fails."""

from __future__ import annotations

import argparse
import platform
from collections.abc import Callable, Iterator

import grpc
from google.protobuf import __version__ as protobuf_version

from legonn import __version__
from legonn.cli.connection import add_address, explain
from legonn.client import Client
from legonn.errors import LegonnError

HELP = "check the server and say what is wrong"
EXAMPLES = """examples:
  legonn doctor                            the server at the default address
  legonn doctor --address gpu-box:50051    another one

Exit code 0 if all is well, else 1."""

# A sentence in each language that a text encoder may read; others are not tried.
SENTENCES = {"de": "Guten Morgen!", "ro": "Bună dimineața!"}
TIMEOUT_S = 10.0

Check = Callable[[Client], Iterator[str]]


class Unwell(Exception):
    """A check that failed: what is wrong, and what to do."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    add_address(parser)


def run(arguments: argparse.Namespace) -> int:
    """Run the checks until one fails."""
    print(
        f"legonn {__version__}, Python {platform.python_version()}, "
        f"gRPC {grpc.__version__}, protobuf {protobuf_version}"
    )
    with Client(arguments.address, timeout_s=TIMEOUT_S) as client:
        for check in (_health, _modules, _translation):
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


def _health(client: Client) -> Iterator[str]:
    status = client.health()
    if status != "SERVING":
        raise Unwell(
            f"the server at {client.address} answers {status}: it is starting, draining or has "
            "lost its engine; wait a little, then read its log"
        )
    yield f"a server answers at {client.address}: {status}"


def _modules(client: Client) -> Iterator[str]:
    found = client.modules()
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


def _translation(client: Client) -> Iterator[str]:
    languages = {m.source_language for m in client.modules() if m.modality == "TEXT"}
    for language, sentence in SENTENCES.items():
        if language in languages:
            translated = client.translate(sentence, source=language)
            if not translated:
                raise Unwell(f"{language}: {sentence!r} was translated to nothing")
            yield f"{language}: {sentence} → {translated}"
