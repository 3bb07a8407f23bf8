from __future__ import annotations

import shutil
from pathlib import Path

import pytest


@pytest.fixture
def store(tiny_store: Path, tmp_path: Path) -> Path:
    """A copy of the tiny modules that a test may spoil."""
    return Path(shutil.copytree(tiny_store, tmp_path / "store"))
