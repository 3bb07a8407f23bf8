from __future__ import annotations

import io
import json
import sys
from importlib.metadata import EntryPoint

import grpc
import pytest
from grpc_health.v1 import health_pb2

from legonn.cli import commands, main
from legonn.cli.progress import Progress
from legonn.cli.text_stream import settling

NOWHERE = "127.0.0.1:1"


def usage_error(*words):
    with pytest.raises(SystemExit) as caught:
        main(words)
    return caught.value.code


def test_transcribe_prints_the_text(server, wav, capsys):
    assert main(["transcribe", str(wav)]) == 0
    assert capsys.readouterr() == ("hello\n", "")
    assert not server.configs[0].interim_results


def test_transcribe_json(server, wav, capsys):
    assert main(["transcribe", "--json", str(wav)]) == 0
    assert json.loads(capsys.readouterr().out) == {
        "file": str(wav),
        "text": "hello",
        "words": [{"word": "hello", "start_s": 0.25, "end_s": 0.5, "confidence": 0.5}],
    }


def test_transcribe_live_where_there_is_no_terminal(server, wav, capsys, monkeypatch):
    monkeypatch.setattr("time.sleep", lambda _: None)
    assert main(["transcribe", "--live", str(wav)]) == 0
    assert capsys.readouterr().out == "hello\n"
    assert server.configs[0].interim_results


def test_a_file_that_is_no_audio_stops_no_other(server, wav, tmp_path, capsys):
    words = tmp_path / "words.wav"
    words.write_text("words")
    assert main(["transcribe", str(words), str(wav)]) == 1
    out, err = capsys.readouterr()
    assert out == f"{wav}: hello\n"
    assert err == f"legonn: {words}: not an audio file that can be read here\n"


def test_a_refusal_names_the_file(server, wav, capsys):
    server.refusal = (grpc.StatusCode.NOT_FOUND, "NO_ROUTE", "no module hears xx", None)
    assert main(["transcribe", "--language", "xx", str(wav)]) == 1
    assert capsys.readouterr().err == f"legonn: {wav}: no module hears xx\n"


def test_without_a_server_it_says_how_to_start_one(wav, capsys):
    for line in (
        ["transcribe", str(wav), str(wav)],
        ["translate", "--from", "de", "Hallo"],
        ["modules"],
    ):
        assert main([*line, "--address", NOWHERE]) == 1
        err = capsys.readouterr().err
        assert err.startswith(f"legonn: no server answers at {NOWHERE}: ")
        assert "legonn serve" in err and err.count("\n") == 1


def test_translate_texts(server, capsys):
    assert main(["translate", "--from", "de", "eins", "zwei"]) == 0
    assert capsys.readouterr().out == "EINS\nZWEI\n"


def test_translate_stdin_keeps_lines_in_step(server, capsys, monkeypatch):
    raw = io.BytesIO("eins\r\n\n zwei\u2028drei\nfail\nvier".encode())
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(raw, encoding="ascii"))
    assert main(["translate", "--from", "de"]) == 1
    out, err = capsys.readouterr()
    assert out == "EINS\n\n ZWEI\u2028DREI\n\nVIER\n"
    assert "legonn: text 4: the text cannot be read\n" in err
    assert server.batches == [["eins", " zwei\u2028drei", "fail", "vier"]]


def test_translate_file_as_json_in_batches(server, capsys, tmp_path):
    lines = [f"satz {number}" for number in range(100)] + ["", "fail"]
    path = tmp_path / "in.txt"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8-sig")
    assert main(["translate", "--from", "de", "--json", "--file", str(path)]) == 1
    out, err = capsys.readouterr()
    found = [json.loads(line) for line in out.splitlines()]
    assert [one["source"] for one in found] == lines
    assert [one["text"] for one in found] == [*(line.upper() for line in lines[:-1]), None]
    assert [len(batch) for batch in server.batches] == [64, 37]
    assert "63%" in err.replace(" ", "")


def test_translate_bad_input(server, capsys, tmp_path):
    path = tmp_path / "latin.txt"
    path.write_bytes("schön\n".encode("latin-1"))
    assert main(["translate", "--from", "de", "--file", str(path)]) == 1
    assert "not UTF-8" in capsys.readouterr().err
    assert main(["translate", "--from", "de", "--file", str(tmp_path / "none")]) == 1
    assert "No such file" in capsys.readouterr().err
    assert main(["translate", "--from", "de", "--file", str(path), "eins"]) == 2
    assert usage_error("translate", "eins") == 2


def test_modules_table_and_json(server, capsys):
    assert main(["modules"]) == 0
    heading, decoder, encoder = capsys.readouterr().out.splitlines()
    assert heading.split()[:2] == ["MODULE", "KIND"]
    assert decoder.split()[:4] == ["decoder-en/1", "decoder", "en", "en/1"]
    assert encoder.split()[:4] == ["text-de/1", "text", "encoder", "de→en"]
    assert main(["modules", "--json"]) == 0
    assert json.loads(capsys.readouterr().out.splitlines()[1])["name"] == "text-de"


def test_doctor_on_a_healthy_server(server, capsys):
    assert main(["doctor"]) == 0
    out = capsys.readouterr().out
    assert "de: Guten Morgen! → GUTEN MORGEN!" in out and out.endswith("all is well\n")


def test_doctor_says_what_is_wrong(server, capsys):
    assert main(["doctor", "--address", NOWHERE]) == 1
    assert "legonn serve" in capsys.readouterr().out
    server.health = health_pb2.HealthCheckResponse.NOT_SERVING
    assert main(["doctor"]) == 1
    assert "NOT_SERVING" in capsys.readouterr().out


def test_help_teaches(capsys):
    assert main([]) == 0
    assert "legonn transcribe --live" in capsys.readouterr().out
    for name in commands.OWN:
        assert usage_error(name, "--help") == 0
        assert f"legonn {name}" in capsys.readouterr().out.split("examples:")[1]
    assert usage_error("--version") == 0


def test_wrong_usage(capsys):
    assert usage_error("transcrib") == 2
    assert "there is no command 'transcrib'" in capsys.readouterr().err
    assert usage_error("transcribe") == 2


def test_a_missing_extra_is_a_sentence(monkeypatch, capsys):
    point = EntryPoint("serve", "legonn_of_another_planet.command", commands.GROUP)
    monkeypatch.setattr(commands, "entry_points", lambda **_: [point])
    assert main(["serve"]) == 1
    err = capsys.readouterr().err
    assert "pip install 'legonn[server]'" in err and "legonn_of_another_planet" in err
    monkeypatch.setattr(commands, "entry_points", lambda **_: [])
    assert main(["serve"]) == 1
    assert "pip install 'legonn[server]'" in capsys.readouterr().err


def test_commands_of_others_are_found(monkeypatch):
    class Greet:
        HELP = "say hello"

        def add_arguments(self, parser):
            parser.add_argument("name")

        def run(self, arguments):
            return len(arguments.name)

    monkeypatch.setattr(commands, "greet", Greet(), raising=False)
    point = EntryPoint("greet", "legonn.cli.commands:greet", commands.GROUP)
    monkeypatch.setattr(commands, "entry_points", lambda **_: [point])
    assert "greet" in commands.names()
    assert main(["greet", "you"]) == 3


def test_interrupted(monkeypatch, server, wav, capsys):
    def interrupt(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("legonn.client.Client.stream", interrupt)
    assert main(["transcribe", str(wav)]) == 130


def test_progress_says_each_tenth_once_without_a_terminal():
    out = io.StringIO()
    progress = Progress("talk.wav", 100.0, unit="s", out=out)
    for done in range(0, 101, 5):
        progress.at(done)
    progress.clear()
    assert out.getvalue().splitlines()[0] == "talk.wav:  10% of 100 s"
    assert len(out.getvalue().splitlines()) == 10
    assert sys.stderr is not out


def streamed(monkeypatch, content: bytes) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BufferedReader(io.BytesIO(content))))


def test_translate_a_stream(server, capsys, monkeypatch):
    streamed(monkeypatch, "grüße\n".encode())
    assert main(["translate", "--from", "de", "--stream", "--settle", "wait-4"]) == 0
    assert capsys.readouterr().out == "GRÜSSE\n"
    assert server.configs[0].streaming.wait_words == 4
    streamed(monkeypatch, b"gut")
    assert main(["translate", "--from", "de", "--stream", "--json", "--append-only"]) == 0
    found = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert found == [
        {"segment": 0, "stable": "", "tail": "GUT"},
        {"segment": 0, "text": "GUT", "start": 0, "end": 3},
    ]
    assert server.configs[1].streaming.append_only


def test_translate_a_stream_that_fails(server, capsys, monkeypatch):
    streamed(monkeypatch, b"fail\n")
    assert main(["translate", "--from", "de", "--stream"]) == 1
    assert "characters 0 to 5: the text cannot be read" in capsys.readouterr().err
    streamed(monkeypatch, b"\xff")
    assert main(["translate", "--from", "de", "--stream"]) == 1
    assert "not UTF-8" in capsys.readouterr().err
    assert main(["translate", "--from", "de", "--stream", "eins"]) == 2
    assert usage_error("translate", "--from", "de", "--stream", "--settle", "soon") == 2


@pytest.mark.parametrize(
    ("rule", "policy"),
    [("la-3", "local-agreement"), ("1.5s", "latency-budget"), ("final", "finals-only")],
)
def test_a_rule_is_read(rule, policy):
    assert settling(rule).policy == policy
