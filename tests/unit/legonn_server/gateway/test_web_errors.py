"""Every error of the tree has an HTTP status and a close code of its own branch."""

from __future__ import annotations

import pytest

from legonn_core import errors
from legonn_server.gateway.interceptors.web import CLOSE_CODES, HTTP_STATUS, error_response
from legonn_server.gateway.web.policy import WebLimits


def _below(cls: type[errors.LegonnError]):
    for child in cls.__subclasses__():
        yield child
        yield from _below(child)


@pytest.mark.parametrize("cls", sorted(_below(errors.LegonnError), key=lambda one: one.__name__))
def test_every_error_has_a_status(cls: type[errors.LegonnError]):
    assert set(cls.__mro__) & set(HTTP_STATUS)
    assert set(cls.__mro__) & set(CLOSE_CODES)
    response = error_response(cls("it went wrong"))
    should_retry = cls.retry is not errors.Retry.NEVER
    assert response.headers["x-should-retry"] == str(should_retry).lower()
    assert ("retry-after" in response.headers) == should_retry


@pytest.mark.parametrize("origins", ["evil.example", "*", "https://*.example", "https://a/b"])
def test_origins_are_named_in_full(origins: str):
    with pytest.raises(ValueError, match="an origin is written"):
        WebLimits(origins=origins)
