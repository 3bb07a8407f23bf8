"""Tickets: what a browser shows in place of its key when it opens a WebSocket.

Browsers send no headers of their own with a WebSocket, and a key in a URL ends up in logs. So the
page trades its key for a ticket over an ordinary call; the ticket is good for half a minute.
"""

from __future__ import annotations

from collections.abc import Iterable

import jwt

from legonn_core.errors import TokenInvalid
from legonn_server.access.identity import Identity, Role

PREFIX = "legonn.ticket."
"""Tickets travel as one more sub-protocol of this prefix, which is never the one agreed on."""

SECONDS = 30
_AUDIENCE = "legonn-ticket"
_ALGORITHM = "HS256"


def issued(identity: Identity, secret: str, *, now: float) -> str:
    """A ticket for so many ``SECONDS``.

    Args:
        identity: Whom it speaks for.
        secret: Shared by the gateways of one address.
        now: Seconds since 1970, as tokens count.
    """
    claims = {
        "aud": _AUDIENCE,
        "exp": int(now) + SECONDS,
        "tenant": identity.tenant,
        "roles": sorted(identity.roles),
    }
    return jwt.encode(claims, secret, algorithm=_ALGORITHM)


def in_protocols(protocols: Iterable[str]) -> str:
    """The ticket among the sub-protocols that a WebSocket asks for; empty if there is none."""
    return next((one.removeprefix(PREFIX) for one in protocols if one.startswith(PREFIX)), "")


def identity_of(ticket: str, secret: str) -> Identity:
    """Whom a ticket speaks for.

    Raises:
        TokenInvalid: If it is too old or was not issued with this secret.
    """
    try:
        claims = jwt.decode(
            ticket,
            secret,
            algorithms=[_ALGORITHM],
            audience=_AUDIENCE,
            options={"require": ["exp", "aud"]},
        )
    except jwt.PyJWTError:
        raise TokenInvalid("the ticket does not hold, or no longer; ask for a new one") from None
    return Identity(claims["tenant"], frozenset(Role(name) for name in claims["roles"]))
