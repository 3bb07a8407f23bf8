"""gRPC calls on their way past the doorkeeper; ``web/access.py`` is the same for HTTP."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from legonn_server.access.identity import Presented, bearer_of
from legonn_server.access.roles import needed_by_method
from legonn_server.gateway.doorkeeper import Doorkeeper, current_identity
from legonn_server.gateway.interceptors.wrapping import CallInterceptor, Context, Invoke

_NAMES = ("x509_common_name", "x509_subject_alternative_name")


class AccessInterceptor(CallInterceptor):
    """Refuses those who may not; tells those below who calls."""

    def __init__(self, doorkeeper: Doorkeeper) -> None:
        super().__init__()
        self._doorkeeper = doorkeeper

    async def around(self, method: str, context: Context, invoke: Invoke) -> object:
        """Serve the call if its caller may make it.

        Raises:
            Unauthenticated: If it is not known who calls.
            PermissionDenied: If the caller has not the role.
        """
        presented = Presented(
            bearer=_bearer(context.invocation_metadata() or ()),
            names=_certificate_names(context.auth_context() or {}),
        )
        identity = self._doorkeeper.admit(presented, needed_by_method(method))
        current_identity.set(identity)
        return await invoke()


def _bearer(metadata: Iterable[tuple[str, object]]) -> str:
    for key, value in metadata:
        if key == "authorization" and isinstance(value, str):
            return bearer_of(value)
    return ""


def _certificate_names(properties: Mapping[str, Iterable[bytes]]) -> tuple[str, ...]:
    """Names of the client's certificate, which the library has verified."""
    return tuple(
        value.decode(errors="replace") for key in _NAMES for value in properties.get(key, ())
    )
