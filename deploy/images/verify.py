"""Fail if this environment is not what its image promises: no torch in the gateway's."""

from __future__ import annotations

import importlib
import sys
from importlib.metadata import distributions

HEAVY = {"torch", "torchaudio", "safetensors", "sentencepiece", "triton"}
STARTS = {
    "gateway": ("legonn_server.app", "legonn_server.command"),
    "server": ("legonn_server.app", "legonn_core.runtime.process"),
    "core": ("legonn_core.runtime.host",),
    "triton": ("legonn_server.backends.triton",),
}


def main() -> int:
    """Check the extras named on the command line."""
    extras = sys.argv[1].split(",")
    held = {one.metadata["Name"].lower() for one in distributions()}
    is_light = not {"server", "core"} & set(extras)
    if is_light and held & HEAVY:
        print(f"the gateway must not hold {sorted(held & HEAVY)}", file=sys.stderr)
        return 1
    for extra in extras:
        for module in STARTS.get(extra, ()):
            importlib.import_module(module)
    print(f"{', '.join(extras)}: {len(held)} distributions, all needed modules start")
    return 0


if __name__ == "__main__":
    sys.exit(main())
