"""The --address of every client command, and what to say when a call fails."""

from __future__ import annotations

import argparse

from legonn import _channel
from legonn.errors import InternalFault, LegonnError, NotImplementedYet, Overloaded, Unavailable


def add_address(parser: argparse.ArgumentParser) -> None:
    """Declare ``--address``."""
    parser.add_argument(
        "--address",
        metavar="HOST:PORT",
        default=_channel.resolve(None),
        help=f"the server; default ${_channel.ADDRESS_VARIABLE}, else {_channel.DEFAULT_ADDRESS}",
    )


def is_unreachable(error: LegonnError) -> bool:
    """Whether the call never met a legonn server, so that trying the next one is useless."""
    return isinstance(error, Unavailable) and not error.from_server


def explain(error: LegonnError, address: str = "") -> str:
    """The error as one sentence that says what to do, if there is anything to do."""
    if is_unreachable(error):
        where = f"at {address}" if address else "there"
        return (
            f"no server answers {where}: start one with `legonn serve`, or name another with "
            f"--address or ${_channel.ADDRESS_VARIABLE}"
        )
    if isinstance(error, NotImplementedYet) and not error.from_server:
        return f"the server {address or 'there'} is not a legonn server of this version"
    if isinstance(error, Overloaded) and error.retry_after_s:
        return f"{error.message} (try again in {error.retry_after_s:g} s)"
    if isinstance(error, InternalFault) and error.request_id:
        return f"{error.message} (request {error.request_id})"
    return error.message
