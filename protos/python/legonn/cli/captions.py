"""``legonn captions``: a recording to a caption file that is good to read."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from dataclasses import replace

from legonn import audio, captions_write
from legonn.cli.caption_options import add_shape, checked_kind, rules_of, write_file
from legonn.cli.connection import add_address
from legonn.cli.progress import Progress
from legonn.client import Client
from legonn.streams import Final, SpeechOptions

HELP = "write a recording's captions as WebVTT or SubRip"
EXAMPLES = """examples:
  legonn captions talk.wav --out talk.vtt          for a browser's <track>
  legonn captions talk.mp3 --out talk.srt          for players and editors
  legonn captions talk.wav --max-chars 37 --max-lines 2 --reading-speed 17 --out talk.srt
  legonn captions talk.wav                         WebVTT on standard output

Lines and captions are broken where a reader expects it: at sentences, commas and pauses, never in a
word, a number or a name. Every caption keeps the limits; where speech is faster than reading, it
comes a little later."""

LONG_S = 30.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("file", metavar="FILE", help="audio file")
    parser.add_argument("--out", metavar="FILE", help="ends in .vtt, .srt or .txt; default stdout")
    parser.add_argument(
        "--language", default="en", metavar="CODE", help="the spoken language; default en"
    )
    parser.add_argument(
        "--to", default="", metavar="CODE", help="language of the captions; default the spoken one"
    )
    add_shape(parser)
    add_address(parser)


def run(arguments: argparse.Namespace) -> int:
    """Transcribe, shape, write."""
    rules = rules_of(arguments)
    if arguments.out:
        checked_kind(arguments.out)
    language = arguments.to or arguments.language
    options = SpeechOptions(language=arguments.language, target_language=arguments.to)
    with Client(arguments.address) as client, audio.open_audio(arguments.file) as file:
        finals = list(_finals(client, file, options, name=arguments.file))
    if arguments.out:
        write_file(arguments.out, finals, rules, language)
        print(
            f"{arguments.out}: {sum(len(final.words) for final in finals)} words", file=sys.stderr
        )
    else:
        sys.stdout.write(captions_write.render(finals, "vtt", rules=rules, language=language))
    return 0


def _finals(
    client: Client, file: audio.AudioFile, options: SpeechOptions, *, name: str
) -> Iterator[Final]:
    is_long = file.duration_s > LONG_S
    progress = Progress(name, file.duration_s, unit="s", out=sys.stderr, is_shown=is_long)
    offline = replace(options, interim_results=False)
    rate = file.sample_rate_hertz
    try:
        for event in client.stream(file.chunks(), offline, sample_rate_hertz=rate):
            if isinstance(event, Final):
                progress.at(event.end_s)
                yield event
    finally:
        progress.clear()
