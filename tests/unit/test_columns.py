"""Columns without memory where all rows say the same: they read like any other, and sums are exact however narrow."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from sensor import columns, text
from sensor.schema import Windows

MANY = 10_000


def _windows() -> np.ndarray:
    rows = Windows.empty(MANY)
    rows["flow"] = np.arange(MANY)
    rows["orig_packets"] = 1
    return rows


def test_rows_are_spread_and_what_all_share_takes_no_room() -> None:
    rows = _windows()
    made = columns.spread(rows, Windows.names())
    assert all((made[name] == rows[name]).all() for name in Windows.names())
    assert made["flow"].flags.c_contiguous
    assert made["orig_packets"].strides == (0,)
    assert columns.spread(rows[:0], ["flow"])["flow"].tolist() == []


def test_one_odd_row_makes_a_column_whole() -> None:
    rows = _windows()
    rows["orig_packets"][MANY // 2] = 2
    assert columns.spread(rows, ["orig_packets"])["orig_packets"].sum() == MANY + 1


def test_a_repeated_value_stays_one_when_it_is_widened() -> None:
    made = columns.widened(np.broadcast_to(np.int32(7), MANY), np.int64)
    assert made.strides == (0,)
    assert made.dtype == np.int64
    assert columns.widened(np.array([1, 2], dtype=np.int8), np.int64).tolist() == [1, 2]


def _frame(start: int, share: int) -> pd.DataFrame:
    number = np.arange(start, start + MANY)
    made = {
        "flow": number,
        "share": np.full(MANY, share),
        "site": pd.Categorical.from_codes(np.zeros(MANY, dtype=np.int8), categories=["hq"]),
        "ip": text.addresses(np.zeros(MANY, np.uint64), number.astype(np.uint64)),
    }
    return columns.frame(made, made)


@pytest.mark.parametrize("share", [5, 6])
def test_stacked_frames_are_what_pandas_would_make_of_them(share: int) -> None:
    parts = [_frame(0, 5), _frame(MANY, share), _frame(0, 5).iloc[:0]]
    stacked = columns.stack(parts)
    pd.testing.assert_frame_equal(stacked, pd.concat(parts, ignore_index=True))
    assert (stacked["share"].to_numpy().strides == (0,)) == (share == 5)


def test_what_is_drained_is_held_once() -> None:
    parts = [_frame(0, 5), _frame(MANY, 6)]
    expected = columns.stack(parts)
    pd.testing.assert_frame_equal(columns.drain(parts), expected)
    assert parts == []
    assert columns.drain([expected]) is expected


def test_frames_of_two_policies_and_no_frames_are_stacked_too() -> None:
    other = _frame(0, 5).assign(site=pd.Categorical.from_codes(np.zeros(MANY, dtype=np.int8), categories=["branch"]))
    assert set(columns.stack([_frame(0, 5), other])["site"]) == {"hq", "branch"}
    assert len(columns.stack([_frame(0, 5).iloc[:0], other.iloc[:0]])) == 0


def test_sums_grow_as_wide_as_they_must() -> None:
    sums = columns.Sums()
    flows = np.array([3, 5, 9])
    assert sums.meet(flows).tolist() == [True, True, True]
    for amount in (100, 100, 40_000, 2**33, -(2**40)):
        sums.add("bytes", sums.at(flows), np.array([amount, 0, 1]))
    assert sums.get("bytes", sums.at(flows)).tolist() == [40_200 + 2**33 - 2**40, 0, 5]
    assert sums.get("bytes", sums.at(flows)).dtype == np.int64


def test_flows_that_come_late_and_flows_that_are_over_leave_the_others_as_they_were() -> None:
    sums = columns.Sums()
    for flows in ([4, 8], [2, 4, 6], [1]):
        numbers = np.array(flows)
        sums.meet(numbers)
        sums.add("bytes", sums.at(numbers), numbers)
    assert sums.flows.tolist() == [1, 2, 4, 6, 8]
    assert sums.get("bytes", sums.at(np.array([1, 4, 8]))).tolist() == [1, 8, 8]
    sums.drop(sums.at(np.array([2, 4])))
    assert sums.flows.tolist() == [1, 6, 8]
    assert sums.get("bytes", sums.at(np.array([1, 6, 8]))).tolist() == [1, 6, 8]
    assert sums.meet(np.array([2, 6])).tolist() == [True, False]
    assert sums.get("bytes", sums.at(np.array([2]))).tolist() == [0]
    sums.drop(sums.at(np.zeros(0, dtype=np.int64)))
    assert sums.meet(np.zeros(0, dtype=np.int64)).tolist() == []
