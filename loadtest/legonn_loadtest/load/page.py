"""A run as one HTML page without outside parts: tables, and plots over time as SVG."""

from __future__ import annotations

import html
import io
import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from legonn_loadtest.load.driver import Outcome
from legonn_loadtest.load.tally import PERCENTILES

SHOWN = ("partial", "segment_end_to_final", "translation", "send_lateness")

_HEAD = """<!doctype html><html lang="en"><meta charset="utf-8">
<title>legonn load test</title><style>
body{font:15px/1.5 system-ui,sans-serif;max-width:62rem;margin:2rem auto;padding:0 1rem}
table{border-collapse:collapse;margin:1rem 0}td,th{padding:.2rem .7rem;border-bottom:1px solid #ccc;
text-align:right}td:first-child,th:first-child{text-align:left}.bad{color:#a00}svg{max-width:100%}
</style>"""


def page(outcome: Outcome) -> str:
    """The whole page."""
    raw = outcome.as_json()
    breaches = raw["breaches"]
    verdict = (
        '<p class="bad">Limits broken: ' + "; ".join(map(html.escape, breaches)) + "</p>"
        if breaches
        else "<p>All limits held.</p>"
    )
    busy = (
        '<p class="bad">The generators were too busy: read the latencies as upper bounds.</p>'
        if outcome.generator_is_busy
        else ""
    )
    parts = [
        _HEAD,
        f"<h1>{html.escape(outcome.scenario.name)}</h1>",
        f"<p>{html.escape(outcome.scenario.about)}</p>{verdict}{busy}",
        f"<p>{html.escape(raw['started_at'])}, {raw['wall_s']} s, {raw['machine']['cores']} cores,"
        f" generators used {', '.join(f'{one:.0%}' for one in outcome.generator_shares)} of a core."
        " Latencies count from the planned moment of the audio or text.</p>",
        "<h2>Latencies (ms)</h2>",
        _latencies(raw["latencies_ms"]),
        *(f"<h2>{name.replace('_', ' ')}</h2>{plot(outcome, name)}" for name in _plotted(outcome)),
        "<h2>Counts</h2>",
        _table(("what", "number"), list(raw["counts"].items())),
        "<h2>Quality under load</h2>",
        _table(("score", "value"), [(k, f"{v:.2f}") for k, v in raw["scores"].items()]),
        "<h2>Server, from /metrics</h2>",
        _table(("metric", "grew by, or is"), [(k, f"{v:,.2f}") for k, v in raw["server"].items()]),
        f"<h2>Scenario</h2><pre>{html.escape(json.dumps(raw['scenario'], indent=1))}</pre></html>",
    ]
    return "\n".join(parts)


def plot(outcome: Outcome, name: str) -> str:
    """Median, 95th and 99th percentile of each second, as SVG."""
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    timeline = outcome.tally.timeline
    seconds = sorted(second for second, named in timeline.items() if name in named)
    figure = Figure(figsize=(9, 2.6), layout="constrained")
    FigureCanvasSVG(figure)
    axes = figure.subplots()
    for percentile, color in ((50, "#4878a8"), (95, "#d08020"), (99, "#b03030")):
        values = [float(np.percentile(timeline[at][name], percentile)) for at in seconds]
        axes.plot(seconds, values, color=color, label=f"p{percentile}", linewidth=1.2)
    axes.set(xlabel="second of the run", ylabel="ms", ylim=(0, None))
    axes.legend(loc="upper left", frameon=False)
    content = io.StringIO()
    figure.savefig(content, format="svg")
    svg = content.getvalue()
    return svg[svg.index("<svg") :]


def _plotted(outcome: Outcome) -> list[str]:
    seen = {name for named in outcome.tally.timeline.values() for name in named}
    return [name for name in SHOWN if name in seen]


def _latencies(named: Mapping[str, Mapping[str, Any]]) -> str:
    columns = ("count", *(f"p{p:g}" for p in PERCENTILES))
    rows = [(name, *(values[column] for column in columns)) for name, values in named.items()]
    return _table(("interval", *columns), rows)


def _table(heading: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    def row(cells: Sequence[object], tag: str) -> str:
        inner = "".join(f"<{tag}>{html.escape(str(cell))}</{tag}>" for cell in cells)
        return f"<tr>{inner}</tr>"

    return "<table>" + row(heading, "th") + "".join(row(one, "td") for one in rows) + "</table>"
