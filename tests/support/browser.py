"""A headless Chromium with a fake microphone, and what it saw, said and asked for."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
import soundfile
from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait

FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--autoplay-policy=no-user-gesture-required",
    "--use-fake-device-for-media-stream",
    "--use-fake-ui-for-media-stream",
)
PATIENCE_SECONDS = 60


class Browser:
    """One window.

    Attributes:
        driver: Selenium's.
        downloads: Folder that downloads go to.
    """

    def __init__(self, driver: webdriver.Chrome, downloads: Path) -> None:
        self.driver = driver
        self.downloads = downloads
        self._performance: list[dict] = []

    def open(self, url: str) -> None:
        """Load the page and wait until its routes are there."""
        self.driver.get(url)
        self.wait_for("return document.documentElement.dataset.ready === 'true'")

    def click(self, name: str) -> None:
        """Press what has this id."""
        self.driver.find_element(By.ID, name).click()

    def js(self, script: str, *arguments: object) -> object:
        """Run a script in the page."""
        return self.driver.execute_script(script, *arguments)

    def wait_for(self, script: str, seconds: float = PATIENCE_SECONDS) -> object:
        """Wait until a script gives something true."""
        return WebDriverWait(self.driver, seconds, 0.1).until(
            lambda driver: driver.execute_script(script), f"never true: {script}"
        )

    def wait_for_state(self, *states: str, seconds: float = PATIENCE_SECONDS) -> str:
        """Wait until the page says one of these of its connection."""
        script = f"const s = document.getElementById('state').dataset.state; \
            return {json.dumps(states)}.includes(s) && s"
        return str(self.wait_for(script, seconds))

    def text(self) -> str:
        """The words of the transcript."""
        script = "return [...document.querySelectorAll('#transcript p span:not(.word)')] \
            .map((one) => one.textContent).join(' ')"
        return " ".join(str(self.js(script)).split())

    def saved(self, kind: str) -> str:
        """Press a save button and read the file."""
        path = self.downloads / f"captions.{kind}"
        path.unlink(missing_ok=True)
        self.click(f"save-{kind}")  # a real press: Chrome gives scripts one download only
        WebDriverWait(self.driver, PATIENCE_SECONDS, 0.1).until(lambda _: path.exists())
        return path.read_text(encoding="utf-8")

    def complaints(self) -> list[str]:
        """What the console holds of warnings and errors since the last call."""
        return [
            entry["message"]
            for entry in self.driver.get_log("browser")
            if entry["level"] in ("WARNING", "SEVERE")
        ]

    def network(self) -> list[dict]:
        """Every event of the network so far, in Chrome's own words."""
        self._performance += [
            json.loads(entry["message"])["message"] for entry in self.driver.get_log("performance")
        ]
        return self._performance

    def hosts(self) -> set[str]:
        """Hosts that were asked for anything."""
        urls = [
            event["params"]["request"]["url"]
            for event in self.network()
            if event["method"] == "Network.requestWillBeSent"
        ]
        urls += [
            event["params"]["url"]
            for event in self.network()
            if event["method"] == "Network.webSocketCreated"
        ]
        return {
            urlsplit(url).netloc for url in urls if urlsplit(url).scheme in ("http", "https", "ws")
        }

    def received(self) -> list[dict]:
        """What came over the sockets of this window."""
        return [
            json.loads(event["params"]["response"]["payloadData"])
            for event in self.network()
            if event["method"] == "Network.webSocketFrameReceived"
        ]

    def audio_sent(self) -> bytes:
        """The audio that went over the sockets of this window, in order."""
        frames = [
            event["params"]["response"]
            for event in self.network()
            if event["method"] == "Network.webSocketFrameSent"
        ]
        return b"".join(
            base64.b64decode(one["payloadData"]) for one in frames if one["opcode"] == 2
        )


@contextmanager
def browser(
    folder: Path,
    microphone: np.ndarray | None = None,
    *,
    size: tuple[int, int] = (1280, 900),
    flags: tuple[str, ...] = (),
) -> Iterator[Browser]:
    """A new Chromium with an empty profile.

    Args:
        folder: Where profile, downloads and the microphone's file are put.
        microphone: (N,) samples at 16 kHz that are heard once, when the page opens it.
        size: Width and height of the window.
        flags: More flags for Chromium.
    """
    options = webdriver.ChromeOptions()
    options.binary_location = "/usr/bin/chromium"
    own = (f"--user-data-dir={folder / 'profile'}", f"--window-size={size[0]},{size[1]}")
    for flag in (*FLAGS, *own, *flags):
        options.add_argument(flag)
    if microphone is not None:
        file = folder / "microphone.wav"
        soundfile.write(file, microphone, 16_000, subtype="PCM_16")
        options.add_argument(f"--use-file-for-fake-audio-capture={file}%noloop")
    downloads = folder / "downloads"
    downloads.mkdir()
    options.add_experimental_option("prefs", {"download.default_directory": str(downloads)})
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options, Service("/usr/bin/chromedriver"))
    try:
        yield Browser(driver, downloads)
    finally:
        driver.quit()
