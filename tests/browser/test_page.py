"""The page as a page: reading it, pressing it, without eyes, without https, as an overlay."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

from tests.browser.speech import recording, talk
from tests.support.browser import Browser, browser
from tests.support.process import ROOT, ServerProcess

pytestmark = [pytest.mark.browser, pytest.mark.timeout(400)]

AXE = ROOT / "build/browser/node_modules/axe-core/axe.min.js"
ADVICE = "run by make test-browser, which installs axe-core"


def media(window: Browser, **features: str) -> None:
    """Pretend that the reader's system asks for this."""
    found = [{"name": name.replace("_", "-"), "value": value} for name, value in features.items()]
    window.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": found})


def serious(window: Browser) -> list[str]:
    """What axe finds that keeps people out."""
    window.js(AXE.read_text(encoding="utf-8"))
    found = window.driver.execute_async_script(
        "const done = arguments[0]; axe.run().then((found) => done(found.violations))"
    )
    return [
        f"{one['id']}: {[node['html'][:100] for node in one['nodes']]}"
        for one in found
        if one["impact"] in ("serious", "critical")
    ]


def test_axe_finds_nothing_serious(tmp_path: Path, window: Browser, server: ServerProcess):
    assert AXE.exists(), ADVICE
    media(window, prefers_reduced_motion="reduce")
    window.open(server.page)
    assert serious(window) == []
    window.driver.find_element(By.ID, "file").send_keys(str(recording(tmp_path, talk(2))))
    window.wait_for("return document.querySelector('.word.solid') !== null")
    assert serious(window) == []
    window.wait_for_state("ended")
    window.click("doubt")
    for mode in ("transcript", "captions"):
        window.js(f"document.querySelector('input[value={mode}]').click()")
        for scheme in ("dark", "light"):
            media(window, prefers_color_scheme=scheme, prefers_reduced_motion="reduce")
            assert serious(window) == [], (mode, scheme)


def test_only_finals_are_spoken(tmp_path: Path, window: Browser, server: ServerProcess):
    window.open(server.page)
    window.js(
        "window.__said = []; new MutationObserver(() => window.__said.push("
        "[...document.querySelectorAll('#live p')].map((one) => one.textContent)))"
        ".observe(document.getElementById('live'), {childList: true, subtree: true})"
    )
    window.driver.find_element(By.ID, "file").send_keys(str(recording(tmp_path, talk(2))))
    window.wait_for_state("ended")
    partials = [one for one in window.received() if "partial" in one]
    assert len(partials) > 2
    said = window.js("return window.__said")
    assert len(said) == 2
    assert " ".join(said[-1]) == window.text()


def test_everything_is_within_reach_of_the_keyboard(window: Browser, server: ServerProcess):
    window.open(server.page)
    reached = []
    for _ in range(24):
        window.driver.switch_to.active_element.send_keys(Keys.TAB)
        reached.append(
            window.js("return document.activeElement.id || document.activeElement.value")
        )
    for name in ("start", "clip", "open", "route", "captions", "doubt", "text-route", "source"):
        assert name in reached
    window.driver.find_element(By.ID, "clip").send_keys(Keys.ENTER)
    window.wait_for_state("live")
    window.driver.switch_to.active_element.send_keys(Keys.ESCAPE)
    assert window.wait_for_state("ended", "failed") == "ended"


def test_text_is_translated_while_it_is_typed(window: Browser, server: ServerProcess):
    window.open(server.page)
    field = window.driver.find_element(By.ID, "source")
    for typed in ("guten", " tag.", "\nwo?"):
        field.send_keys(typed)
        expected = field.get_attribute("value").upper()
        window.wait_for(f"return document.getElementById('target').textContent === {expected!r}")
    options = window.js(
        "return [...document.getElementById('text-route').options].map((o) => o.text)"
    )
    assert options == ["German → English", "Romanian → English"]
    assert window.complaints() == []


def test_no_microphone_without_a_secure_context(tmp_path: Path):
    """From another machine without https: a sentence that helps, and files that work."""
    with ServerProcess(LEGONN_WEB__ORIGINS="http://captions.test") as server:
        rules = "--host-resolver-rules=MAP captions.test 127.0.0.1"
        with browser(tmp_path, flags=(rules,)) as window:
            window.open(f"http://captions.test:{server.http_port}/")
            assert window.js("return window.isSecureContext") is False
            notice = window.driver.find_element(By.ID, "notice").text
            assert "No microphone here" in notice
            assert f"http://localhost:{server.http_port}" in notice
            assert not window.driver.find_element(By.ID, "start").is_enabled()
            window.driver.find_element(By.ID, "file").send_keys(str(recording(tmp_path, talk(1))))
            assert window.wait_for_state("ended", "failed") == "ended"
            assert window.text()


def test_a_file_without_audio_gets_a_sentence(
    tmp_path: Path, window: Browser, server: ServerProcess
):
    window.open(server.page)
    (tmp_path / "notes.wav").write_text("this is no audio")
    window.driver.find_element(By.ID, "file").send_keys(str(tmp_path / "notes.wav"))
    window.wait_for(
        "return document.getElementById('notice').textContent.includes('cannot be read')"
    )


@pytest.mark.parametrize("size", [(1280, 900), (390, 844)])
def test_nothing_sticks_out(
    size: tuple[int, int], tmp_path: Path, window: Browser, server: ServerProcess
):
    window.driver.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride",
        {"width": size[0], "height": size[1], "deviceScaleFactor": 1, "mobile": size[0] < 500},
    )
    window.open(server.page)
    window.driver.find_element(By.ID, "file").send_keys(str(recording(tmp_path, talk(3))))
    window.wait_for("return document.querySelectorAll('#lines .line').length >= 2")
    assert window.js("return document.documentElement.scrollWidth <= innerWidth")
    widths = window.js(
        "const room = document.getElementById('rollup').getBoundingClientRect();"
        "return [...document.querySelectorAll('#lines .line')].map((one) =>"
        " one.getBoundingClientRect().right - room.right)"
    )
    assert max(widths) <= 0.5


def test_the_overlay_is_captions_and_nothing_else(tmp_path: Path, server: ServerProcess):
    with browser(tmp_path, talk(2)) as window:
        window.open(f"{server.page}?overlay=1")
        window.wait_for("return document.querySelector('#lines .word.solid') !== null")
        time.sleep(0.5)
        transparent = "rgba(0, 0, 0, 0)"
        for place in (
            "document.documentElement",
            "document.body",
            "document.getElementById('stage')",
        ):
            assert window.js(f"return getComputedStyle({place}).backgroundColor") == transparent
        visible = window.js(
            "return [...document.querySelectorAll('button, textarea, select, footer, header')]"
            ".filter((one) => one.offsetParent).length"
        )
        assert visible == 0
        box = window.js(
            "const b = document.getElementById('rollup').getBoundingClientRect();"
            "return [b.left / innerWidth, 1 - b.right / innerWidth, 1 - b.bottom / innerHeight]"
        )
        assert min(box) >= 0.049


def test_lines_hold_their_words_and_sound_its_pitch(window: Browser, server: ServerProcess):
    """The pure parts of the page against laws: greedy lines, a resampler that may be cut."""
    window.open(server.page)
    found = window.driver.execute_async_script(
        (Path(__file__).parent / "laws.js").read_text(encoding="utf-8")
    )
    assert found["broken"] == []
    assert found["numCases"] > 300
