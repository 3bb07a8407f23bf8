"""Whether the doors may be opened as the settings say: nobody is let in unseen by mistake."""

from __future__ import annotations

import logging

from legonn_core.errors import BadConfig
from legonn_server.config.settings import Settings, split_address
from legonn_server.telemetry.logs import log

LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})


def refuse_open_doors(settings: Settings) -> None:
    """Nobody is let in unseen from other machines, unless that was said.

    Raises:
        BadConfig: If a door is open beyond this machine and nothing says who may call.
    """
    server, access = settings.server, settings.access
    listens = [one for one in (server.listen, server.http) if one]
    beyond = [one for one in listens if split_address(one)[0] not in LOOPBACK]
    if not beyond:
        return
    where = " and ".join(beyond)
    if not access.file and not access.insecure:
        raise BadConfig(
            f"{where} can be reached from other machines, and nothing says who may call: name an"
            " access file with --access (make one with `legonn keys new`), or let anybody in with"
            " --insecure"
        )
    if access.insecure:
        log(logging.WARNING, "anybody who reaches the port may call, without a key", where=where)
    if not settings.tls.is_wanted:
        log(logging.WARNING, "keys, audio and text travel unencrypted: no TLS", where=where)
