"""Reading a module store as what it is: files from somebody else.

Nothing outside the store is read, whatever names and links inside it say, and no file is read that
is larger than it may be.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path

from legonn_core.errors import BadModule

MAX_CARD_BYTES = 1 << 20
MAX_VOCABULARY_BYTES = 64 << 20
MAX_GOLDEN_BYTES = 64 << 20
MAX_MODULE_BYTES = 64 << 30


def read_inside(
    store: Path, relative: str, *, max_bytes: int, num_bytes: int | None = None
) -> bytes:
    """The content of one file.

    Args:
        store: Module store.
        relative: Where the file is in it: ``NAME/VERSION/FILE``.
        max_bytes: A larger file is refused before it is read.
        num_bytes: What its card says that it has.

    Raises:
        BadModule: If it is not there, no plain file, too large, or outside the store.
    """
    name, version, *rest = relative.split("/", 2)
    where = f"{name}/{version}: {''.join(rest)}"
    try:
        path = (store / relative).resolve(strict=True)
        if not path.is_relative_to(store.resolve(strict=True)):
            raise BadModule(f"{where} is a link that leads out of the module store")
        # Opened without following one more link, and looked at as the open file that it is.
        with os.fdopen(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK), "rb") as file:
            found = os.fstat(file.fileno())
            if not stat.S_ISREG(found.st_mode):
                raise BadModule(f"{where} is no plain file")
            if num_bytes is not None and found.st_size != num_bytes:
                raise BadModule(
                    f"{where} has {found.st_size} bytes, its card says {num_bytes};"
                    " the file is cut short or from another version"
                )
            if found.st_size > max_bytes:
                raise BadModule(f"{where} has {found.st_size} bytes; at most {max_bytes}")
            return file.read(found.st_size)
    except OSError as error:
        raise BadModule(f"{where} cannot be read ({error.strerror})") from error
