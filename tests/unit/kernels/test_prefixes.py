"""The kernel that finds an address's range, compiled and as plain Python, against the standard library's bisect."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sensor.kernels.prefixes import find_ranges

Find = Callable[..., int]
LANES = pytest.mark.parametrize("find", [find_ranges, find_ranges.py_func], ids=["compiled", "python"])
ADDRESSES = st.one_of(
    st.integers(0, 2**128 - 1),
    st.sampled_from([0, 1, 2**64 - 1, 2**64, 2**64 + 1, 2**63, 2**127, 2**128 - 1]),
    st.integers(0xFFFF_0A00_0000, 0xFFFF_0A00_00FF),
)


def split(numbers: list[int]) -> tuple[np.ndarray, np.ndarray]:
    return (
        np.array([n >> 64 for n in numbers], dtype=np.uint64),
        np.array([n & (2**64 - 1) for n in numbers], dtype=np.uint64),
    )


@LANES
def test_the_last_range_that_starts_at_or_below_the_address(find: Find) -> None:
    starts = split([0, 10, 2**64, 2**64 + 5, 2**127])
    addresses = split([0, 9, 10, 2**64 - 1, 2**64, 2**64 + 4, 2**64 + 5, 2**127 - 1, 2**127, 2**128 - 1])
    at = np.full(11, -7, dtype=np.int32)
    assert find(*starts, *addresses, at) == 10
    assert at.tolist() == [0, 0, 1, 1, 2, 2, 3, 3, 4, 4, -7]


@LANES
def test_without_ranges_nothing_is_looked_up(find: Find) -> None:
    at = np.full(1, -7, dtype=np.int32)
    assert find(*split([]), *split([1]), at) == 0
    assert at.tolist() == [-7]


@LANES
def test_unequal_lengths_are_never_read_beyond(find: Find) -> None:
    high, low = split([5, 6, 7])
    at = np.full(3, -7, dtype=np.int32)
    assert find(*split([0]), high[:2], low, at) == 2
    assert at.tolist() == [0, 0, -7]


@LANES
@given(starts=st.sets(ADDRESSES, max_size=12), addresses=st.lists(ADDRESSES, max_size=20))
def test_as_bisect(find: Find, starts: set[int], addresses: list[int]) -> None:
    ascending = sorted(starts | {0})
    at = np.empty(len(addresses), dtype=np.int32)
    assert find(*split(ascending), *split(addresses), at) == len(addresses)
    assert at.tolist() == [bisect_right(ascending, address) - 1 for address in addresses]


def test_inputs_may_be_readonly() -> None:
    high, low = split([3])
    high.flags.writeable = low.flags.writeable = False
    at = np.empty(1, dtype=np.int32)
    assert find_ranges(high, low, high, low, at) == 1
