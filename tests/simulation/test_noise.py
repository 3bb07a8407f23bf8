"""Sounds in which nobody speaks give no words: the shipped modules under the server's sessions.

``make test-noise`` plays ten minutes of each; ``make test`` a few seconds, which reach into a
second segment.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import soundfile

from legonn_server.session import commands as c
from tests.support import sounds
from tests.support.engines import Engines

ROOT = Path(__file__).parents[2]
SECONDS = float(os.environ.get("NOISE_SECONDS") or 6.0)
SOUNDS = {
    "silence": lambda: sounds.silence(SECONDS),
    "a quiet microphone": lambda: sounds.silence(SECONDS, level=0.0005),
    "hiss": lambda: sounds.white(SECONDS, level=0.3),
    "rumble": lambda: sounds.pink(SECONDS, level=0.9),
    "music": lambda: sounds.music(SECONDS, level=0.3),
    "loud music": lambda: sounds.music(SECONDS, level=0.9, beat_s=0.6),
}

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300 + 6 * SECONDS)]


@pytest.fixture(scope="module")
def engines() -> Engines:
    return Engines(ROOT / "modules", "speech-en/1", "decoder-en/1")


@pytest.mark.parametrize("name", SOUNDS)
async def test_nobody_spoke_and_nothing_was_written(engines: Engines, name: str):
    emitted = await engines.hear(SOUNDS[name]())
    shown = [one for one in emitted if isinstance(one, c.EmitPartial | c.EmitFinal)]
    texts = [
        one.stable_text + one.tail_text
        if isinstance(one, c.EmitPartial)
        else one.hypotheses[0].text
        for one in shown
    ]
    assert not any(texts), texts
    assert isinstance(emitted[-1], c.CloseStream)
    total = emitted[-1].final_samples + emitted[-1].nonspeech_samples
    assert total == int(SECONDS * sounds.RATE_HERTZ)


async def test_silence_is_never_decoded_and_speech_still_is(engines: Engines):
    engines.num_calls.clear()
    await engines.hear(sounds.silence(SECONDS))
    assert engines.num_calls["decode"] == 0
    speech, rate = soundfile.read(ROOT / "tests/data/jfk.flac", dtype="float32")
    assert rate == sounds.RATE_HERTZ
    emitted = await engines.hear(speech, interim_results=False)
    text = " ".join(one.hypotheses[0].text for one in emitted if isinstance(one, c.EmitFinal))
    assert "country" in text.lower() or "you can do" in text.lower()
