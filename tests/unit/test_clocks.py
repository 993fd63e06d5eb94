"""Frame numbers against times."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sensor.clocks import Clocks
from sensor.schema import Windows

if TYPE_CHECKING:
    import numpy as np

SECOND = 1_000_000_000


def rows(*seen: tuple[int, float], source: int = 0) -> np.ndarray:
    made = Windows.empty(len(seen))
    made["first_number"] = [number for number, _ in seen]
    made["first_ts_ns"] = [int(at * SECOND) for _, at in seen]
    made["first_input"] = source
    return made


def test_a_capture_in_order_has_a_clock_that_runs_on() -> None:
    clocks = Clocks()
    assert clocks.push(rows((1, 0), (2, 5), (9, 5))).tolist() == [0, 0, 0]
    assert clocks.push(rows((10, 6), (11, 7))).tolist() == [0, 0]


def test_a_frame_before_which_a_later_one_lies_is_told_by_how_much() -> None:
    # Frames 3 and 4 came after frames 1 and 2, with times 70 s and 69 s before frame 2.
    assert Clocks().push(rows((1, 100), (2, 120), (3, 50), (4, 51))).tolist() == [50_000, 70_000, 0, 0]


def test_it_is_the_same_however_rows_are_cut_and_inputs_are_apart() -> None:
    clocks = Clocks()
    assert clocks.push(rows((3, 50), (4, 51))).tolist() == [0, 0]
    assert clocks.push(rows((1, 100), source=1)).tolist() == [0]
    assert clocks.push(rows((2, 120), (1, 100))).tolist() == [70_000, 50_000]


def test_what_is_kept_is_bounded() -> None:
    clocks = Clocks()
    clocks.push(rows(*((number, number) for number in range(10_000))))
    assert len(clocks._records[0][0]) == 4096
    for source in range(2000):
        clocks.push(rows((1, 1), source=source))
    assert len(clocks._records) == 1024
