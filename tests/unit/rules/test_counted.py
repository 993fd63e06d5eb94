"""Counted flows against a plain set, however they came."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sensor.rules.counted import Counted


def whole(numbers: list[int]) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    return np.array(numbers, dtype=np.int64)


@settings(max_examples=300, deadline=None)
@given(st.lists(st.sets(st.integers(-9, 40), max_size=12), max_size=8), st.integers(1, 30))
def test_they_are_a_set_that_forgets_its_lowest(batches: list[set[int]], most: int) -> None:
    counted, plain = Counted(), set[int]()
    for batch in batches:
        new = whole(sorted(batch, key=hash))
        known = counted.has(new)
        assert known.tolist() == [each in plain for each in new.tolist()]
        counted.add(new[~known])
        plain |= batch
        kept = set(sorted(plain)[-most:])
        assert counted.keep(most) == len(plain) - len(kept)
        plain = kept
        assert len(counted) == len(plain)
        assert (counted.first[1:] > counted.behind[:-1]).all(), "runs are apart"
    assert np.flatnonzero(counted.has(np.arange(-20, 60, dtype=np.int64))).tolist() == sorted(
        each + 20 for each in plain
    )


def test_a_million_that_follow_one_another_are_one_run() -> None:
    counted = Counted()
    counted.add(np.arange(500_000, 1_000_000, dtype=np.int64))
    counted.add(np.arange(500_000, dtype=np.int64)[::-1])
    assert (counted.first.tolist(), counted.behind.tolist(), len(counted)) == ([0], [1_000_000], 1_000_000)


@pytest.mark.parametrize("most", [0, 1, 3, 4, 9])
def test_what_is_forgotten_may_be_the_middle_of_a_run(most: int) -> None:
    counted = Counted()
    counted.add(whole([1, 2, 3, 7, 8, 9, 10]))
    assert counted.keep(most) == max(7 - most, 0)
    assert np.flatnonzero(counted.has(np.arange(12, dtype=np.int64))).tolist() == (
        [1, 2, 3, 7, 8, 9, 10][-most:] if most else []
    )
