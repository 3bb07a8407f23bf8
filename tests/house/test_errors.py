"""One error tree, told three times: in the core, on the wire, in the client."""

from __future__ import annotations

from legonn import errors as client
from legonn.v1 import error_reason_pb2
from legonn_core import errors as core


def _tree(root: type[Exception]) -> dict[str, tuple[str, str, str]]:
    """Class name to (parent, reason, retry), for a class and all below it."""
    told = {root.__name__: (root.__bases__[0].__name__, root.reason, root.retry.name)}
    for child in root.__subclasses__():
        told |= _tree(child)
    return told


def test_the_client_mirrors_the_core():
    of_core, of_client = _tree(core.LegonnError), _tree(client.LegonnError)
    assert {name: of_client.get(name) for name in of_core} == of_core


def test_every_reason_is_on_the_wire_and_named_once():
    reasons = [cls.reason for cls in core.error_classes() if cls is not core.LegonnError]
    on_wire = {
        name.removeprefix("ERROR_REASON_")
        for name in error_reason_pb2.ErrorReason.DESCRIPTOR.values_by_name
        if not name.endswith("_UNSPECIFIED")
    }
    assert len(set(reasons)) == len(reasons)
    assert set(reasons) == on_wire


def test_the_tree_is_drawn_as_it_is():
    assert core.__doc__ is not None
    missing = [cls.__name__ for cls in core.error_classes() if cls.__name__ not in core.__doc__]
    assert not missing
