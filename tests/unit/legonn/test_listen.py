"""The microphone, with a sound card made up, and live captions as a terminal shows them."""

from __future__ import annotations

import asyncio
import io
import os
import pty
import subprocess
import sys

import numpy as np
import pyte
import pytest

import legonn
from legonn import captions, live_view, microphone
from legonn.cli import listen
from legonn.streams import Final, Hypothesis, Notice, Partial, Started, Summary


class SoundCard:
    """Stands in for the package sounddevice: hears what the test says."""

    PortAudioError = OSError

    def __init__(self, *, is_broken: bool = False) -> None:
        self.is_broken = is_broken
        self.is_open = False
        self.options: dict[str, object] = {}

    def RawInputStream(self, **options: object) -> SoundCard:  # noqa: N802 - sounddevice's own
        if self.is_broken:
            raise OSError("no default input device")
        self.options = options
        return self

    def start(self) -> None:
        self.is_open = True

    def stop(self) -> None:
        self.is_open = False

    close = stop

    def query_devices(self) -> str:
        return "0 made up"

    def say(self, samples: np.ndarray) -> None:
        self.options["callback"](samples.tobytes(), len(samples), None, None)


def test_a_microphone_is_heard_and_its_delay_measured():
    card, now = SoundCard(), [100.0]
    with legonn.Microphone(api=card, clock=lambda: now[0]) as found:
        card.say(np.full(1600, 16384, np.int16))
        card.say(np.zeros(1600, np.int16))
        assert found.level == 0.0
        now[0] = 100.5
        assert found.age_s(0.2) == pytest.approx(0.3)
        found.stop()
        assert [len(chunk) for chunk in found] == [3200, 3200]
    assert not card.is_open
    assert card.options["samplerate"] == 16_000


async def test_a_microphone_is_read_by_asyncio_too():
    card = SoundCard()
    found = legonn.Microphone(api=card)
    card.say(np.ones(10, np.int16))
    found.stop()
    async with asyncio.timeout(10):
        assert [chunk async for chunk in found] == [np.ones(10, "<i2").tobytes()]


def test_a_microphone_that_nobody_reads_loses_the_newest_and_counts():
    card = SoundCard()
    found = legonn.Microphone(api=card)
    for _ in range(microphone.MAX_WAITING + 3):
        card.say(np.zeros(1, np.int16))
    assert found.num_lost == 3


def test_no_microphone_is_said():
    with pytest.raises(legonn.BadAudio, match="list-devices"):
        legonn.Microphone(api=SoundCard(is_broken=True))


def reading(text: str, *, tail: str = "", end_s: float = 1.0) -> Partial:
    return Partial(0, 1, text, tail, end_s)


def final(text: str) -> Final:
    return Final(0, 0.0, 1.0, 0, 16_000, (Hypothesis(text, 0.9),))


def test_the_status_follows_the_stream():
    status = live_view.Status()
    for event, state in [
        (Started("s-1", "r-1"), "live"),
        (Notice("RECONNECTING", ""), "reconnecting"),
        (Notice("RECOVERED", ""), "recovered"),
        (reading("so"), "live"),
        (final("so it is"), "live"),
        (Summary(1, 1, 0, 1, 0), "ended"),
    ]:
        status = live_view.after(status, event, delay_s=0.4)
        assert status.state == state
    assert (status.delay_s, status.num_words) == (0.4, 3)


@pytest.mark.parametrize("columns", [10, 24, 40, 80])
def test_the_status_line_fits(columns: int):
    screen = pyte.Screen(120, 2)
    pyte.Stream(screen).feed(
        live_view.status_line(live_view.Status("live", 1.25, 40), level=0.2, columns=columns)
    )
    assert len(screen.display[0].rstrip()) < columns
    assert screen.display[0].startswith("● live")


class Screen(io.StringIO):
    """A terminal of 40 by 8 that can be looked at."""

    def __init__(self) -> None:
        super().__init__()
        self.screen = pyte.Screen(40, 8)
        self._stream = pyte.Stream(self.screen)

    def isatty(self) -> bool:
        return True

    def write(self, text: str) -> int:
        self._stream.feed(text.replace("\n", "\r\n"))
        return len(text)

    @property
    def lines(self) -> list[str]:
        return [line.rstrip() for line in self.screen.display]


def test_what_a_person_sees(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("COLUMNS", "40")
    monkeypatch.setenv("LINES", "8")
    monkeypatch.setenv("TERM", "xterm")
    out = Screen()
    monkeypatch.setattr(sys, "stdout", out)
    looks: list[list[str]] = []

    def events():
        for event in (
            Started("s-1", "r-1"),
            reading("and so", tail=" my fellow"),
            final("and so my fellow Americans"),
            Notice("RECONNECTING", "looking for a server"),
            reading("ask", tail=" not"),
        ):
            yield event
            looks.append(out.lines)

    finals: list[Final] = []
    listen.show(events(), finals, age_s=lambda place: 1.3 - place, level=lambda: 0.1)
    assert looks[0][0].startswith("● live")
    assert looks[1][0] == "and so my fellow"
    assert looks[1][1].startswith("● live · 0.3 s behind")
    assert looks[2][0] == "and so my fellow Americans"
    assert "5 words" in looks[2][1]
    assert looks[3][1] == "[looking for a server]"
    assert "reconnecting" in looks[3][2]
    assert looks[4][2] == "ask not"
    assert out.lines[0] == "and so my fellow Americans"
    assert [one.text for one in finals] == ["and so my fellow Americans"]
    assert not any("●" in line for line in out.lines), "the status stays behind"


def test_listen_in_a_terminal(server, wav):
    """The command itself, in a pseudo-terminal, with a recording for a microphone."""
    ours, theirs = pty.openpty()
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "60", "LINES": "10"}
    command = [sys.executable, "-m", "legonn", "listen", "--from", str(wav)]
    with subprocess.Popen(
        [*command, "--address", server.address], stdin=theirs, stdout=theirs, env=environment
    ) as running:
        os.close(theirs)
        content = b""
        while True:
            try:
                content += os.read(ours, 4096)
            except OSError:  # the other end is closed
                break
        assert running.wait(60) == 0
    os.close(ours)
    screen = pyte.Screen(60, 10)
    pyte.ByteStream(screen).feed(content)
    assert screen.display[0].rstrip() == "hello"
    assert captions.DIM.encode() in content
    assert "●".encode() in content


def test_captions_are_written(server, wav, tmp_path, capsys):
    from legonn.cli import main

    out = tmp_path / "talk.vtt"
    assert main(["captions", str(wav), "--out", str(out), "--address", server.address]) == 0
    assert out.read_text().startswith("WEBVTT\nLanguage: en\n\n1\n00:00:00.250 --> ")
    srt = tmp_path / "talk.srt"
    assert main(["transcribe", str(wav), "--out", str(srt), "--address", server.address]) == 0
    assert "\nhello\n" in srt.read_text()
    assert main(["captions", str(wav), "--address", server.address]) == 0
    assert "WEBVTT" in capsys.readouterr().out
    wrong = ["captions", str(wav), "--out", str(tmp_path / "x.doc"), "--address", server.address]
    assert main(wrong) == 1
    assert "name it .vtt" in capsys.readouterr().err
    assert main(["captions", str(wav), "--max-chars", "2", "--address", server.address]) == 1
