"""Machine code under the stages: arrays in, arrays out, no Python objects, the GIL released.

A kernel has closed signatures, reads its inputs and writes `out_*` arrays, returns a count, never raises or prints, and
checks every length before it reads. `NUMBA_BOUNDSCHECK=1` turns a read past an end into an error for tests.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import numba
import numpy as np
from numba import types

_Function = TypeVar("_Function", bound=Callable[..., Any])


def kernel(*signatures: Any) -> Callable[[_Function], _Function]:
    """Compile a function for exactly these signatures, keeping the machine code beside the source for the next start."""
    decorate: Callable[[_Function], _Function] = numba.njit(list(signatures), nogil=True, cache=True, error_model="numpy")
    return decorate


def inline() -> Callable[[_Function], _Function]:
    """Compile a part of a kernel, to be inlined wherever a kernel calls it."""
    decorate: Callable[[_Function], _Function] = numba.njit(nogil=True, cache=True, error_model="numpy")
    return decorate


def rows(dtype: np.dtype[Any], *, readonly: bool = False) -> types.Array:
    """Return the kernel type of an array of a table's rows."""
    return types.Array(numba.from_dtype(dtype), 1, "C", readonly=readonly, aligned=True)


READONLY_BYTES = types.Array(types.uint8, 1, "C", readonly=True)
INT64S = types.Array(types.int64, 1, "C")
