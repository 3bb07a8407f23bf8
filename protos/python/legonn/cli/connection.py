"""How every client command reaches its server, and what to say when a call fails."""

from __future__ import annotations

import argparse
import os

from legonn import _channel, access
from legonn.errors import (
    InternalFault,
    LegonnError,
    NotImplementedYet,
    Overloaded,
    TokenInvalid,
    Unavailable,
)

_OPTIONS = (
    ("--key", access.KEY_VARIABLE, "KEY", "key or token, if the server asks who is calling"),
    (
        "--ca",
        access.CA_VARIABLE,
        "FILE",
        "speak TLS; who signed the server's certificate: a PEM file, or `system`",
    ),
    ("--cert", access.CERTIFICATE_VARIABLE, "FILE", "your own certificate, if it asks for one"),
    ("--cert-key", access.CERTIFICATE_KEY_VARIABLE, "FILE", "the key of that certificate"),
)


def add_address(parser: argparse.ArgumentParser, *, is_repeated: bool = False) -> None:
    """Declare ``--address`` and what goes with it.

    Args:
        parser: A command's, or that of an action below it.
        is_repeated: The command has them already; said again behind the action, they count.
    """
    absent = argparse.SUPPRESS

    def option(name: str, metavar: str, default: str | None, text: str) -> None:
        parser.add_argument(
            name,
            metavar=metavar,
            default=absent if is_repeated else default,
            help=absent if is_repeated else text,
        )

    option(
        "--address",
        "HOST:PORT",
        _channel.resolve(None),
        f"the server; default ${_channel.ADDRESS_VARIABLE}, else {_channel.DEFAULT_ADDRESS}",
    )
    for name, variable, metavar, text in _OPTIONS:
        option(name, metavar, None, f"{text}; default ${variable}")


def adopt(arguments: argparse.Namespace) -> None:
    """Let the options stand for their variables, which every client made from now on reads.

    Variables also reach the processes that a command starts, and do not show in their arguments.
    """
    for name, variable, _, _ in _OPTIONS:
        value = getattr(arguments, name.removeprefix("--").replace("-", "_"), None)
        if value is not None:
            os.environ[variable] = value


def is_unreachable(error: LegonnError) -> bool:
    """Whether the call never met a legonn server, so that trying the next one is useless."""
    return isinstance(error, Unavailable) and not error.from_server


def explain(error: LegonnError, address: str = "") -> str:
    """The error as one sentence that says what to do, if there is anything to do."""
    if is_unreachable(error) and (trouble := _tls_trouble(error.message)):
        return trouble
    if is_unreachable(error):
        where = f"at {address}" if address else "there"
        return (
            f"no server answers {where}: start one with `legonn serve`, or name another with "
            f"--address or ${_channel.ADDRESS_VARIABLE}"
            + ("" if access.Access.from_environment().has_tls else "; if it speaks TLS, add --ca")
        )
    if isinstance(error, NotImplementedYet) and not error.from_server:
        return f"the server {address or 'there'} is not a legonn server of this version"
    if isinstance(error, Overloaded) and error.retry_after_s:
        return f"{error.message} (try again in {error.retry_after_s:g} s)"
    if isinstance(error, TokenInvalid):
        return f"{error.message} (see --key, or ${access.KEY_VARIABLE})"
    if isinstance(error, InternalFault) and error.request_id:
        return f"{error.message} (request {error.request_id})"
    return error.message


def _tls_trouble(details: str) -> str:
    """What gRPC says of a handshake that failed, as a sentence; empty if that is not it."""
    text = details.lower()
    if "certificate_verify_failed" in text or "certificate verify failed" in text:
        return "the server's certificate is not signed by the CA that --ca names, or has expired"
    if "hostname" in text or "peer name" in text:
        return "the server's certificate is for another name: use that name in --address"
    if "wrong_version_number" in text:
        return "the server speaks plain text, not TLS: leave --ca and $LEGONN_CA away"
    if "certificate_required" in text or "certificate required" in text:
        return "the server asks for your certificate: --cert and --cert-key"
    return ""
