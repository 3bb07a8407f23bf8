"""Print what this environment holds as a CycloneDX 1.6 bill of materials."""

from __future__ import annotations

import json
import sys
from importlib.metadata import Distribution, distributions
from typing import Any


def component(found: Distribution) -> dict[str, Any]:
    """One distribution."""
    meta = found.metadata
    name, version = meta["Name"], found.version
    entry: dict[str, Any] = {
        "type": "library",
        "name": name,
        "version": version,
        "purl": f"pkg:pypi/{name.lower().replace('_', '-')}@{version}",
    }
    licence = meta.get("License-Expression") or (meta.get("License") or "").partition("\n")[0]
    if licence:
        entry["licenses"] = [{"license": {"name": licence[:80]}}]
    return entry


def bill() -> dict[str, Any]:
    """The whole bill."""
    found = sorted(distributions(), key=lambda one: one.metadata["Name"].lower())
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "components": [component(one) for one in found],
    }


if __name__ == "__main__":
    json.dump(bill(), sys.stdout, indent=1)
