"""Which role each call needs: one table for gRPC and HTTP.

What is not listed needs the admin role: a call that somebody adds and forgets here is closed.
"""

from __future__ import annotations

from legonn_core.errors import PermissionDenied
from legonn_server.access.identity import Identity, Role

OPEN: frozenset[Role] = frozenset()
"""Anybody, also without a key: health, and the page, which holds no data."""

_SPEECH = frozenset({Role.SPEECH})
_TRANSLATE = frozenset({Role.TRANSLATE})
_ADMIN = frozenset({Role.ADMIN})
_KNOWN = frozenset({Role.SPEECH, Role.TRANSLATE, Role.ADMIN})

SERVICES: dict[str, frozenset[Role]] = {
    "/grpc.health.v1.Health/": OPEN,
    "/grpc.reflection.v1alpha.ServerReflection/": _KNOWN,
    "/legonn.v1.SpeechService/": _SPEECH,
    "/legonn.v1.TranslationService/": _TRANSLATE,
    "/legonn.v1.ModuleService/": _ADMIN,
}
"""By the prefix of the method; any one of the roles is enough."""

PATHS: dict[str, frozenset[Role]] = {
    "/v1/captions": _SPEECH,
    "/v1/audio/transcriptions": _SPEECH,
    "/v1/audio/translations": _SPEECH,
    "/v1/translate": _TRANSLATE,
    "/v1/tickets": _SPEECH,
    # What may be asked for: the captions page lists the languages from it.
    "/v1/routes": _KNOWN,
    "/v1/modules": _ADMIN,
    "/v1/health": OPEN,
}
"""By the path of the call; the page's own files, outside ``/v1``, are open."""

METRICS_PATH = "/metrics"


def needed_by_method(method: str) -> frozenset[Role]:
    """What a gRPC method needs, such as ``/legonn.v1.SpeechService/Recognize``."""
    prefix = f"{method.rpartition('/')[0]}/"
    return SERVICES.get(prefix, _ADMIN)


def needed_by_path(path: str) -> frozenset[Role]:
    """What an HTTP path needs."""
    if path == METRICS_PATH:
        return frozenset({Role.METRICS})
    if path != "/v1" and not path.startswith("/v1/"):
        return OPEN
    return PATHS.get(path.rstrip("/"), _ADMIN)


def require(identity: Identity, needed: frozenset[Role]) -> None:
    """Refuse a caller that has none of the roles.

    Raises:
        PermissionDenied: Names the roles of which one would do.
    """
    if needed and not needed & identity.roles:
        one = " or ".join(sorted(needed))
        raise PermissionDenied(f"this call needs the role {one}; the key or certificate has it not")
