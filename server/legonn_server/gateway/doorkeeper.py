"""Who stands at both doors, gRPC and HTTP: one decision about each call, before it is served.

The access file is read again when it changes; calls that are open keep the identity that they
began with. A new file that cannot be read changes nothing but a metric and the log.
"""

from __future__ import annotations

import logging
import secrets
import time
from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path

from legonn_core.errors import BadConfig
from legonn_server.access import tickets
from legonn_server.access.identity import ANYBODY, Identity, Presented, Role
from legonn_server.access.quota import TenantQuota
from legonn_server.access.roles import require
from legonn_server.access.table import AccessTable, parse
from legonn_server.gateway.watched_files import Stamp, stamp_of
from legonn_server.telemetry.logs import log
from legonn_server.telemetry.metrics import Metrics

_LOOK_SECONDS = 1.0

current_identity: ContextVar[Identity] = ContextVar("current_identity", default=ANYBODY)
"""Who makes the call that this task works for."""


@dataclass(frozen=True, slots=True)
class AccessOptions:
    """Who may call.

    Attributes:
        file: The access file (docs/access.md); empty lets anybody in, on loopback only.
        insecure: Let anybody in also from other machines. For networks where something else
            decides who may call.
        open_metrics: Serve /metrics without a key although there is an access file.
    """

    file: str = ""
    insecure: bool = False
    open_metrics: bool = False

    def __post_init__(self) -> None:
        if self.file and self.insecure:
            raise ValueError("an access file and insecure contradict each other; drop one")


class Doorkeeper:
    """See the module's docstring.

    Args:
        options: Where the access file is, if there is one.
        metrics: Where reloads are counted.
        clock: Seconds that only grow.

    Raises:
        BadConfig: If there is a file and it cannot be read.
    """

    def __init__(
        self,
        options: AccessOptions,
        metrics: Metrics,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._path = Path(options.file) if options.file else None
        self._metrics = metrics
        self._clock = clock
        self._looked_at = clock()
        self._own_secret = secrets.token_hex(32)
        self._files: list[Path] = []
        self._stamp: Stamp = ()
        self._table = self._read() if self._path else AccessTable()

    @property
    def is_open(self) -> bool:
        """Whether anybody may call."""
        return self._path is None

    def admit(self, presented: Presented, needed: frozenset[Role]) -> Identity:
        """Decide about one call.

        Args:
            presented: What it brought.
            needed: Roles of which it needs one; none for calls that are open to all.

        Raises:
            Unauthenticated: If it is not known who calls.
            PermissionDenied: If it is known, and none of the roles is there.
        """
        if self.is_open or not needed:
            return ANYBODY
        identity = self._current().identity(presented)
        require(identity, needed)
        return identity

    def admit_ticket(self, ticket: str, needed: frozenset[Role]) -> Identity:
        """The same for a ticket."""
        if self.is_open:
            return ANYBODY
        identity = tickets.identity_of(ticket, self._secret)
        require(identity, needed)
        return identity

    def ticket(self, identity: Identity) -> str:
        """A ticket for the caller of this moment."""
        return tickets.issued(identity, self._secret, now=time.time())

    def quota(self, tenant: str) -> TenantQuota:
        """What a tenant may use."""
        return self._current().quota(tenant)

    @property
    def _secret(self) -> str:
        return self._current().ticket_secret or self._own_secret

    def _current(self) -> AccessTable:
        """The table of this moment; looks at the file once a second at most."""
        now = self._clock()
        if self._path is not None and now - self._looked_at >= _LOOK_SECONDS:
            self._looked_at = now
            if stamp_of(self._files) != self._stamp:
                self._reload()
        return self._table

    def _reload(self) -> None:
        try:
            self._table = self._read()
        except BadConfig as error:
            self._stamp = stamp_of(self._files)  # once a change, not once a second
            self._metrics.access_reloads.labels("failed").inc()
            log(logging.ERROR, f"the access file is not taken over: {error.message}")
            return
        self._metrics.access_reloads.labels("done").inc()
        log(logging.INFO, "access file read again", keys=len(self._table.keys))

    def _read(self) -> AccessTable:
        assert self._path is not None
        path, files = self._path, [self._path]

        def read_beside(name: str) -> str:
            files.append(path.parent / name)
            return _text(files[-1])

        before = stamp_of(files)  # a change during the reading is seen at the next look
        table = parse(_text(path), read_beside)
        self._files, self._stamp = files, before + stamp_of(files[1:])
        return table


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise BadConfig(f"access file {path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise BadConfig(f"access file {path}: it is not UTF-8") from error
