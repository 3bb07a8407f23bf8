"""``legonn transcribe``: recordings to text, live or as fast as the server can."""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import replace

from legonn import audio, captions
from legonn.cli.caption_options import add_shape, checked_kind, rules_of, write_file
from legonn.cli.connection import add_address, explain, is_unreachable
from legonn.cli.progress import Progress
from legonn.client import Client
from legonn.errors import BadConfig, LegonnError
from legonn.streams import Final, SpeechOptions, Transcript

HELP = "turn recordings into text"
EXAMPLES = """examples:
  legonn transcribe talk.wav                  the text, as fast as the server can
  legonn transcribe --live talk.wav           as it plays; dim words may still change
  legonn transcribe talk.wav --out talk.vtt    captions: .vtt, .srt or .txt
  legonn transcribe --json *.flac             {"file", "text", "words": [{"word", "start_s", …}]}

WAV, FLAC, Ogg, MP3 and others; any rate from 8 to 48 kHz; channels are mixed to one. A file that
fails is named on stderr, the others go on, and the exit code is 1."""

LONG_S = 30.0  # shorter recordings are done before a progress line could be read


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("files", nargs="+", metavar="FILE", help="audio files")
    parser.add_argument("--live", action="store_true", help="play in real time, as a live caption")
    parser.add_argument("--json", action="store_true", help="print one JSON object a file")
    parser.add_argument(
        "--language", default="en", metavar="CODE", help="the spoken language; default en"
    )
    parser.add_argument(
        "--out", metavar="FILE", help="write captions there too: .vtt, .srt or .txt; one file only"
    )
    add_shape(parser)
    add_address(parser)


def run(arguments: argparse.Namespace) -> int:
    """Transcribe each file; 1 if any failed."""
    if arguments.out:
        if len(arguments.files) > 1:
            raise BadConfig("--out takes the captions of one file")
        checked_kind(arguments.out)
    rules = rules_of(arguments)
    options = SpeechOptions(language=arguments.language, interim_results=arguments.live)
    code = 0
    with Client(arguments.address) as client:
        for name in arguments.files:
            try:
                with audio.open_audio(name) as file:
                    result = _transcribe(client, file, options, arguments=arguments, name=name)
            except LegonnError as error:
                sentence = explain(error, client.address)
                if is_unreachable(error):
                    print(f"legonn: {sentence}", file=sys.stderr)
                    return 1
                named = sentence if sentence.startswith(f"{name}: ") else f"{name}: {sentence}"
                print(f"legonn: {named}", file=sys.stderr)
                code = 1
                continue
            _print(result, name, arguments)
            if arguments.out:
                write_file(arguments.out, result.segments, rules, arguments.language)
    return code


def _transcribe(
    client: Client,
    file: audio.AudioFile,
    options: SpeechOptions,
    *,
    arguments: argparse.Namespace,
    name: str,
) -> Transcript:
    rate = file.sample_rate_hertz
    if arguments.live:
        events = client.stream(audio.paced(file.chunks(), rate), options, sample_rate_hertz=rate)
        # With --json the picture goes beside the data, not into it.
        out = sys.stderr if arguments.json else sys.stdout
        return Transcript(tuple(captions.show(events, out)))
    progress = Progress(
        name,
        file.duration_s,
        unit="s",
        out=sys.stderr,
        is_shown=file.duration_s > LONG_S,
    )
    finals = []
    try:
        offline = replace(options, interim_results=False)
        for event in client.stream(file.chunks(), offline, sample_rate_hertz=rate):
            if isinstance(event, Final):
                finals.append(event)
                progress.at(event.end_s)
    finally:
        progress.clear()
    return Transcript(tuple(finals))


def _print(result: Transcript, name: str, arguments: argparse.Namespace) -> None:
    if arguments.json:
        print(json.dumps(_as_object(result, name), ensure_ascii=False), flush=True)
    elif not arguments.live:
        label = f"{name}: " if len(arguments.files) > 1 else ""
        print(label + result.text, flush=True)


def _as_object(result: Transcript, name: str) -> dict[str, object]:
    words = [
        {
            "word": word.text,
            "start_s": _rounded(word.start_s),
            "end_s": _rounded(word.end_s),
            "confidence": _rounded(word.confidence),
        }
        for word in result.words
    ]
    return {"file": name, "text": result.text, "words": words}


def _rounded(value: float | None) -> float | None:
    """To the millisecond and the tenth of a percent: what is behind is noise of float32."""
    return None if value is None else round(value, 3)
