"""How much memory a module takes, how much there is, and giving it back after an unload."""

from __future__ import annotations

import ctypes
import gc
from pathlib import Path

from legonn_core.errors import Overloaded
from legonn_core.interface.card import ModuleCard

FLOAT_BYTES = 4
HEADROOM = 2.5
"""Weights are in memory as bytes of the file, as int8 and as float32 while a module is read."""

_LIMITS = (
    (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory.current")),
    (
        Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"),
        Path("/sys/fs/cgroup/memory/memory.usage_in_bytes"),
    ),
)


def needed_bytes(card: ModuleCard, slots: int) -> int:
    """Memory of a module in service: its weights and the state of all slots."""
    return FLOAT_BYTES * card.num_parameters + slots * card.state_bytes


def available_bytes() -> int | None:
    """Memory that this process may still take; None where nobody can say."""
    found = [one for one in (_of_machine(), *map(_of_group, _LIMITS)) if one is not None]
    return min(found) if found else None


def refuse_too_large(card: ModuleCard, slots: int, available: int | None) -> None:
    """Refuse a module rather than run out of memory with it.

    Args:
        card: Of the module that shall be loaded.
        slots: Streams it shall hold.
        available: Bytes that may be taken; None refuses nothing.

    Raises:
        Overloaded: If loading it may take more than there is.
    """
    needed = int(HEADROOM * FLOAT_BYTES * card.num_parameters) + slots * card.state_bytes
    if available is not None and needed > available:
        raise Overloaded(
            f"{card.name}/{card.version} needs up to {needed >> 20} MiB while it is loaded, and"
            f" {available >> 20} MiB are free; unload a version first"
        )


def give_back() -> None:
    """Return freed memory to the system; without this the allocator keeps it for later."""
    gc.collect()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


def _of_machine() -> int | None:
    try:
        lines = Path("/proc/meminfo").read_text("ascii").splitlines()
    except OSError:
        return None
    found = [line.split()[1] for line in lines if line.startswith("MemAvailable:")]
    return int(found[0]) * 1024 if found else None


def _of_group(files: tuple[Path, Path]) -> int | None:
    try:
        limit, used = (file.read_text("ascii").strip() for file in files)
    except OSError:
        return None
    return int(limit) - int(used) if limit.isdecimal() and used.isdecimal() else None
