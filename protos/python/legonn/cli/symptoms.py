"""What the numbers of /metrics say about a server that is not well: pure, samples to sentences.

The names in brackets are headings of docs/operations.md.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

Samples = Mapping[str, float]
"""``name{labels}`` → value, as a page of /metrics lists them."""

LAG_S = 2.0


def parsed(page: str) -> dict[str, float]:
    """The samples of a page in Prometheus' text format; lines of another form are left out."""
    samples = {}
    for line in page.splitlines():
        name, _, value = line.rpartition(" ")
        if name and not line.startswith("#"):
            try:
                samples[name] = float(value)
            except ValueError:
                continue
    return samples


def why_not_serving(samples: Samples) -> str:
    """Why health says NOT_SERVING; empty if the numbers do not tell."""
    if total(samples, "legonn_draining"):
        return "it was told to stop and is draining; another one should take its callers"
    if not total(samples, "legonn_backend_up"):
        lost = total(samples, "legonn_backend_restarts_total")
        if lost:
            return (
                f"its engine was lost {lost:.0f} times and is down now; its log says why"
                " [LegonnEngineDown]"
            )
        return "its modules are still loading; that takes up to a minute on a slow disk"
    return ""


def symptoms(samples: Samples) -> Iterator[str]:
    """What is wrong though it serves, worst first."""
    broken = total(samples, "legonn_invariant_violations_total")
    if broken:
        yield f"{broken:.0f} answers would have broken a promise [LegonnPromiseBroken]"
    for kind in ("speech", "text"):
        limit = samples.get(f'legonn_sessions_limit{{kind="{kind}"}}', 0.0)
        held = samples.get(f'legonn_sessions_open{{kind="{kind}"}}', 0.0)
        if limit and held >= limit:
            yield f"all {limit:.0f} places for {kind} are taken, callers refused [LegonnRefusals]"
    behind = share_above(samples, "legonn_stream_lag_seconds", LAG_S)
    if behind > 0.05:
        yield f"{behind:.0%} of looks at streams found them {LAG_S:g} s behind [LegonnStreamsLag]"
    late = share_above(samples, "legonn_event_loop_lag_seconds", 0.1)
    if late > 0.01:
        yield f"the event loop was 0.1 s late {late:.0%} of the time [LegonnEventLoopBlocked]"
    waiting = total(samples, "legonn_decoder_waiting_jobs")
    if waiting > 16:
        yield f"{waiting:.0f} decodes wait for the engine [LegonnFinalsLate]"
    lost = total(samples, "legonn_backend_restarts_total")
    if lost:
        yield f"its engine was lost {lost:.0f} times since it started [LegonnEngineDown]"


def total(samples: Samples, name: str) -> float:
    """The sum over all labels; 0 if there is none."""
    return sum(
        value for key, value in samples.items() if key == name or key.startswith(f"{name}{{")
    )


def share_above(samples: Samples, name: str, bound: float) -> float:
    """Share of a histogram's observations above one of its bucket bounds."""
    count = samples.get(f"{name}_count", 0.0)
    below = samples.get(f'{name}_bucket{{le="{bound:.1f}"}}', count)
    return (count - below) / count if count else 0.0
