"""Who is calling, once that is known."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Role(StrEnum):
    """What a caller may do: each is a part of the API."""

    SPEECH = "speech"
    TRANSLATE = "translate"
    ADMIN = "admin"
    METRICS = "metrics"


class Priority(StrEnum):
    """Which calls give way when the server is nearly full."""

    INTERACTIVE = "interactive"
    BULK = "bulk"


@dataclass(frozen=True, slots=True)
class Identity:
    """A caller whom the server knows.

    Attributes:
        tenant: Whose quotas count; never written to logs or metrics.
        roles: What it may do.
    """

    tenant: str
    roles: frozenset[Role]


ANYBODY = Identity("", frozenset(Role))
"""Every caller of a server without access control."""


@dataclass(frozen=True, slots=True)
class Presented:
    """What a call brought to say who it is.

    Attributes:
        bearer: The key or token of ``authorization: Bearer …``; empty if there is none.
        names: Common name and alternative names of the verified client certificate, if any.
    """

    bearer: str = ""
    names: tuple[str, ...] = ()


def bearer_of(authorization: str) -> str:
    """The key or token in an ``authorization`` header; empty if it holds none."""
    scheme, _, value = authorization.strip().partition(" ")
    return value.strip() if scheme.lower() == "bearer" else ""
