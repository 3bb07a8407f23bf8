"""Writes docs/metrics.md from the declarations: ``python -m legonn_server.telemetry.reference``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from prometheus_client import CollectorRegistry, Counter, Histogram

from legonn_server.telemetry.metrics import Family, Metrics

PAGE = Path("docs/metrics.md")

_HEAD = """# Metrics

Everything that `/metrics` of a gateway exposes, beside the usual `process_*` (and `engine_process_*` for the embedded engine's process). Written by `make docs` from `server/legonn_server/telemetry/metrics.py`; do not edit.

Labels come from closed sets: `method` and `code` of gRPC, `module` and `version` of what is loaded (series go when a version is unloaded), `kind`, `reason`, `cause` and `promise` of this code. No label and no value says who called, or what was said.
"""  # noqa: E501 - a paragraph of the page is one line


def page() -> str:
    """The whole page."""
    metrics = Metrics(CollectorRegistry())
    parts = [_HEAD]
    for room, families in metrics.families.items():
        parts.append(f"\n## {room}\n\n| name | type | labels | meaning |\n|---|---|---|---|\n")
        parts += [_row(family) for family in families]
    return "".join(parts)


def exposed_name(family: Family) -> str:
    """The name under which a query finds the metric."""
    return f"{family._name}_total" if isinstance(family, Counter) else family._name


def _row(family: Family) -> str:
    kind = type(family).__name__.lower()
    if isinstance(family, Histogram):
        kind += " (`_bucket`, `_sum`, `_count`)"
    labels = ", ".join(f"`{name}`" for name in family._labelnames) or "–"
    return f"| `{exposed_name(family)}` | {kind} | {labels} | {family._documentation} |\n"


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the page, or with --check say whether it is what the code gives."""
    parser = argparse.ArgumentParser(prog="metrics reference", description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; 1 if the page is old")
    if not parser.parse_args(arguments).check:
        PAGE.write_text(page(), encoding="utf-8")
        return 0
    if PAGE.is_file() and PAGE.read_text(encoding="utf-8") == page():
        return 0
    sys.stderr.write(f"{PAGE} is not what the metrics say; run: make docs\n")
    return 1


if __name__ == "__main__":
    sys.exit(main())
