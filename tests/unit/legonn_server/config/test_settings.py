"""Where settings come from, and what is refused."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from legonn_core.errors import BadConfig
from legonn_server.config.settings import (
    Settings,
    engine_environment,
    leaves,
    load,
    modules_folder,
    printed,
    split_address,
)


@pytest.fixture(autouse=True)
def clean(monkeypatch: pytest.MonkeyPatch):
    import os

    for name in list(os.environ):
        if name.startswith("LEGONN_"):
            monkeypatch.delenv(name)


def test_command_line_beats_environment_beats_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    file = tmp_path / "legonn.toml"
    file.write_text(
        '[server]\nlisten = "127.0.0.1:1"\nmetrics = "127.0.0.1:2"\nthreads = 3\n'
        "[admission]\nmax_streams = 5\n"
    )
    monkeypatch.setenv("LEGONN_SERVER__LISTEN", "127.0.0.1:4")
    monkeypatch.setenv("LEGONN_SERVER__METRICS", "127.0.0.1:5")
    arguments = {"server": {"listen": "127.0.0.1:6"}}
    found = load(arguments, file)
    assert found.server.listen == "127.0.0.1:6"
    assert found.server.metrics == "127.0.0.1:5"
    assert found.server.threads == 3
    assert found.admission.max_streams == 5
    assert found.server.grace_seconds == Settings().server.grace_seconds
    text = printed(found, arguments, file)
    assert 'listen = "127.0.0.1:6"  # command line' in text
    assert 'metrics = "127.0.0.1:5"  # environment' in text
    assert "threads = 3  # file" in text
    assert "grace_seconds = 25.0  # default" in text


def test_what_is_printed_can_be_read_again(tmp_path: Path):
    file = tmp_path / "legonn.toml"
    file.write_text(printed(Settings(), {}))
    assert list(leaves(load({}, file))) == list(leaves(Settings()))
    assert set(tomllib.loads(file.read_text())) == {section for section, _, _ in leaves(Settings())}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("LEGONN_SERVR__LISTEN", "127.0.0.1:1"),
        ("LEGONN_SERVER__LISTN", "127.0.0.1:1"),
        ("LEGONN_LISTEN", "127.0.0.1:1"),
        ("LEGONN_SERVER__LISTEN", "nowhere"),
        ("LEGONN_SERVER__THREADS", "many"),
        ("LEGONN_ENDPOINT__MAX_SEGMENT_MS", "-1"),
    ],
)
def test_a_bad_variable_is_refused(name: str, value: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv(name, value)
    with pytest.raises(BadConfig):
        load({})


def test_the_clients_variable_is_none_of_ours(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("LEGONN_ADDRESS", "127.0.0.1:1")
    assert load({}).server.listen == "127.0.0.1:50051"


@pytest.mark.parametrize(
    "content", ["[server]\nlistn = 1\n", "[servr]\nlisten = 1\n", "x = 1\n", "no toml", "\0"]
)
def test_a_bad_file_is_refused(content: str, tmp_path: Path):
    file = tmp_path / "legonn.toml"
    file.write_text(content)
    with pytest.raises(BadConfig):
        load({}, file)


def test_a_missing_file_is_refused(tmp_path: Path):
    with pytest.raises(BadConfig, match="nowhere"):
        load({}, tmp_path / "nowhere.toml")


def test_modules_are_found_or_said_to_be_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "modules/speech-en/1").mkdir(parents=True)
    monkeypatch.setenv("LEGONN_MODULES", str(tmp_path / "modules"))
    with pytest.raises(BadConfig, match="--modules"):
        modules_folder(Settings())
    (tmp_path / "modules/speech-en/1/card.toml").touch()
    assert modules_folder(Settings()) == tmp_path / "modules"


def test_the_engine_gets_its_threads():
    found = engine_environment(load({"server": {"threads": 2}}))
    assert found["OMP_NUM_THREADS"] == "2"
    assert found["PYTHONPATH"]


def test_addresses():
    assert split_address("127.0.0.1:0") == ("127.0.0.1", 0)
    assert split_address("[::1]:80") == ("::1", 80)
    for nonsense in ("", ":80", "host", "host:", "host:99999", "host:x"):
        with pytest.raises(ValueError, match="HOST:PORT"):
            split_address(nonsense)
