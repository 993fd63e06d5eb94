"""What stands in two inputs is given once; what stands twice in one input is left alone."""

from __future__ import annotations

import numpy as np

from sensor.overlaps import Overlaps
from sensor.schema import Packets, Rows


def packets(*rows: tuple[int, int, int]) -> Rows:
    """Return packets of (time, sequence number, input), numbered in their input."""
    made = Packets.empty(len(rows))
    made[:] = np.zeros(len(rows), dtype=made.dtype)
    for at, (ts_ns, seq, source) in enumerate(rows):
        made[at]["ts_ns"], made[at]["seq"], made[at]["input"], made[at]["number"] = ts_ns, seq, source, at
    return made


def left(*pushes: list[tuple[int, int, int]]) -> tuple[list[tuple[int, int, int]], dict[int, int]]:
    overlaps = Overlaps()
    found = [overlaps.push(packets(*rows)) for rows in pushes]
    told = [(int(p["ts_ns"]), int(p["seq"]), int(p["input"])) for part in found for p in part]
    return told, overlaps.repeated


def test_nothing_in_common() -> None:
    rows = [(1, 1, 0), (2, 2, 1), (3, 3, 0)]
    assert left(rows) == (rows, {})
    assert left([]) == ([], {})


def test_same_packet_of_two_inputs() -> None:
    assert left([(1, 1, 0), (2, 2, 0), (2, 2, 1), (3, 3, 1)]) == ([(1, 1, 0), (2, 2, 0), (3, 3, 1)], {1: 1})


def test_same_time_is_not_the_same_packet() -> None:
    rows = [(2, 2, 0), (2, 3, 1)]
    assert left(rows) == (rows, {})


def test_same_packet_twice_in_one_input_stays() -> None:
    rows = [(2, 2, 0), (2, 2, 0)]
    assert left(rows) == (rows, {})
    # Twice in both: each input's first is the other's first.
    assert left([(2, 2, 0), (2, 2, 0), (2, 2, 1), (2, 2, 1)]) == (rows, {1: 2})
    assert left([(2, 2, 0), (2, 2, 1), (2, 2, 1)]) == ([(2, 2, 0), (2, 2, 1)], {1: 1})


def test_three_inputs() -> None:
    assert left([(2, 2, 0), (2, 2, 1), (2, 2, 2), (2, 9, 2)]) == ([(2, 2, 0), (2, 9, 2)], {1: 1, 2: 1})


def test_over_the_edge_of_a_push() -> None:
    assert left([(1, 1, 0), (2, 2, 0)], [(2, 2, 1), (3, 3, 1)]) == ([(1, 1, 0), (2, 2, 0), (3, 3, 1)], {1: 1})
    assert left([(2, 2, 0)], [(2, 3, 0)], [(2, 2, 1), (2, 3, 1)]) == ([(2, 2, 0), (2, 3, 0)], {1: 2})


def test_an_instant_without_end_is_bounded() -> None:
    overlaps = Overlaps()
    for _ in range(3):
        overlaps.push(packets(*((5, seq, 0) for seq in range(3000))))
    assert len(overlaps._last) <= 4096
