"""What the protos promise in general, checked on the descriptors of the committed stubs."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from google.protobuf import descriptor_pool

from legonn.v1 import (  # noqa: F401 - importing registers the files
    module_service_pb2,
    speech_service_pb2,
    translation_service_pb2,
)

PROTOS = Path(__file__).resolve().parents[2] / "protos/legonn/v1"
SERVICES = {
    "SpeechService": ["Recognize", "StreamingRecognize"],
    "TranslationService": ["Translate", "StreamingTranslate"],
    "ModuleService": [
        *("ListModules", "GetModule", "LoadModule", "UnloadModule", "SetRoute", "GetRoutes"),
        "WatchModules",
    ],
}


@pytest.mark.parametrize("name", SERVICES)
def test_the_services_are_the_settled_ones(name):
    service = descriptor_pool.Default().FindServiceByName(f"legonn.v1.{name}")
    assert [method.name for method in service.methods] == SERVICES[name]


@pytest.mark.parametrize("path", sorted(PROTOS.glob("*_service.proto")), ids=lambda path: path.stem)
def test_a_call_says_its_name_and_its_statuses(path):
    text = path.read_text("utf-8")
    calls = re.findall(r"((?: *//[^\n]*\n)+) *rpc (\w+)\(", text)
    assert len(calls) == text.count(" rpc ")
    for comment, name in calls:
        words = " ".join(line.strip().removeprefix("//").strip() for line in comment.splitlines())
        assert words.startswith(f"{name} ") and "Statuses: " in words, name


def test_streams_begin_with_a_config_and_number_their_answers():
    pool = descriptor_pool.Default()
    for call in ("StreamingRecognize", "StreamingTranslate"):
        request = pool.FindMessageTypeByName(f"legonn.v1.{call}Request")
        response = pool.FindMessageTypeByName(f"legonn.v1.{call}Response")
        assert request.oneofs[0].fields[0].name == "config"
        assert response.oneofs[0].fields[0].name == "started"
        assert response.fields_by_name["sequence"].number == 1
