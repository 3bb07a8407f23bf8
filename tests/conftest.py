"""What holds for all tests."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import settings

# Tiny networks gain nothing from threads, and sums in one order repeat; read when torch is loaded.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# A busy machine is not a failing test: time is bounded once, by pytest-timeout.
settings.register_profile("legonn", deadline=None, print_blob=True)
settings.load_profile("legonn")


@pytest.fixture(scope="session")
def tiny_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A module store with real, tiny, untrained modules; not to be written to."""
    from tests.support.tiny import write_store  # torch is loaded only where it is used

    return write_store(tmp_path_factory.mktemp("tiny") / "store")


@pytest.fixture(scope="session")
def triton_session(tiny_store: Path, tmp_path_factory: pytest.TempPathFactory):
    """Two real Triton servers over one repository of tiny modules."""
    from tests.support.triton import serving  # its client library is an extra

    with serving(tiny_store, tmp_path_factory.mktemp("triton")) as servers:
        yield servers


@pytest.fixture
def triton_servers(triton_session):
    """The same, both alive when the test begins."""
    triton_session.ensure()
    return triton_session
