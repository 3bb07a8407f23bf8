"""What a user gets: four packages, the licence, and nothing else."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from email.parser import Parser

import pytest

from tests.house.source import ROOT

PAGE = "legonn_server/gateway/web/page/"
TOP_LEVEL = {"legonn", "legonn_core", "legonn_loadtest", "legonn_server"}


def built(folder, kind: str) -> zipfile.ZipFile:
    program = f"import sys; from hatchling.build import {kind}; print({kind}(sys.argv[1]))"
    result = subprocess.run(
        [sys.executable, "-c", program, str(folder)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    return zipfile.ZipFile(folder / result.stdout.split()[-1])


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    with built(tmp_path_factory.mktemp("wheel"), "build_wheel") as archive:
        yield archive


def test_only_our_four_packages_are_importable(wheel):
    roots = {name.partition("/")[0] for name in wheel.namelist()}
    assert {root for root in roots if not root.endswith((".dist-info", ".data"))} == TOP_LEVEL


def test_an_editable_install_leaves_no_folder_that_hides_a_package(tmp_path):
    with built(tmp_path, "build_editable") as archive:
        roots = {name.partition("/")[0] for name in archive.namelist() if "/" in name}
    assert not roots & TOP_LEVEL


def test_what_triton_needs_travels_outside_the_packages(wheel):
    assert any(
        name.endswith(".data/data/share/legonn/triton/model.py") for name in wheel.namelist()
    )


def test_no_tests_weights_or_caches_travel(wheel):
    unwanted = ("tests/", "test_", "__pycache__", ".safetensors", ".flac", "card.toml")
    shipped = f"{PAGE}jfk.flac"  # the clip that the captions page plays
    names = [name for name in wheel.namelist() if name != shipped]
    assert not [name for name in names if any(word in name for word in unwanted)]


def test_the_page_travels_whole(wheel):
    here = {path.name for path in (ROOT / "server" / PAGE).iterdir()}
    there = {name.removeprefix(PAGE) for name in wheel.namelist() if name.startswith(PAGE)}
    assert here == there
    assert {"index.html", "main.js", "style.css", "capture.js", "jfk.flac"} <= there


def test_stubs_types_and_licence_travel(wheel):
    names = set(wheel.namelist())
    assert {f"{package}/py.typed" for package in TOP_LEVEL} <= names
    assert "legonn/v1/speech_service_pb2.py" in names
    assert {"LICENSE", "NOTICE"} <= {name.rpartition("/")[2] for name in names}


def test_the_plain_install_is_the_client(wheel):
    (path,) = (name for name in wheel.namelist() if name.endswith("METADATA"))
    metadata = Parser().parsestr(wheel.read(path).decode())
    plain = [need for need in metadata.get_all("Requires-Dist", []) if "extra ==" not in need]
    assert plain
    assert not [need for need in plain if need.startswith(("torch", "pydantic", "safetensors"))]
    assert all("==" in need for need in plain)


def test_the_commands_lead_somewhere(wheel):
    (path,) = (name for name in wheel.namelist() if name.endswith("entry_points.txt"))
    lines = wheel.read(path).decode().splitlines()
    modules = [line.split("=")[1].strip().partition(":")[0] for line in lines if "=" in line]
    names = set(wheel.namelist())
    for module in modules:
        file = module.replace(".", "/")
        assert f"{file}.py" in names or f"{file}/__init__.py" in names, f"{module} is not there"
