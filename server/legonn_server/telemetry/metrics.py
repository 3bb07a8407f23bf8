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
        self.rpc_started = Counter(
            "legonn_rpc_started_total", "Calls begun.", ["method"], registry=registry
        )
        self.rpc_completed = Counter(
            "legonn_rpc_completed_total",
            "Calls ended, by status.",
            ["method", "code"],
            registry=registry,
        )
        self.rpc_duration = self._seconds("rpc_duration", "From call to status.", ["method"])
        self.errors = Counter(
            "legonn_errors_total", "Calls that failed, by reason.", ["reason"], registry=registry
        )
        self.sessions_active = Gauge(
            "legonn_sessions_active", "Streams that are open.", registry=registry
        )
        self.admission_rejected = Counter(
            "legonn_admission_rejected_total", "Calls refused.", ["reason"], registry=registry
        )
        self.audio_received = Counter(
            "legonn_audio_received_seconds_total", "Audio taken in.", registry=registry
        )
        self.audio_processed = Counter(
            "legonn_audio_processed_seconds_total",
            "Audio given to encoders, replays included.",
            ["module"],
            registry=registry,
        )
        self.text_characters = Counter(
            "legonn_text_characters_total", "Characters taken in.", registry=registry
        )
        self.finals = Counter(
            "legonn_finals_total", "Finals sent, by why the segment ended.", ["reason"],
            registry=registry,
        )  # fmt: skip
        self.first_partial = self._seconds(
            "first_partial_latency", "From the config to the first partial.", []
        )
        self.final_latency = self._seconds(
            "final_latency", "From the end of a segment to its final.", []
        )
        self.encoder_step = self._seconds(
            "encoder_step_duration", "One chunk or one sentence.", ["module", "version"]
        )
        self.decoder_duration = self._seconds(
            "decoder_job_duration", "One decode, waiting included.", ["module", "version", "kind"]
        )
        self.encoder_slots = Gauge(
            "legonn_encoder_slots", "Slots in use.", ["module", "version"], registry=registry
        )
        self.replays = Counter(
            "legonn_replays_total", "Segments tried again.", ["cause"], registry=registry
        )
        self.routes_generation = Gauge(
            "legonn_routes_generation", "Number of the route table.", registry=registry
        )
        self.module_info = Gauge(
            "legonn_module_info",
            "1 for each module version in memory.",
            ["module", "version", "kind"],
            registry=registry,
        )
        self.backend_up = Gauge(
            "legonn_backend_up", "1 while the engine serves.", registry=registry
        )

    def _seconds(self, name: str, text: str, labels: list[str]) -> Histogram:
        return Histogram(
            f"legonn_{name}_seconds", text, labels, registry=self.registry, buckets=LATENCY_BUCKETS
        )
