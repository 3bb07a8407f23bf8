from __future__ import annotations

import numpy as np
import pytest
import soundfile

from tests.support.fake_legonn import serving


@pytest.fixture
def server(monkeypatch):
    with serving() as fake:
        monkeypatch.setenv("LEGONN_ADDRESS", fake.address)
        yield fake


@pytest.fixture
def samples():
    return (np.arange(-4000, 4000) * 4).astype(np.int16)  # half a second at 16 kHz


@pytest.fixture
def wav(tmp_path, samples):
    path = tmp_path / "ramp.wav"
    soundfile.write(path, samples, 16000, subtype="PCM_16")
    return path
