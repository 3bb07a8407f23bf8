"""The dashboards: ``python -m deploy.grafana.dashboards`` writes them, ``--check`` compares.

One list a page, one line a panel. Every metric in them is looked for in a real scrape by a test.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent / "dashboards"
PANEL_WIDTH, PANEL_HEIGHT, COLUMNS = 8, 7, 3


@dataclass(frozen=True, slots=True)
class Panel:
    """One plot.

    Attributes:
        unit: Grafana's name of the unit.
        queries: Legend and PromQL of each line.
    """

    title: str
    unit: str
    queries: tuple[tuple[str, str], ...]


def lines(title: str, unit: str, **queries: str) -> Panel:
    """A panel of named lines; underscores in a name read as spaces."""
    return Panel(title, unit, tuple((k.replace("_", " "), v) for k, v in queries.items()))


def by(title: str, unit: str, label: str, query: str) -> Panel:
    """A panel with a line for each value of a label."""
    return Panel(title, unit, ((f"{{{{{label}}}}}", query),))


def quantiles(title: str, metric: str) -> Panel:
    """Median, 95th and 99th percentile of a histogram of seconds."""
    return Panel(
        title,
        "s",
        tuple(
            (
                f"p{round(100 * q)}",
                f"histogram_quantile({q}, sum by (le) (rate({metric}_bucket[$__rate_interval])))",
            )
            for q in (0.5, 0.95, 0.99)
        ),
    )


def rate(metric: str, label: str = "") -> str:
    """A counter's rate, summed, by a label if one is named."""
    group = f" by ({label})" if label else ""
    return f"sum{group} (rate({metric}[$__rate_interval]))"


OVERVIEW = (
    by("Calls that hold a place", "short", "kind", "sum by (kind) (legonn_sessions_open)"),
    by("Free places", "percentunit", "kind", "legonn:sessions:free_ratio"),
    by("Refused", "reqps", "reason", rate("legonn_admission_rejected_total", "reason")),
    quantiles("First partial", "legonn_first_partial_latency_seconds"),
    quantiles("Partial, from its audio", "legonn_partial_latency_seconds"),
    quantiles("Final, from the segment's end", "legonn_final_latency_seconds"),
    quantiles("How far streams are behind", "legonn_stream_lag_seconds"),
    by("Calls ended", "reqps", "code", rate("legonn_rpc_completed_total", "code")),
    by("Failures", "reqps", "reason", rate("legonn_errors_total", "reason")),
    lines("Failed calls (budget 0.1 %)", "percentunit", share="legonn:calls:failed_ratio"),
    by("Broken promises", "short", "promise",
       "sum by (promise) (increase(legonn_invariant_violations_total[1h]))"),
    lines("Words shown and taken back", "percentunit",
          revised="legonn:partial_words:revised_ratio"),
    by("Calls in", "reqps", "method", rate("legonn_rpc_started_total", "method")),
    quantiles("Flush to final", "legonn_flush_latency_seconds"),
    by("Finals", "reqps", "reason", rate("legonn_finals_total", "reason")),
)  # fmt: skip

MODULES = (
    by("Versions in memory", "short", "module",
       "sum by (module, version, kind) (legonn_module_info)"),
    lines("Route table", "short", generation="max(legonn_routes_generation)"),
    by("Engine up", "bool_yes_no", "instance", "legonn_backend_up"),
    by("Engines lost", "short", "instance", "increase(legonn_backend_restarts_total[1h])"),
    by("Segments tried again", "reqps", "cause", rate("legonn_replays_total", "cause")),
    by("Rows across the interface", "reqps", "module",
       rate("legonn_interface_rows_total", "module, version")),
    by("Blank rows", "percentunit", "module", "legonn:interface_blank:ratio"),
    by("Encoder step, p95", "s", "module", "legonn:encoder_step_duration_seconds:p95"),
    by("Slots in use", "short", "module", "sum by (module, version) (legonn_encoder_slots)"),
    by("Audio encoded", "s", "module", rate("legonn_audio_processed_seconds_total", "module")),
)  # fmt: skip

DECODERS = (
    lines("Jobs", "short", waiting="sum(legonn_decoder_waiting_jobs)",
          with_the_engine="sum(legonn_decoder_in_flight_jobs)"),
    by("Wait before the engine, p95", "s", "kind", "legonn:decoder_queue_seconds:p95"),
    by("Decodes", "reqps", "kind", rate("legonn_decoder_job_duration_seconds_count", "kind")),
    quantiles("A decode, waiting included", "legonn_decoder_job_duration_seconds"),
    by("Calls", "reqps", "method", rate("legonn_rpc_completed_total", "method")),
    lines("Text", "short", characters=rate("legonn_text_characters_total")),
)  # fmt: skip

CAPACITY = (
    lines("Streams", "short", open="sum(legonn_sessions_active)",
          with_a_segment="sum(legonn_segments_active)",
          limit='sum(legonn_sessions_limit{kind="speech"})'),
    lines("Audio a second", "s", received=rate("legonn_audio_received_seconds_total"),
          encoded=rate("legonn_audio_processed_seconds_total")),
    by("CPU of the gateway", "percentunit", "instance",
       "rate(process_cpu_seconds_total[$__rate_interval])"),
    by("CPU of the engine", "percentunit", "instance",
       "rate(engine_process_cpu_seconds_total[$__rate_interval])"),
    by("Memory of the gateway", "bytes", "instance", "process_resident_memory_bytes"),
    by("Memory of the engine", "bytes", "instance", "engine_process_resident_memory_bytes"),
    by("Event loop late, p99", "s", "instance", "legonn:event_loop_lag_seconds:p99"),
    by("Audio kept for replay", "bytes", "instance", "legonn_ring_bytes"),
    by("Open files", "short", "instance", "process_open_fds"),
    by("Calls let in", "reqps", "kind", rate("legonn_sessions_admitted_total", "kind")),
    by("Draining", "bool_yes_no", "instance", "legonn_draining"),
    by("Releases", "short", "release", "count by (release) (legonn_build_info)"),
    quantiles("Calls", "legonn_rpc_duration_seconds"),
)  # fmt: skip

PAGES = {
    "overview": ("legonn: overview", OVERVIEW),
    "modules": ("legonn: modules and swaps", MODULES),
    "decoders": ("legonn: decoder pool", DECODERS),
    "capacity": ("legonn: capacity", CAPACITY),
}


def page(name: str) -> dict[str, Any]:
    """One dashboard as Grafana imports it."""
    title, panels = PAGES[name]
    return {
        "uid": f"legonn-{name}",
        "title": title,
        "schemaVersion": 39,
        "version": 1,
        "editable": False,
        "refresh": "15s",
        "tags": ["legonn"],
        "time": {"from": "now-1h", "to": "now"},
        "templating": {"list": [{"name": "source", "type": "datasource", "query": "prometheus"}]},
        "panels": [_panel(number, panel) for number, panel in enumerate(panels)],
    }


def _panel(number: int, panel: Panel) -> dict[str, Any]:
    return {
        "id": number + 1,
        "type": "timeseries",
        "title": panel.title,
        "datasource": {"type": "prometheus", "uid": "${source}"},
        "gridPos": {
            "x": number % COLUMNS * PANEL_WIDTH,
            "y": number // COLUMNS * PANEL_HEIGHT,
            "w": PANEL_WIDTH,
            "h": PANEL_HEIGHT,
        },
        "fieldConfig": {"defaults": {"unit": panel.unit, "min": 0}, "overrides": []},
        "targets": [
            {"refId": chr(ord("A") + index), "expr": query, "legendFormat": legend}
            for index, (legend, query) in enumerate(panel.queries)
        ],
    }


def text(name: str) -> str:
    """The file's content."""
    return json.dumps(page(name), indent=1) + "\n"


def main(arguments: Sequence[str] | None = None) -> int:
    """Write or compare the files."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; 1 if a file is old")
    is_check = parser.parse_args(arguments).check
    FOLDER.mkdir(exist_ok=True)
    old = []
    for name in PAGES:
        path = FOLDER / f"{name}.json"
        if is_check:
            if not path.is_file() or path.read_text(encoding="utf-8") != text(name):
                old.append(path.name)
        else:
            path.write_text(text(name), encoding="utf-8")
    if old:
        sys.stderr.write(f"{', '.join(old)}: run `python -m deploy.grafana.dashboards`\n")
    return 1 if old else 0


if __name__ == "__main__":
    sys.exit(main())
