"""The calls of docs/grpcurl.md, made as grpcurl makes them: from what reflection says alone."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest
from google.protobuf import descriptor_pb2, descriptor_pool, json_format, message_factory
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from tests.support.gateway import Running, running

PAGE = Path(__file__).parents[2] / "docs/grpcurl.md"
CALL = re.compile(r"^grpcurl .*$", re.MULTILINE)


def commands() -> list[list[str]]:
    """The words of every command of the page that makes a call."""
    return [
        words
        for line in CALL.findall(PAGE.read_text("utf-8"))
        if "-d" in (words := shlex.split(line))
    ]


@pytest.fixture
async def server():
    async with running() as found:
        yield found


async def ask(server: Running, **question: str) -> reflection_pb2.ServerReflectionResponse:
    stub = reflection_pb2_grpc.ServerReflectionStub(server.channel)
    call = stub.ServerReflectionInfo(iter([reflection_pb2.ServerReflectionRequest(**question)]))
    return await call.read()


async def pool_of(server: Running, service: str) -> descriptor_pool.DescriptorPool:
    """What the server says of a service, in a pool that knows nothing of our stubs."""
    pool = descriptor_pool.DescriptorPool()
    answer = await ask(server, file_containing_symbol=service)
    waiting = list(answer.file_descriptor_response.file_descriptor_proto)
    seen: dict[str, descriptor_pb2.FileDescriptorProto] = {}
    while waiting:
        file = descriptor_pb2.FileDescriptorProto.FromString(waiting.pop())
        if file.name in seen:
            continue
        seen[file.name] = file
        for name in file.dependency:
            found = await ask(server, file_by_filename=name)
            waiting += found.file_descriptor_response.file_descriptor_proto
    added: set[str] = set()

    def add(name: str) -> None:
        if name not in added:
            added.add(name)
            for below in seen[name].dependency:
                add(below)
            pool.Add(seen[name])

    for name in seen:
        add(name)
    return pool


def values(text: str) -> Iterator[object]:
    """JSON values one behind the other, as grpcurl reads them."""
    decoder, place = json.JSONDecoder(), 0
    while place < len(text):
        value, place = decoder.raw_decode(text, place)
        place += len(text[place:]) - len(text[place:].lstrip())
        yield value


@pytest.mark.parametrize("words", commands(), ids=lambda words: f"{words[-1]} {len(words[3])}")
async def test_a_call_of_the_page(words: list[str], server: Running):
    data, method = words[words.index("-d") + 1], words[-1]
    service, name = method.split("/")
    pool = await pool_of(server, service)
    found = pool.FindServiceByName(service).methods_by_name[name]
    given = message_factory.GetMessageClass(found.input_type)
    taken = message_factory.GetMessageClass(found.output_type)
    requests = [
        json_format.ParseDict(value, given(), descriptor_pool=pool) for value in values(data)
    ]
    is_stream = found.client_streaming
    make = server.channel.stream_stream if is_stream else server.channel.unary_unary
    call = make(f"/{method}", given.SerializeToString, taken.FromString)
    if '"config": {}' in data:
        with pytest.raises(grpc.RpcError) as caught:
            await call(requests[0])
        assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
        return
    answers = (
        [one async for one in call(iter(requests))] if is_stream else [await call(requests[0])]
    )
    assert answers
    assert all(json_format.MessageToJson(one, descriptor_pool=pool) for one in answers)


async def test_the_services_are_listed(server: Running):
    answer = await ask(server, list_services="")
    names = {one.name for one in answer.list_services_response.service}
    for words in commands():
        assert words[-1].split("/")[0] in names
    assert len(commands()) >= 9
