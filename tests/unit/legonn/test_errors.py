from __future__ import annotations

import grpc
import pytest

import legonn
from legonn import errors


class Failure:
    def __init__(self, code, *, details="what", trailing=()):
        self._code, self._details, self._trailing = code, details, trailing

    def code(self):
        return self._code

    def details(self):
        return self._details

    def trailing_metadata(self):
        return self._trailing


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        (grpc.StatusCode.UNAVAILABLE, errors.Unavailable),
        (grpc.StatusCode.INVALID_ARGUMENT, errors.InputError),
        (grpc.StatusCode.RESOURCE_EXHAUSTED, errors.Overloaded),
        (grpc.StatusCode.DATA_LOSS, errors.LegonnError),
    ],
)
@pytest.mark.parametrize("trailing", [(), None, ((errors.DETAILS_KEY, b"\xff not a status"),)])
def test_without_a_reason_the_status_speaks(code, expected, trailing):
    error = errors.from_rpc(Failure(code, trailing=trailing))
    assert type(error) is expected and not error.from_server


@pytest.mark.parametrize("cls", errors.error_classes()[1:], ids=lambda cls: cls.__name__)
def test_each_reason_gives_its_class(cls):
    assert type(errors.from_reason(cls.reason, "what")) is cls


def test_an_unknown_reason_is_the_root():
    assert type(errors.from_reason("FLOOD", "what")) is legonn.LegonnError


def test_the_server_s_words_come_through(server):
    server.refusal = (grpc.StatusCode.RESOURCE_EXHAUSTED, "QUEUE_FULL", "64 streams are open", 2)
    with legonn.Client() as client, pytest.raises(legonn.Overloaded) as caught:
        client.translate("Hallo", source="de")
    error = caught.value
    assert type(error) is errors.QueueFull and error.retry is legonn.Retry.LATER
    assert error.message == "64 streams are open"
    assert (error.from_server, error.retry_after_s, error.request_id) == (True, 2.0, "r-9")
