"""``legonn listen``: live captions of what the microphone hears, in the terminal."""

from __future__ import annotations

import argparse
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress

from legonn import audio, captions, live_view
from legonn.cli.caption_options import add_shape, checked_kind, rules_of, write_file
from legonn.cli.connection import add_address
from legonn.client import Client
from legonn.microphone import Microphone, sound_api
from legonn.streams import Event, Final, SpeechOptions

HELP = "caption what the microphone hears"
EXAMPLES = """examples:
  legonn listen                           speak; Ctrl-C ends
  legonn listen --out talk.vtt            keep what was said as captions
  legonn listen --list-devices            which microphones there are
  legonn listen --from talk.wav           a recording in place of the microphone, at its own pace

White words are settled and stay; dim ones may still change. The line below says how the connection
is and how long after a sound its words were shown. Needs `pip install 'legonn[microphone]'`."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument(
        "--device", metavar="DEVICE", help="number or part of the name; default the system's choice"
    )
    parser.add_argument("--list-devices", action="store_true", help="list the devices and end")
    parser.add_argument(
        "--from", dest="source", metavar="FILE", help="play a recording instead of listening"
    )
    parser.add_argument(
        "--language", default="en", metavar="CODE", help="the spoken language; default en"
    )
    parser.add_argument(
        "--phrase", action="append", default=[], metavar="TEXT", help="is likely said; repeatable"
    )
    parser.add_argument("--out", metavar="FILE", help="write captions there: .vtt, .srt or .txt")
    add_shape(parser)
    add_address(parser)


def run(arguments: argparse.Namespace) -> int:
    """Listen until Ctrl-C."""
    if arguments.list_devices:
        print(sound_api().query_devices())
        return 0
    if arguments.out:
        checked_kind(arguments.out)  # better now than after an hour of talk
    rules = rules_of(arguments)
    options = SpeechOptions(
        language=arguments.language, phrases=dict.fromkeys(arguments.phrase, 3.0)
    )
    finals: list[Final] = []
    with Client(arguments.address) as client:
        try:
            _listen(client, options, arguments, finals)
        finally:
            if arguments.out and finals:
                write_file(arguments.out, finals, rules, arguments.language)
    return 0


def _listen(
    client: Client, options: SpeechOptions, arguments: argparse.Namespace, finals: list[Final]
) -> None:
    if arguments.source:
        started = time.monotonic()
        with audio.open_audio(arguments.source) as file:
            rate = file.sample_rate_hertz
            chunks = audio.paced(file.chunks(chunk_ms=100), rate)
            events = client.stream(chunks, options, sample_rate_hertz=rate)
            show(events, finals, age_s=lambda place: time.monotonic() - started - place)
        return
    device = arguments.device
    with Microphone(int(device) if device and device.isdigit() else device) as microphone:
        rate = microphone.sample_rate_hertz
        events = client.stream(microphone, options, sample_rate_hertz=rate)
        try:
            show(events, finals, age_s=microphone.age_s, level=lambda: microphone.level)
        except KeyboardInterrupt:
            # Ctrl-C ends the listening, not the session: the last words still come.
            microphone.stop()
            with suppress(KeyboardInterrupt):
                show(events, finals, age_s=microphone.age_s)


def show(
    events: Iterator[Event],
    finals: list[Final],
    *,
    age_s: Callable[[float], float],
    level: Callable[[], float] | None = None,
) -> None:
    """Draw a stream as it comes.

    Args:
        events: Of one stream.
        finals: Gets the finals.
        age_s: How long ago a position of the audio was heard.
        level: How loud it is now, in [0, 1].
    """
    status = live_view.Status()
    terminal = captions.Terminal(sys.stdout)

    def footer() -> str:
        columns = shutil.get_terminal_size().columns
        return live_view.status_line(status, level=level() if level else None, columns=columns)

    try:
        terminal.draw_footer(footer())
        for event in events:
            end_s = getattr(event, "end_s", None)
            status = live_view.after(
                status, event, delay_s=max(0.0, age_s(end_s)) if end_s is not None else None
            )
            if isinstance(event, Final):
                finals.append(event)
            terminal.show(event, footer=footer())
    finally:
        terminal.close()
