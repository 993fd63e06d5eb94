"""Whole rows moved as bytes: the same as NumPy's own way, and really faster."""

from __future__ import annotations

import numpy as np
import pytest

from sensor.rows import copy, join, pick, roomier
from sensor.schema import Messages, Packets, Rows, Windows


def made(count: int, seed: int = 1) -> Rows:
    rows = Packets.empty(count)
    chance = np.random.default_rng(seed)
    for name in Packets.names():
        rows[name] = chance.integers(0, 200, count)
    return rows


def test_a_copy_is_equal_and_apart() -> None:
    rows = made(50)
    got = copy(rows[10:20])
    assert got.dtype == rows.dtype
    assert got.flags.aligned
    assert np.array_equal(got, rows[10:20])
    got["seq"] = 7
    assert not np.array_equal(got, rows[10:20])
    assert len(copy(rows[:0])) == 0


def test_rows_with_gaps_between_them() -> None:
    rows = made(50)
    assert np.array_equal(copy(rows[::3]), rows[::3])


def test_joined_rows_stand_one_after_the_other() -> None:
    parts = [made(3, 1), made(0), made(4, 2)]
    got = join(parts)
    assert got.dtype == Packets.dtype()
    assert np.array_equal(got, np.concatenate(parts))
    assert join([made(0), parts[0]]) is parts[0]
    assert len(join([made(0), made(0)])) == 0


def test_tables_are_not_mixed() -> None:
    with pytest.raises(TypeError, match="different tables"):
        join([Windows.empty(1), Messages.empty(1)])
    with pytest.raises(TypeError, match="different tables"):
        join([Windows.empty(0), Messages.empty(1)])


def test_rows_are_picked_by_mask_and_by_place() -> None:
    rows = made(20)
    mask = rows["seq"] > 100
    assert np.array_equal(pick(rows, mask), rows[mask])
    order = np.argsort(rows["seq"], kind="stable")
    assert np.array_equal(pick(rows, order), rows[order])
    with pytest.raises(IndexError):
        pick(rows, np.array([20]))


def test_room_grows_and_what_was_filled_stays() -> None:
    table = Windows.empty(4)
    table["flow"] = [1, 2, 3, 4]
    larger = roomier(table, 3, 10)
    assert len(larger) == 10
    assert larger["flow"][:3].tolist() == [1, 2, 3]
