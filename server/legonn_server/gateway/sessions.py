"""Which stream of this gateway holds which session: one at a time, the newest.

A caller whose connection broke comes back before the old one is found dead. The newcomer is right:
it knows what it has received, and the old stream speaks to nobody.
"""

from __future__ import annotations

import uuid

from legonn_core.errors import SessionSuperseded
from legonn_server.gateway.stream import StreamRunner


class Sessions:
    """Holders by session id; gateways share nothing, so each knows its own."""

    def __init__(self) -> None:
        self._holders: dict[str, StreamRunner] = {}

    def __len__(self) -> int:
        return len(self._holders)

    @staticmethod
    def new_id() -> str:
        """A name that nobody can guess."""
        return f"s-{uuid.uuid4().hex}"

    def take(self, session_id: str, runner: StreamRunner) -> None:
        """Give the session to a stream; one that had it is ended with ``SessionSuperseded``."""
        holder = self._holders.get(session_id)
        self._holders[session_id] = runner
        if holder is not None and holder is not runner:
            holder.end(SessionSuperseded("the session was resumed by another stream"))

    def leave(self, session_id: str, runner: StreamRunner) -> None:
        """The stream ended; if it held the session, nobody does now."""
        if self._holders.get(session_id) is runner:
            del self._holders[session_id]
