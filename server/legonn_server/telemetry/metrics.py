"""All metrics of the gateway, on a registry that is passed in; docs/metrics.md is made from here.

Names are ``legonn_WHAT_UNIT``, counters end in ``_total``. Labels come from closed sets (method,
code, module, version, kind, reason), never from callers: no tenant, no session, no text. To add a
metric, add one line to the room it belongs to, then run ``make docs``.
"""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

LATENCY_BUCKETS = (
    0.005, 0.01, 0.025, 0.05, 0.1, 0.15, 0.2, 0.3, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 5.0, 10.0,
)  # fmt: skip
"""Seconds, for everything that a caller waits for."""

LAG_BUCKETS = (0.001, 0.0025, *LATENCY_BUCKETS)
"""Seconds, for what should be nothing."""

COUNT_BUCKETS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)
"""Rows of a batch and the like."""

Family = Counter | Gauge | Histogram


class Metrics:
    """Declares every metric once; rooms are handed this and fill their part.

    Args:
        registry: Where the metrics are exposed.

    Attributes:
        families: Every metric by its room, in the order of declaration: what the page is made of.
        generation: Counts up when series go, so that whoever keeps some knows to look them up anew.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        self.registry = registry
        self.families: dict[str, list[Family]] = {}
        self.generation = 0
        self._room = ""
        self._by_module: list[Family] = []
        self._declare_calls()
        self._declare_admission()
        self._declare_streams()
        self._declare_latencies()
        self._declare_quality()
        self._declare_encoders()
        self._declare_decoders()
        self._declare_modules()
        self._declare_process()

    def _declare_calls(self) -> None:
        self._room = "Calls"
        self.rpc_started = self._counter("rpc_started", "Calls begun.", "method")
        self.rpc_completed = self._counter("rpc_completed", "Calls ended.", "method", "code")
        self.rpc_duration = self._seconds("rpc_duration", "From call to status.", "method")
        self.errors = self._counter("errors", "Calls and texts that failed.", "reason")

    def _declare_admission(self) -> None:
        self._room = "Admission"
        self.sessions_admitted = self._counter("sessions_admitted", "Calls let in.", "kind")
        self.admission_rejected = self._counter(
            "admission_rejected", "Calls not let in, by the reason they were told.", "reason"
        )
        self.sessions_limit = self._gauge(
            "sessions_limit", "Calls that are let in at once: one limit a kind.", "kind"
        )
        self.sessions_open = self._gauge("sessions_open", "Calls that hold a place now.", "kind")
        self.connections_closed = self._counter(
            "connections_closed", "HTTP connections cut before a request, by cause.", "cause"
        )
        self.held_back = self._counter(
            "held_back_seconds", "Time for which callers were read more slowly, by cause.", "kind"
        )
        self.access_reloads = self._counter(
            "access_reloads",
            "Changed access files and certificates, by what came of it.",
            "outcome",
        )

    def _declare_streams(self) -> None:
        self._room = "Streams"
        self.sessions_active = self._gauge("sessions_active", "Speech streams that are open.")
        self.segments_active = self._gauge("segments_active", "Segments that hold a slot.")
        self.audio_received = self._counter("audio_received_seconds", "Audio taken in.")
        self.audio_processed = self._counter(
            "audio_processed_seconds", "Audio given to encoders, replays included.", "module"
        )
        self.text_characters = self._counter("text_characters", "Characters taken in.")
        self.response_cache = self._counter(
            "response_cache", "Sentences looked up among earlier answers.", "outcome"
        )
        self.finals = self._counter("finals", "Finals, by why the segment ended.", "reason")
        self.replays = self._counter("replays", "Segments tried again.", "cause")
        self.ring_bytes = self._gauge(
            "ring_bytes", "Audio kept to be played again, over all streams; set once a second."
        )

    def _declare_latencies(self) -> None:
        self._room = "Latencies"
        self.first_partial = self._seconds(
            "first_partial_latency", "From the config to the first partial."
        )
        self.partial_latency = self._seconds(
            "partial_latency", "From the audio that completed a chunk to the partial it gave."
        )
        self.final_latency = self._seconds(
            "final_latency", "From the end of a segment to its final."
        )
        self.flush_latency = self._seconds("flush_latency", "From a flush to the final it asked.")
        self.unsent_answers = self._histogram(
            "unsent_answers",
            "Answers that wait for a caller to read: one look a second at each stream.",
            buckets=COUNT_BUCKETS,
        )
        self.stream_lag = self._seconds(
            "stream_lag",
            "Audio received and not yet processed, of every stream, looked at once a second.",
            buckets=LAG_BUCKETS,
        )

    def _declare_quality(self) -> None:
        self._room = "Stability and promises"
        self.partial_words = self._counter("partial_words", "Words in partials' tails.")
        self.partial_words_revised = self._counter(
            "partial_words_revised", "Words of a tail that the next partial or final changed."
        )
        self.invariant_violations = self._counter(
            "invariant_violations", "Promises of the contract broken; must stay 0.", "promise"
        )

    def _declare_encoders(self) -> None:
        self._room = "Encoders"
        self.encoder_step = self._seconds(
            "encoder_step_duration",
            "One chunk or one sentence, waiting for the batch included.",
            "module",
            "version",
        )
        self.encoder_slots = self._gauge("encoder_slots", "Slots in use.", "module", "version")
        self.interface_rows = self._counter(
            "interface_rows", "Rows of probabilities that encoders gave.", "module", "version"
        )
        self.interface_blank_rows = self._counter(
            "interface_blank_rows",
            "Rows whose most probable class is blank; their share says if a module is out of band.",
            "module",
            "version",
        )

    def _declare_decoders(self) -> None:
        self._room = "Decoders"
        self.decoder_duration = self._seconds(
            "decoder_job_duration",
            "One decode, waiting included.",
            "module",
            "version",
            "kind",
        )
        self.decoder_queue = self._seconds(
            "decoder_queue",
            "Wait in the gateway before a decode is given to the engine.",
            "kind",
            buckets=LAG_BUCKETS,
        )
        self.decoder_waiting = self._gauge("decoder_waiting_jobs", "Decodes that wait.")
        self.decoder_in_flight = self._gauge(
            "decoder_in_flight_jobs", "Decodes that the engine has."
        )

    def _declare_modules(self) -> None:
        self._room = "Modules and engine"
        self.routes_generation = self._gauge("routes_generation", "Number of the route table.")
        self.module_info = self._gauge(
            "module_info", "1 for each version in memory.", "module", "version", "kind"
        )
        self.routes_errors = self._counter(
            "routes_apply_errors", "Routes that were wanted and refused; those before stayed."
        )
        self.module_state = self._gauge(
            "module_state",
            "0 absent, 1 loading, 2 checking, 3 warm, 4 serving, 5 shadow, 6 draining, 7 retired,"
            " 8 failed.",
            "module",
            "version",
        )
        self.module_pins = self._gauge(
            "module_pins", "Segments and sentences that use a version.", "module", "version"
        )
        self.swap_phase = self._seconds(
            "swap_phase_duration", "Time a version spent in a state before it left it.", "state"
        )
        self.canary_decisions = self._counter(
            "canary_decisions", "Steps of trials: advance, promote or abort.", "outcome"
        )
        self.route_weight = self._gauge(
            "route_weight_percent",
            "Sessions that meet a trial, by its encoder.",
            "module",
            "version",
        )
        self.shadow_segments = self._counter(
            "shadow_segments",
            "Segments copied to a shadow: compared, dropped or failed.",
            "outcome",
        )
        self.shadow_edit_ratio = self._histogram(
            "shadow_word_edit_ratio",
            "Words of a final that the shadow reads otherwise.",
            "module",
            "version",
            buckets=(0.0, 0.05, 0.1, 0.2, 0.3, 0.5, 0.75, 1.0),
        )
        self.shadow_divergence = self._histogram(
            "shadow_marginal_kl",
            "Mean divergence in nats a row of the shadow's probabilities from those in service.",
            "module",
            "version",
            buckets=(0.0, 0.001, 0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 5.0),
        )
        self.backend_up = self._gauge("backend_up", "1 while the engine serves.")
        self.backend_restarts = self._counter("backend_restarts", "Engines lost and started again.")

    def _declare_process(self) -> None:
        self._room = "Gateway process"
        self.event_loop_lag = self._seconds(
            "event_loop_lag",
            "How late a timer of the gateway's event loop fires.",
            buckets=LAG_BUCKETS,
        )
        self.draining = self._gauge("draining", "1 from the signal to stop until the end.")
        self.build_info = self._gauge("build_info", "1; the label says what runs.", "release")

    def forget_module(self, name: str, version: str) -> None:
        """Drop the series of a version that left memory, so that swaps do not add up series."""
        self.generation += 1
        for family in self._by_module:
            names = family._labelnames
            known = {"module": name, "version": version}
            for values in tuple(family._metrics):
                series = dict(zip(names, values, strict=True))
                if all(series[key] == value for key, value in known.items()):
                    family.remove(*values)

    # --- declaring

    def _kept(self, family: Family, labels: tuple[str, ...]) -> None:
        self.families.setdefault(self._room, []).append(family)
        if {"module", "version"} <= set(labels):
            self._by_module.append(family)

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        counter = Counter(f"legonn_{name}_total", text, labels, registry=self.registry)
        self._kept(counter, labels)
        return counter

    def _gauge(self, name: str, text: str, *labels: str) -> Gauge:
        gauge = Gauge(f"legonn_{name}", text, labels, registry=self.registry)
        self._kept(gauge, labels)
        return gauge

    def _seconds(
        self, name: str, text: str, *labels: str, buckets: tuple[float, ...] = LATENCY_BUCKETS
    ) -> Histogram:
        return self._histogram(f"{name}_seconds", text, *labels, buckets=buckets)

    def _rows(self, name: str, text: str, *labels: str) -> Histogram:
        return self._histogram(f"{name}_rows", text, *labels, buckets=COUNT_BUCKETS)

    def _histogram(
        self, name: str, text: str, *labels: str, buckets: tuple[float, ...]
    ) -> Histogram:
        histogram = Histogram(
            f"legonn_{name}", text, labels, registry=self.registry, buckets=buckets
        )
        self._kept(histogram, labels)
        return histogram
