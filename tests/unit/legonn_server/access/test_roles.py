"""Every call has its roles; what nobody thought of is closed."""

from __future__ import annotations

import pytest
from starlette.routing import Mount

from legonn.v1 import module_service_pb2, speech_service_pb2, translation_service_pb2
from legonn_core.errors import PermissionDenied
from legonn_server.access.identity import Identity, Role
from legonn_server.access.roles import (
    OPEN,
    PATHS,
    SERVICES,
    needed_by_method,
    needed_by_path,
    require,
)
from legonn_server.gateway.web import site


def test_every_service_of_the_contract_is_listed():
    files = (module_service_pb2, speech_service_pb2, translation_service_pb2)
    names = {
        f"/{service.full_name}/"
        for one in files
        for service in one.DESCRIPTOR.services_by_name.values()
    }
    assert names <= SERVICES.keys()


@pytest.mark.parametrize(
    ("method", "roles"),
    [
        ("/legonn.v1.SpeechService/StreamingRecognize", {Role.SPEECH}),
        ("/legonn.v1.TranslationService/Translate", {Role.TRANSLATE}),
        ("/legonn.v1.ModuleService/ListModules", {Role.ADMIN}),
        ("/grpc.health.v1.Health/Check", set()),
        ("/legonn.v2.SomethingNew/Call", {Role.ADMIN}),
        ("/grpc.health.v1.Health/../../legonn.v1.ModuleService/SetRoute", {Role.ADMIN}),
        ("", {Role.ADMIN}),
    ],
)
def test_methods_need_their_roles(method, roles):
    assert needed_by_method(method) == roles


@pytest.mark.parametrize(
    ("path", "roles"),
    [
        ("/", set()),
        ("/captions.js", set()),
        ("/v1", {Role.ADMIN}),
        ("/v1/", {Role.ADMIN}),
        ("/v1/captions/", {Role.SPEECH}),
        ("/v1/health", set()),
        ("/v1/new", {Role.ADMIN}),
        ("/v1/health/../modules", {Role.ADMIN}),
        ("/metrics", {Role.METRICS}),
    ],
)
def test_paths_need_their_roles(path, roles):
    assert needed_by_path(path) == roles


def test_a_role_more_is_enough_and_a_role_less_is_named():
    identity = Identity("acme", frozenset({Role.SPEECH, Role.TRANSLATE}))
    require(identity, frozenset({Role.SPEECH, Role.ADMIN}))
    require(identity, OPEN)
    with pytest.raises(PermissionDenied, match="role admin"):
        require(identity, frozenset({Role.ADMIN}))


async def test_every_path_of_the_site_is_listed():
    from tests.support.gateway import running

    async with running(http="127.0.0.1:0") as server:
        built = site.routes(server.gateway.services, site.WebLimits(), server.gateway.doorkeeper)
    served = {route.path for route in built if not isinstance(route, Mount)}
    assert served == set(PATHS)
