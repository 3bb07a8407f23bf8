"""What the web door allows."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class WebLimits:
    """Who may call over HTTP and WebSocket, and how much they may bring.

    Attributes:
        origins: Other sites whose pages may call, as ``https://HOST[:PORT]``, separated by blanks.
            Pages of the server's own address always may; programs without an origin, too.
        max_upload_bytes: Largest uploaded recording.
        max_upload_seconds: Longest uploaded recording.
        max_connections: Connections at once; further ones get 503.
        max_connections_per_address: Of these, from one address; further ones are closed. Behind a
            proxy all callers have one address: set it to ``max_connections`` there.
        header_seconds: How long the headers of a request may take; later the connection is closed.
        body_seconds: How long a body may take to arrive.
        ping_seconds: Between pings of a WebSocket, so that proxies hold it open.
        config_seconds: How long a WebSocket may take to send its config.
    """

    origins: str = ""
    max_upload_bytes: int = 64 << 20
    max_upload_seconds: float = 3_600.0
    max_connections: int = 256
    max_connections_per_address: int = 128
    header_seconds: float = 10.0
    body_seconds: float = 300.0
    ping_seconds: float = 30.0
    config_seconds: float = 10.0

    def __post_init__(self) -> None:
        for name in self.__dataclass_fields__:
            if name == "origins":
                continue
            if getattr(self, name) <= 0:
                raise ValueError(f"{name} must be positive, not {getattr(self, name)}")
        for origin in self.origins.split():
            scheme, _, rest = origin.partition("://")
            if scheme not in ("http", "https") or not rest or "/" in rest or "*" in rest:
                raise ValueError(f"an origin is written https://HOST[:PORT], not {origin!r}")

    @property
    def allowed(self) -> tuple[str, ...]:
        """The origins as a list."""
        return tuple(self.origins.split())
