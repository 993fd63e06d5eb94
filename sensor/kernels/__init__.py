"""Machine code under the stages: arrays in, arrays out, no Python objects, the GIL released.

A kernel has closed signatures, reads its inputs and writes `out_*` arrays, returns a count, never raises or prints, and
checks every length before it reads. Its machine code is made by numba: ahead of time into one file (`ahead.py`), so
that a run need not even import numba, or just in time where that file is missing or does not fit this machine.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from sensor.kernels import ahead

if TYPE_CHECKING:
    from collections.abc import Callable


@dataclass(frozen=True, slots=True)
class Scalar:
    """A number argument or result; int64 unless said otherwise."""

    dtype: np.dtype[Any]


@dataclass(frozen=True, slots=True)
class Array:
    """A contiguous array argument; a readonly one takes writable arrays too."""

    dtype: np.dtype[Any]
    dimensions: int = 1
    readonly: bool = False


INT64: Final = Scalar(np.dtype(np.int64))
BOOLEAN: Final = Scalar(np.dtype(np.bool_))
READONLY_BYTES: Final = Array(np.dtype(np.uint8), readonly=True)
BYTES: Final = Array(np.dtype(np.uint8))
INT64S: Final = Array(np.dtype(np.int64))
INT32S: Final = Array(np.dtype(np.int32))
WORDS: Final = Array(np.dtype(np.uint64), readonly=True)


def rows(dtype: np.dtype[Any], *, readonly: bool = False) -> Array:
    """Return the kernel type of an array of a table's rows."""
    return Array(dtype, readonly=readonly)


def kernel(*arguments: Scalar | Array) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Make a function a kernel of exactly these arguments, returning int64; its Python body stays as `py_func`."""

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        ready = ahead.find(function, arguments)
        made: Callable[..., Any] = ready if ready is not None else ahead.compile_now(function, arguments)
        return made

    return decorate


def inline() -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Make a function a part of kernels, compiled with them; where they are ready made it stays plain Python."""

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        return function if ahead.is_ready() else ahead.compile_inline(function)

    return decorate
