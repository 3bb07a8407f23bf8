"""How Triton servers are used; free of their client library, which is an extra."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class TritonOptions:
    """How Triton servers are used.

    Attributes:
        endpoints: ``HOST:PORT`` of the servers' gRPC, with commas between.
        call_timeout_seconds: Longest wait for one answer.
        wait_seconds: Longest wait for a server when none can be relied on.
        load_timeout_seconds: Longest loading of one module.
        start_timeout_seconds: Longest wait for the first server at the start.
        silence_seconds: A decode that hears no sign of life for so long is lost.
        probe_interval_seconds: A module that was not heard of for so long is probed.
        probe_timeout_seconds: A probe not answered in so long loses the endpoint.
    """

    endpoints: str = "127.0.0.1:8001"
    call_timeout_seconds: float = 10.0
    wait_seconds: float = 60.0
    load_timeout_seconds: float = 300.0
    start_timeout_seconds: float = 300.0
    silence_seconds: float = 3.0
    probe_interval_seconds: float = 1.0
    probe_timeout_seconds: float = 3.0

    def __post_init__(self) -> None:
        for address in self.addresses:
            host, colon, port = address.rpartition(":")
            if not host or not colon or not port.isdecimal():
                raise ValueError(f"a Triton endpoint is written HOST:PORT, not {address!r}")
        if not self.addresses:
            raise ValueError("at least one Triton endpoint is needed")
        times = (
            self.call_timeout_seconds,
            self.wait_seconds,
            self.load_timeout_seconds,
            self.start_timeout_seconds,
            self.silence_seconds,
            self.probe_interval_seconds,
            self.probe_timeout_seconds,
        )
        if not min(times) > 0:
            raise ValueError("times must be positive")

    @property
    def addresses(self) -> tuple[str, ...]:
        """The endpoints one by one."""
        return tuple(part.strip() for part in self.endpoints.split(",") if part.strip())
