from __future__ import annotations

from pathlib import Path

import pytest

from legonn_core.modules.registry import LoadedModule, load_module
from tests.support.tiny import DECODER, GERMAN, SPEECH


@pytest.fixture(scope="session")
def speech_module(tiny_store: Path) -> LoadedModule:
    return load_module(tiny_store, SPEECH)


@pytest.fixture(scope="session")
def text_module(tiny_store: Path) -> LoadedModule:
    return load_module(tiny_store, GERMAN)


@pytest.fixture(scope="session")
def decoder_module(tiny_store: Path) -> LoadedModule:
    return load_module(tiny_store, DECODER)
