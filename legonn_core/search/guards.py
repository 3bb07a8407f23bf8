"""Against text that nobody said: what may not be written, and when nothing was said at all.

A decoder is a language model too, and given little it writes what is likely. These rules hold it to
the rows.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

TRACE = 1e-4
"""Least probability, in some row, of a class that may be written."""


def supported(peaks: NDArray[np.float32], *, always: Iterable[int] = ()) -> NDArray[np.bool_]:
    """(V,) which classes left a trace in some row.

    Args:
        peaks: (V,) natural log of each class's highest probability in any row.
        always: Classes that may be written whatever the rows say, such as forced ones.
    """
    found: NDArray[np.bool_] = peaks >= np.log(TRACE)
    found[list(always)] = True
    return found
