"""The captions page from outside: a browser with a microphone, a server that comes and goes."""

from __future__ import annotations

import io
import itertools
import json
import re
import signal
import time
from pathlib import Path

import pytest
import soundfile
import webvtt
from selenium.webdriver.common.by import By

from tests.browser.measure import heard, once
from tests.browser.speech import RATE, over_grpc, recording, talk
from tests.support.browser import Browser, browser
from tests.support.process import ROOT, ServerProcess

pytestmark = [pytest.mark.browser, pytest.mark.timeout(400)]

WATCH = (Path(__file__).parent / "watch.js").read_text(encoding="utf-8")
STATE_TEXT = "document.getElementById('state-text').textContent"
HOLDER = """
    window.__holder = new WebSocket('/v1/captions', 'legonn.captions.v1');
    const config = {encoding: 'AUDIO_ENCODING_LINEAR16', sampleRateHertz: 16000};
    window.__holder.onopen = () => window.__holder.send(JSON.stringify({config}));
"""
CLIP = ROOT / "tests/data/jfk.flac"


def choose_file(window: Browser, path: Path) -> None:
    """What a person does with the file dialog."""
    window.driver.find_element(By.ID, "file").send_keys(str(path))


def check_quiet(window: Browser, server: ServerProcess) -> None:
    """No committed character changed, no complaint, and nobody else was asked for anything."""
    assert window.js("return window.__marks") > 0
    assert window.js("return window.__broken") == []
    assert window.complaints() == []
    assert window.hosts() == {server.page.split("/")[2]}


def test_a_microphone_is_captioned_as_grpc_would(tmp_path: Path, server: ServerProcess):
    with browser(tmp_path, talk(4)) as window:
        window.open(server.page)
        window.js(WATCH)
        window.click("start")
        assert window.wait_for_state("live")
        window.wait_for("return document.querySelectorAll('#lines .word.solid').length > 5")
        window.wait_for("return document.querySelectorAll('#transcript p').length >= 4")
        window.click("start")
        assert window.wait_for_state("ended", "failed") == "ended"
        sent = window.audio_sent()
        assert len(sent) > 2 * RATE * 6
        assert window.text()
        assert window.text() == over_grpc(server.address, sent)
        check_quiet(window, server)


def test_the_gateway_may_die_in_mid_speech(tmp_path: Path, window: Browser):
    """Killed without a word while a sentence is half committed, and started again."""
    samples = talk(6)
    with ServerProcess() as server:
        window.open(server.page)
        window.js(WATCH)
        choose_file(window, recording(tmp_path, samples))
        window.wait_for("return document.querySelectorAll('#transcript p').length >= 2")
        window.wait_for(
            "return document.querySelector('#transcript p:last-child .word.solid') !== null"
        )
        server.end(signal.SIGKILL)
        window.wait_for_state("reconnecting")
        committed = window.js(
            "return [...document.querySelectorAll('.word.solid')].map((w) => w.textContent)"
        )
        assert committed
        time.sleep(1)
        server.start()
        assert window.wait_for_state("ended", "failed") == "ended"
        # Where the server was away until the file ended, all is caught up in a moment.
        states = window.js("return window.__states")
        assert any(re.search(r"\d+ words? recovered", state) for state in states), states
        pcm = (samples * 32768).round().clip(-32768, 32767).astype("<i2")
        stored, _ = soundfile.read(tmp_path / "talk.wav", dtype="int16")
        assert abs(stored.astype(int) - pcm.astype(int)).max() <= 1
        assert window.text() == over_grpc(server.address, stored.tobytes())
        assert window.js("return window.__broken") == []
        segments = json.loads(window.saved("json"))["segments"]
        starts = [one["start"] for one in segments]
        assert starts == sorted(starts)
        assert all(one["end"] <= two["start"] + 0.001 for one, two in itertools.pairwise(segments))


def test_the_clip_is_captioned_and_its_files_parse(window: Browser, server: ServerProcess):
    window.open(server.page)
    window.js(WATCH)
    window.click("clip")
    window.wait_for_state("live")
    assert window.wait_for_state("ended", "failed") == "ended"
    text = window.text()
    stored, _ = soundfile.read(CLIP, dtype="int16")
    assert text == over_grpc(server.address, stored.tobytes())
    vtt = webvtt.from_buffer(io.StringIO(window.saved("vtt")), "vtt").captions
    srt = webvtt.from_buffer(io.StringIO(window.saved("srt")), "srt").captions
    assert " ".join(" ".join(cue.lines) for cue in vtt) == text
    assert [(one.start, one.end, one.text) for one in srt] == [
        (one.start, one.end, one.text) for one in vtt
    ]
    assert all(len(line) <= 42 for cue in vtt for line in cue.lines)
    assert all(1 <= len(cue.lines) <= 2 for cue in vtt)
    assert all(one.start_in_seconds < one.end_in_seconds for one in vtt)
    assert all(one.end_in_seconds <= two.start_in_seconds for one, two in itertools.pairwise(vtt))
    assert window.saved("txt").split() == text.split()
    found = json.loads(window.saved("json"))
    assert sum(len(one["words"]) for one in found["segments"]) == len(text.split())
    assert len(found["delays"]) == len(text.split())
    assert window.js("return document.getElementById('delay-value').textContent").endswith(" s")
    check_quiet(window, server)


def test_nothing_is_lost_with_the_server(tmp_path: Path, window: Browser):
    """It writes SRT and VTT; without it a sentence says so, and the page writes what it can."""
    with ServerProcess() as server:
        window.open(server.page)
        choose_file(window, recording(tmp_path, talk(1)))
        window.wait_for_state("ended")
    window.click("save-vtt")
    window.wait_for("return document.getElementById('notice').textContent.includes('TXT and JSON')")
    assert window.saved("txt").split() == window.text().split() != []
    assert json.loads(window.saved("json"))["segments"]


def test_speech_goes_on_after_stop_and_start(
    tmp_path: Path, window: Browser, server: ServerProcess
):
    window.open(server.page)
    window.js(WATCH)
    file = recording(tmp_path, talk(1))
    for count in (1, 2):
        choose_file(window, file)
        window.wait_for(f"return document.querySelectorAll('#transcript p').length >= {count}")
        window.wait_for_state("ended")
    first, second = json.loads(window.saved("json"))["segments"]
    assert first["text"] == second["text"]
    assert second["start"] >= first["end"]
    assert window.js("return window.__broken") == []


def test_a_full_server_is_waited_for(tmp_path: Path):
    with ServerProcess(LEGONN_ADMISSION__MAX_STREAMS="1") as server, browser(tmp_path) as window:
        window.open(server.page)
        window.js(HOLDER)
        time.sleep(1)
        choose_file(window, recording(tmp_path, talk(1)))
        window.wait_for(f"return {STATE_TEXT}.startsWith('Waiting: all 1 places')")
        window.js("window.__holder.close()")
        assert window.wait_for_state("ended", "failed") == "ended"
        assert window.text()


@pytest.mark.slow
@pytest.mark.timeout(2400)
def test_the_shipped_modules_read_the_same_by_both_doors():
    """A real voice through the microphone: the page shows what gRPC makes of what was sent."""
    with ServerProcess("embedded") as server:
        found = once(server, heard(CLIP))
    assert found["seconds"] >= 11
    assert len(found["text"].split()) > 15
    assert found["text"] == found["text_over_grpc"]
    assert len(found["words"]) == len(found["text"].split())
    assert all(word["committed"] >= word["shown"] for word in found["words"])
