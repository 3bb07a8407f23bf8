"""Loops over arrays that are compiled at their first call, where numpy would take many passes.

A token step of one request is some hundred small operations; called one by one from Python they
cost more than the arithmetic in them (docs/adr/0016-compiled-token-steps.md). A compiled function
takes and returns numbers and arrays only, and is pure Python that reads as it runs.

The machine code is kept beside the source, or in the user's cache folder, so that only the first
process pays for the compiler. What was kept is dropped when the file changes; functions that call
one another must therefore be in one file.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import ParamSpec, TypeVar

import numba

_Parameters = ParamSpec("_Parameters")
_Result = TypeVar("_Result")

_REORDERED = {"reassoc", "contract", "arcp", "nsz"}
"""Sums may be taken in another order; infinities and NaN keep their meaning."""


def compiled(function: Callable[_Parameters, _Result]) -> Callable[_Parameters, _Result]:
    """Compile a function for each set of argument types at its first call."""
    return _compiled(function, set())


def compiled_loosely(function: Callable[_Parameters, _Result]) -> Callable[_Parameters, _Result]:
    """The same where sums may be taken in any order, so that many terms are added at a time."""
    return _compiled(function, _REORDERED)


def _compiled(
    function: Callable[_Parameters, _Result], allowed: set[str]
) -> Callable[_Parameters, _Result]:
    fast = allowed or False
    try:
        keep = numba.njit(cache=True, fastmath=fast, error_model="numpy", nogil=True)
        return keep(function)
    except RuntimeError:  # no folder where code could be kept, as in a read-only container
        return numba.njit(fastmath=fast, error_model="numpy", nogil=True)(function)
