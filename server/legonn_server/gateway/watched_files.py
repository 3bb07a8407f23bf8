"""Whether files changed, seen from their metadata; symlinks are followed, as mounts swap those."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

Stamp = tuple[tuple[int, int, int], ...]
"""Time of change in ns, size and inode of each file; zeros for one that is not there."""


def stamp_of(files: Iterable[Path]) -> Stamp:
    """The files as they are now."""
    return tuple(_one(path) for path in files)


def _one(path: Path) -> tuple[int, int, int]:
    try:
        found = path.stat()
    except OSError:
        return (0, 0, 0)
    return (found.st_mtime_ns, found.st_size, found.st_ino)
