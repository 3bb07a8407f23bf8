"""The whole command against a fake server that hears "hello" and translates by shouting."""

from __future__ import annotations

import json

import grpc
import numpy as np
import pytest
import soundfile

from legonn_loadtest import quality, report
from tests.support.fake_legonn import FakeLegonn, refuse, serving

NOWHERE = "127.0.0.1:1"


@pytest.fixture
def server(monkeypatch):
    with serving() as fake:
        monkeypatch.setenv("LEGONN_ADDRESS", fake.address)
        yield fake


@pytest.fixture
def speech(tmp_path):
    """Four recordings of half a second; in one of them more is said than the fake hears."""
    folder = tmp_path / "greetings"
    (folder / "flac").mkdir(parents=True)
    rows = ["id\tpath\tduration_s\ttranscript\tspeaker\tnormalized"]
    for number in range(4):
        path = f"flac/{number}.flac"
        soundfile.write(folder / path, np.zeros(8000, np.int16), 16000)
        spoken = "“Hello,” twenty" if number == 3 else "Hello!"
        rows.append(f"r{number}\t{path}\t0.5\t{spoken.replace('twenty', '20')}\tx\t{spoken}")
    (folder / "greetings.tsv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    return folder


@pytest.fixture
def text(tmp_path):
    path = tmp_path / "tiny.de-en.tsv"
    rows = [f"satz nummer {number} ist da\tSATZ NUMMER {number} IST DA" for number in range(70)]
    path.write_text("\n".join(rows) + "\n", encoding="utf-8")
    return path


def test_a_run_from_end_to_end(server, speech, text, tmp_path, capsys):
    raw = tmp_path / "raw.json"
    words = ["--asr", str(speech), "--mt", f"{text}:de", "--json", str(raw)]
    assert quality.main(words) == 0
    out, err = capsys.readouterr()
    assert "WER 20.0 %" in out and "BLEU 100.0" in out and "chrF 100.0" in out
    assert "all promises kept in 4 streams" in out and "sacrebleu|nrefs:1" in out
    assert "greetings: 4 of 4" in err and "tiny.de-en: 70 of 70" in err
    assert sorted(map(len, server.batches)) == [6, 32, 32]
    assert all(config.interim_results for config in server.configs)

    found = json.loads(raw.read_text(encoding="utf-8"))
    heard, translated = found["results"]
    assert [one["ref"] for one in found["modules"]] == ["decoder-en/1", "text-de/1"]
    assert heard["modules"] == ["speech-en/1 → decoder-en/1"]
    assert [one["name"] for one in heard["scores"]] == ["WER", "WER (as written)"]
    assert heard["audio_s"] == 2.0 and heard["real_time_factor"] > 0
    assert len(translated["examples"]) == 50
    example = {"name": "r3", "reference": "“Hello,” twenty", "hypothesis": "hello"}
    assert heard["examples"][3] == example

    assert quality.main(["--table", str(raw)]) == 0
    table = capsys.readouterr().out.splitlines()
    assert len(table) == 2 + 4 and all(line.startswith("| ") for line in table)
    assert "| text-de/1 → decoder-en/1 | BLEU 100.0 |" in table[4]


def test_paced_measures_latencies(server, speech, capsys):
    assert quality.main(["--asr", str(speech), "--paced", "--limit", "2", "--streams", "2"]) == 0
    out, _ = capsys.readouterr()
    assert "first sample to first text" in out and "end of segment to final" in out
    assert len(server.configs) == 2 and "paced" in out


def test_without_interim_results(server, speech, capsys):
    assert quality.main(["--asr", str(speech), "--interim", "off"]) == 0
    assert not any(config.interim_results for config in server.configs)


def test_what_fails_is_scored_as_empty_and_named(server, text, capsys):
    lines = text.read_text(encoding="utf-8").splitlines()
    text.write_text("\n".join([*lines[:9], "fail\tnothing"]), encoding="utf-8")
    assert quality.main(["--mt", f"{text}:de"]) == 1
    out, _ = capsys.readouterr()
    assert "10, 1 failed" in out and "row 10: the text cannot be read" in out


class SecondIsRefused(FakeLegonn):
    def StreamingRecognize(self, request_iterator, context):  # noqa: N802 - the protos' own name
        if len(self.configs) == 1:
            self.configs.append(None)
            # grpc.aio hides a status that comes while it still writes.
            list(request_iterator)
            # What may be tried again, the client tries again.
            refuse(context, grpc.StatusCode.INVALID_ARGUMENT, "BAD_AUDIO", "no sound")
        yield from super().StreamingRecognize(request_iterator, context)


def test_a_stream_that_fails_stops_no_other(speech, capsys):
    with serving(SecondIsRefused()) as fake:
        words = ["--asr", str(speech), "--streams", "1", "--address", fake.address]
        assert quality.main(words) == 1
    out, _ = capsys.readouterr()
    assert "4, 1 failed" in out and "r1: no sound" in out


class WithoutTheFirst(FakeLegonn):
    left_out = 0

    def StreamingRecognize(self, request_iterator, context):  # noqa: N802 - the protos' own name
        answers = super().StreamingRecognize(request_iterator, context)
        yield from (answer for i, answer in enumerate(answers) if i != self.left_out)


class WithoutTheSecond(WithoutTheFirst):
    left_out = 1


@pytest.mark.parametrize(
    ("server", "told"),
    [
        (WithoutTheFirst, "r0: started is not the first, or twice"),
        (WithoutTheSecond, "r0: sequence has a gap"),
    ],
)
def test_a_broken_promise_is_told(server, told, speech, capsys):
    with serving(server()) as fake:
        words = ["--asr", str(speech), "--limit", "1", "--address", fake.address]
        assert quality.main(words) == 1
    assert told in capsys.readouterr().out


def test_without_a_server_it_says_how_to_start_one(speech, capsys):
    assert quality.main(["--asr", str(speech), "--address", NOWHERE]) == 1
    _, err = capsys.readouterr()
    assert f"no server answers at {NOWHERE}" in err and "legonn serve" in err


class ReadsNothing(FakeLegonn):
    def Translate(self, request, context):  # noqa: N802 - the protos' own name
        refuse(context, grpc.StatusCode.NOT_FOUND, "NO_ROUTE", "no module reads xx")


def test_a_language_that_nobody_serves_ends_the_run(text, capsys):
    with serving(ReadsNothing()) as fake:
        assert quality.main(["--mt", f"{text}:xx", "--address", fake.address]) == 1
    assert capsys.readouterr().err == "quality: no module reads xx\n"


def test_sets_that_cannot_be_read(speech, text, tmp_path, capsys):
    def says(*words):
        assert quality.main(words) == 1
        return capsys.readouterr().err

    assert "none: no such folder" in says("--asr", str(tmp_path / "none"))
    assert "no table flac.tsv" in says("--asr", str(speech / "flac"))
    assert "no such file" in says("--mt", f"{tmp_path}/none.tsv:de")
    text.write_text("a\tb\nno tab\n", encoding="utf-8")
    assert "line 2 has no tab" in says("--mt", f"{text}:de")
    (speech / "flac/2.flac").unlink()
    assert "r2: no such file" in says("--asr", str(speech))
    (speech / "greetings.tsv").write_text("id\tpath\n", encoding="utf-8")
    assert "no column transcript, normalized" in says("--asr", str(speech))
    assert "not the JSON of a quality run" in says("--table", str(text))


@pytest.mark.parametrize("words", [[], ["--mt", "file"], ["--asr", "x", "--streams", "0"]])
def test_wrong_usage(words):
    with pytest.raises(SystemExit) as caught:
        quality.main(words)
    assert caught.value.code == 2


def test_help_teaches(capsys):
    with pytest.raises(SystemExit):
        quality.main(["--help"])
    assert "examples" in capsys.readouterr().out


def test_a_report_comes_back_as_it_was(tmp_path):
    module = report.Module("a/1", "DECODER", "", "", "en", "SERVING", "en/1", "", 1)
    written = report.Report("2026-01-01", "1", 2, True, False, None, (module,))
    report.write(written, tmp_path / "raw.json")
    assert report.read(tmp_path / "raw.json") == written
