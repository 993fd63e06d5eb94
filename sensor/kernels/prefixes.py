"""Addresses to the range of address space they lie in: longest-prefix match, once the prefixes are flattened."""

from typing import Final

import numpy as np
import numpy.typing as npt

from sensor.kernels import WORDS, Array, kernel

Words = npt.NDArray[np.uint64]
Places = npt.NDArray[np.int32]

_PLACES: Final = Array(np.dtype(np.int32))


@kernel(WORDS, WORDS, WORDS, WORDS, _PLACES)
def find_ranges(starts_hi: Words, starts_lo: Words, hi: Words, lo: Words, out_at: Places) -> int:
    """Find for each address the last range that starts at or below it.

    Parameters
    ----------
    starts_hi, starts_lo : uint64[R]
        First addresses of the ranges, ascending; the first range starts at address 0.
    hi, lo : uint64[N]
        Addresses.
    out_at : int32[>= N]
        Index of the range of each address.

    Returns
    -------
    int64
        Addresses looked up: N, or 0 without ranges.

    Raises
    ------
    Nothing.
    """
    ranges = min(len(starts_hi), len(starts_lo))
    if ranges == 0:
        return 0
    count = min(len(hi), len(lo), len(out_at))
    for row in range(count):
        high, low = hi[row], lo[row]
        first, beyond = 0, ranges
        while beyond - first > 1:
            middle = (first + beyond) >> 1
            at = starts_hi[middle]
            if at < high or (at == high and starts_lo[middle] <= low):
                first = middle
            else:
                beyond = middle
        out_at[row] = first
    return count
