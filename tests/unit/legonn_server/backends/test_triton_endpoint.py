from __future__ import annotations

import grpc
import pytest
import tritonclient.utils
from grpc.aio import AioRpcError, Metadata
from tritonclient.utils import InferenceServerException

from legonn_core.errors import BackendDown, BadModule, InternalFault, LegonnError, UnknownModule
from legonn_server.backends.triton_endpoint import mapped
from legonn_server.backends.triton_options import TritonOptions

REFUSED, UNKNOWN = {"INVALID_ARGUMENT", "UNIMPLEMENTED"}, {"NOT_FOUND"}


@pytest.mark.parametrize("code", grpc.StatusCode, ids=lambda code: code.name)
def test_every_status_has_an_error_of_ours(code):
    """The client raises one thing for a call and another for a stream."""
    ours = mapped(InferenceServerException("why", status=f"StatusCode.{code.name}"))
    same = mapped(AioRpcError(code, Metadata(), Metadata(), details="why"))
    expected = (
        InternalFault
        if code.name in REFUSED
        else UnknownModule
        if code.name in UNKNOWN
        else BackendDown
    )
    assert type(ours) is type(same) is expected


def test_the_client_library_has_no_other_exceptions():
    found = {
        name
        for name, value in vars(tritonclient.utils).items()
        if isinstance(value, type) and issubclass(value, Exception)
    }
    assert found == {"InferenceServerException"}


@pytest.mark.parametrize(
    ("said", "status", "expected"),
    [
        ("Stub process 'x_0_0' is not healthy.", "INTERNAL", BackendDown),
        ("load failed: <BAD_MODULE> text-de/1: damaged\n\nAt: model.py", "INTERNAL", BadModule),
        ("Request for unknown model: 'x' is not found", "UNAVAILABLE", UnknownModule),
        ("", None, BackendDown),
    ],
)
def test_what_triton_says_is_understood(said: str, status: str, expected: type[LegonnError]):
    ours = mapped(InferenceServerException(said, status=status and f"StatusCode.{status}"))
    assert type(ours) is expected
    assert "model.py" not in ours.message


def test_only_a_process_that_ended_casts_suspicion_on_what_it_worked_on():
    """A server that was killed or cut off says nothing of the segments that it had."""
    died = mapped(InferenceServerException("Stub process 'x_0_0' is not healthy."))
    cut = mapped(InferenceServerException("Socket closed", status="StatusCode.UNAVAILABLE"))
    assert isinstance(died, BackendDown) and died.was_running
    assert isinstance(cut, BackendDown) and not cut.was_running


@pytest.mark.parametrize("endpoints", ["", ",", "localhost", "a:b", "a:1,b"])
def test_endpoints_are_addresses(endpoints: str):
    with pytest.raises(ValueError, match="Triton endpoint"):
        TritonOptions(endpoints=endpoints)


def test_endpoints_are_read_one_by_one():
    assert TritonOptions(endpoints="a:1, b:2,").addresses == ("a:1", "b:2")
