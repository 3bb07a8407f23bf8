from __future__ import annotations

import ast
import json
import re
import subprocess
import sys

import pytest

from legonn_core.errors import BadConfig, UnknownModule
from legonn_core.interface.reference import ModuleDescription, ModuleRef
from legonn_core.interface.tables import read_table
from legonn_core.modules.registry import describe, find_modules, read_card
from legonn_core.runtime import export_command
from legonn_core.runtime.served_model import load
from legonn_core.runtime.triton_repository import (
    TritonExport,
    config_text,
    export,
    model_source,
    parse_model_name,
)
from tests.support.tiny import DECODER, GERMAN, SPEECH

ALL = (DECODER, SPEECH, GERMAN)


def parameter(config: str, name: str) -> str:
    """A string parameter as the server reads it: a text-format string with octal escapes."""
    found = re.search(rf'key: "{name}" value: {{ string_value: "(.*?)" }}', config)
    assert found
    return ast.literal_eval(f'b"{found[1]}"').decode()


@pytest.mark.parametrize("ref", ALL, ids=str)
def test_the_configuration_is_what_the_card_says(tiny_store, ref):
    card = read_card(tiny_store, ref)
    config = config_text(card, TritonExport(slots=7, decoder_instances=3))
    told = json.loads(parameter(config, "DESCRIPTION"))
    assert read_table(ModuleDescription, told) == describe(card)
    assert parameter(config, "SLOTS") == "7"
    is_decoder = ref == DECODER
    assert ("decoupled: true" in config) == is_decoder
    assert ("dynamic_batching { }" in config) == ("model_warmup" in config) == (not is_decoder)
    assert f"KIND_CPU count: {3 if is_decoder else 1} " in config
    if card.chunk:
        assert f'"SAMPLES" data_type: TYPE_FP32 dims: [ {card.chunk.chunk_samples} ]' in config


def test_what_was_measured_to_stall_is_never_written(tiny_store):
    """Queue policies, priorities and delays; a sequence batcher hides that its slots are full."""
    for ref in ALL:
        config = config_text(read_card(tiny_store, ref), TritonExport())
        assert not re.search("queue|priority|preferred|sequence_batching", config)


def test_a_gpu_is_named(tiny_store):
    config = config_text(read_card(tiny_store, SPEECH), TritonExport(kind="gpu", gpu=1))
    assert "kind: KIND_GPU count: 1 gpus: [ 1 ]" in config


@pytest.mark.parametrize(
    "wrong", [{"kind": "tpu"}, {"slots": 0}, {"decoder_instances": 0}, {"idle_seconds": 0.0}]
)
def test_nonsense_is_refused(wrong):
    with pytest.raises(BadConfig):
        TritonExport(**wrong)


def test_a_repository_holds_all_that_a_model_needs(tiny_store, tmp_path):
    found = export(tiny_store, tmp_path / "r", TritonExport(), refs=find_modules(tiny_store))
    assert {one.ref for one in found} == set(ALL)
    for one in found:
        assert one.is_new
        assert parse_model_name(one.name) == one.ref
        folder = tmp_path / "r" / one.name
        assert (folder / "1/model.py").read_text() == model_source().read_text()
        config = (folder / "config.pbtxt").read_text()
        names = ("MODULE", "DESCRIPTION", "SLOTS", "IDLE_SECONDS", "THREADS", "LOAD_NICENESS")
        served = load(folder / "1", {name: parameter(config, name) for name in names}, device="cpu")
        assert served.module.description.ref == one.ref
        assert (served.decoder is not None) == (one.ref == DECODER)
        served.close()


def test_what_is_there_stays_and_takes_new_settings(tiny_store, tmp_path):
    (first,) = export(tiny_store, tmp_path, TritonExport(), refs=[GERMAN])
    card = tmp_path / first.name / "1/store/text-de/1/card.toml"
    before = card.stat()
    (again,) = export(tiny_store, tmp_path, TritonExport(slots=5), refs=[GERMAN])
    assert not again.is_new
    assert card.stat().st_mtime_ns == before.st_mtime_ns
    assert 'string_value: "5"' in (tmp_path / first.name / "config.pbtxt").read_text()


def test_another_build_of_a_version_takes_its_place(tiny_store, tmp_path):
    (tmp_path / "text-de-1-0123456789abcdef").mkdir()
    (tmp_path / "text-de-2-0123456789abcdef").mkdir()
    (one,) = export(tiny_store, tmp_path, TritonExport(), refs=[GERMAN])
    left = {path.name for path in tmp_path.iterdir()}
    assert left == {one.name, "text-de-2-0123456789abcdef"}


def test_an_unknown_version_is_said(tiny_store, tmp_path):
    with pytest.raises(UnknownModule):
        export(tiny_store, tmp_path, TritonExport(), refs=[ModuleRef("nobody", "1")])


def test_the_model_file_is_thin():
    assert len(model_source().read_text().splitlines()) <= 60


def test_the_command_writes_and_explains(tiny_store, tmp_path, capsys):
    import argparse

    parser = argparse.ArgumentParser()
    export_command.add_arguments(parser)
    target, store = str(tmp_path / "r"), str(tiny_store)
    given = ["--triton", target, "--from", store]
    assert export_command.run(parser.parse_args([*given, "text-de/1"])) == 0
    assert capsys.readouterr().out.startswith("text-de/1  written as text-de-1-")
    assert export_command.run(parser.parse_args([*given, "text-de/9"])) == 1
    assert "no module text-de/9" in capsys.readouterr().err
    empty = ["--triton", target, "--from", str(tmp_path)]
    assert export_command.run(parser.parse_args(empty)) == 1
    assert "--from" in capsys.readouterr().err


def test_python_writes_nothing_beside_the_model(tiny_store, tmp_path):
    """A folder that changed is a new model to Triton; the next load would start it anew."""
    (one,) = export(tiny_store, tmp_path / "repository", TritonExport(), refs=[SPEECH])
    folder = tmp_path / "repository" / one.name / "1"
    before = folder.stat().st_mtime_ns, sorted(path.name for path in folder.iterdir())
    (folder / "model.py").write_text("served = 1\n", encoding="utf-8")
    stamp = folder.stat().st_mtime_ns
    command = (
        sys.executable,
        "-I",
        "-c",
        f"import sys; sys.path[:0]=[{str(folder)!r}]; import model",
    )
    subprocess.run(command, check=True, env={"PATH": "/usr/bin:/bin"})
    assert (folder.stat().st_mtime_ns, sorted(p.name for p in folder.iterdir())) == (
        stamp,
        before[1],
    )
