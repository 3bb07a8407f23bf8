"""What import-linter cannot say about who may use what."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.house.source import ROOT, Source, sources

NO_WORLD = {"asyncio", "threading", "time", "random", "socket", "logging", "os", "datetime"}
PURE_ROOMS = (
    "legonn_core.interface",
    "legonn_core.search",
    "legonn_core.runtime.plan",
    "legonn_server.session",
    "legonn_server.routing",
    "legonn_server.language",
    "legonn_server.access",
)
LIGHT_ROOMS = [
    source.module
    for source in sources()
    if source.module.partition(".")[0] in {"legonn", "legonn_server"}
    or source.module.startswith(("legonn_core.interface", "legonn_core.search"))
    or source.module
    in {"legonn_core.errors", "legonn_core.runtime.messages", "legonn_core.runtime.wire"}
    if not source.module.endswith("__main__")
]


def _in_room(module: str, room: str) -> bool:
    return module == room or module.startswith(room + ".")


pure = [s for s in sources() if any(_in_room(s.module, room) for room in PURE_ROOMS)]


@pytest.mark.parametrize("source", pure, ids=str)
def test_policy_knows_no_clock_and_no_world(source: Source):
    assert not source.imported() & NO_WORLD


def test_only_the_named_places_catch_everything():
    """``except Exception`` hides mistakes: it belongs where a process meets its callers.

    The two clients catch what a caller's own audio iterator raises, to raise it again where the
    caller is.
    """
    allowed = (
        "legonn.aio",
        "legonn.client",
        "legonn_core.runtime.host",
        "legonn_core.runtime.isolation",
        "legonn_core.runtime.loader",
        "legonn_core.runtime.process",
        "legonn_core.runtime.served_decoder",
        "legonn_server.backends.embedded",
        "legonn_server.gateway.interceptors",
    )
    guilty = [
        str(source)
        for source in sources()
        if ("except Exception" in source.text or "except BaseException" in source.text)
        and not any(_in_room(source.module, room) for room in allowed)
    ]
    assert not guilty


def test_the_environment_is_read_in_one_place():
    guilty = [
        str(source)
        for source in sources()
        if _in_room(source.module, "legonn_server")
        and not _in_room(source.module, "legonn_server.config")
        and ("os.environ" in source.text or "os.getenv" in source.text)
    ]
    assert not guilty


def test_the_front_starts_without_torch():
    """As real imports, because a package's __init__ runs though no import line names it."""
    program = (
        "import importlib, sys\n"
        f"for name in {LIGHT_ROOMS!r}:\n"
        "    importlib.import_module(name)\n"
        "heavy = {'torch', 'torchaudio', 'sentencepiece', 'safetensors'} & set(sys.modules)\n"
        "sys.exit(f'imported {sorted(heavy)}' if heavy else 0)\n"
    )
    path = ":".join(str(ROOT / folder) for folder in (".", "server", "protos/python"))
    result = subprocess.run(
        [sys.executable, "-c", program],
        env={"PYTHONPATH": path, "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert result.returncode == 0, result.stderr
