"""The routes file on disk: read when it changes, written whole or not at all.

The folder is looked at, not the file's handle: a mounted ConfigMap swaps a link, and an editor puts
a new file in place of the old one.
"""

from __future__ import annotations

import fcntl
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from legonn_core.errors import BadConfig, RoutesReadOnly

FILE = "routes.toml"
_LOCK = ".routes.lock"
_MAX_BYTES = 1 << 20

Stamp = tuple[int, int, int]


class RoutesFolder:
    """See the module's docstring.

    Args:
        folder: Where ``routes.toml`` is, or will be.
        is_read_only: Never write, whatever the file system would allow.
    """

    def __init__(self, folder: Path, *, is_read_only: bool = False) -> None:
        self._folder = folder
        self._is_read_only = is_read_only
        self._seen: Stamp | None = None

    @property
    def path(self) -> Path:
        """The file."""
        return self._folder / FILE

    def changed(self) -> bool:
        """Whether the file is another than at the last ``read``; a missing file is no change."""
        stamp = self._stamp()
        return stamp is not None and stamp != self._seen

    def read(self) -> str | None:
        """The file's text, or None if there is none.

        Raises:
            BadConfig: If it is no text, or far too large.
        """
        stamp = self._stamp()
        if stamp is None:
            return None
        self._seen = stamp
        try:
            content = self.path.read_bytes()
            if len(content) > _MAX_BYTES:
                raise BadConfig(f"routes file: more than {_MAX_BYTES} bytes")
            return content.decode("utf-8")
        except FileNotFoundError:
            return None
        except (OSError, UnicodeDecodeError) as error:
            raise BadConfig(f"routes file: cannot be read ({type(error).__name__})") from error

    def write(self, text: str) -> None:
        """Put a new file in place of the old one, on disk before it is visible.

        Raises:
            RoutesReadOnly: If the folder cannot be written to.
        """
        try:
            handle, name = tempfile.mkstemp(dir=self._folder, prefix=".routes-")
            try:
                with os.fdopen(handle, "w", encoding="utf-8") as file:
                    file.write(text)
                    file.flush()
                    os.fsync(file.fileno())
                    os.fchmod(file.fileno(), 0o644)
                Path(name).replace(self.path)
            except OSError:
                # A full disk is not to be filled further, one try after the other.
                Path(name).unlink(missing_ok=True)
                raise
        except OSError as error:
            raise RoutesReadOnly(
                f"the routes file cannot be written ({error.strerror}); change it where it is made"
            ) from error
        self._seen = self._stamp()

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep other gateways from writing between our read and our write.

        Raises:
            RoutesReadOnly: If the folder cannot be written to.
        """
        if self._is_read_only:
            raise RoutesReadOnly(
                "the routes come from a file that this server may not write;"
                " change the file, for example its ConfigMap"
            )
        try:
            lock = (self._folder / _LOCK).open("w")
        except OSError as error:
            raise RoutesReadOnly(
                f"the routes file cannot be written ({error.strerror}); change it where it is made"
            ) from error
        with lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def _stamp(self) -> Stamp | None:
        try:
            found = self.path.stat()
        except OSError:
            return None
        return found.st_ino, found.st_mtime_ns, found.st_size
