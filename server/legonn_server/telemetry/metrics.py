"""All metrics of the gateway, on a registry that is passed in.

Labels come from closed sets (method, code, module, version, reason), never from callers.
"""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

LATENCY_BUCKETS = (
    0.005, 0.01, 0.025, 0.05, 0.1, 0.15, 0.2, 0.3, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 5.0, 10.0,
)  # fmt: skip


class Metrics:
    """Declares every metric once; rooms are handed this and fill their part."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.registry = registry
        self._declare_calls()
        self._declare_streams()
        self._declare_engines()

    def _declare_calls(self) -> None:
        self.rpc_started = self._counter("rpc_started", "Calls begun.", "method")
        self.rpc_completed = self._counter("rpc_completed", "Calls ended.", "method", "code")
        self.rpc_duration = self._seconds("rpc_duration", "From call to status.", "method")
        self.errors = self._counter("errors", "Calls and texts that failed.", "reason")

    def _declare_streams(self) -> None:
        self.sessions_active = self._gauge("sessions_active", "Streams that are open.")
        self.audio_received = self._counter("audio_received_seconds", "Audio taken in.")
        self.audio_processed = self._counter(
            "audio_processed_seconds", "Audio given to encoders, replays included.", "module"
        )
        self.text_characters = self._counter("text_characters", "Characters taken in.")
        self.finals = self._counter("finals", "Finals, by why the segment ended.", "reason")
        self.first_partial = self._seconds(
            "first_partial_latency", "From the config to the first partial."
        )
        self.final_latency = self._seconds(
            "final_latency", "From the end of a segment to its final."
        )
        self.replays = self._counter("replays", "Segments tried again.", "cause")

    def _declare_engines(self) -> None:
        self.encoder_step = self._seconds(
            "encoder_step_duration", "One chunk or one sentence.", "module", "version"
        )
        self.encoder_slots = self._gauge("encoder_slots", "Slots in use.", "module", "version")
        self.decoder_duration = self._seconds(
            "decoder_job_duration", "One decode, waiting included.", "module", "version", "kind"
        )
        self.routes_generation = self._gauge("routes_generation", "Number of the route table.")
        self.module_info = self._gauge(
            "module_info", "1 for each version in memory.", "module", "version", "kind"
        )
        self.backend_up = self._gauge("backend_up", "1 while the engine serves.")

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        return Counter(f"legonn_{name}_total", text, labels, registry=self.registry)

    def _gauge(self, name: str, text: str, *labels: str) -> Gauge:
        return Gauge(f"legonn_{name}", text, labels, registry=self.registry)

    def _seconds(self, name: str, text: str, *labels: str) -> Histogram:
        return Histogram(
            f"legonn_{name}_seconds", text, labels, registry=self.registry, buckets=LATENCY_BUCKETS
        )
