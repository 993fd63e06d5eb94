"""Packets of any inputs leave in order of time, input and frame, and never before something older can still come."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from sensor.order import Order
from sensor.schema import Packets, Rows


def packets(*rows: tuple[int, int, int]) -> tuple[Rows, np.ndarray]:
    """Return packets of (time, input, frame), each with a payload of its own byte."""
    made = Packets.empty(len(rows))
    data = np.zeros(len(rows) * 4, dtype=np.uint8)
    for at, (ts_ns, source, number) in enumerate(rows):
        made[at]["ts_ns"], made[at]["input"], made[at]["number"] = ts_ns, source, number
        made[at]["payload_at"], made[at]["payload_captured"] = 4 * at, 4
        data[4 * at : 4 * at + 4] = [number & 255, source, 7, 7]
    return made, data


def left(order: Order, watermark: int | None) -> list[tuple[int, int, int]]:
    """Return (time, input, frame) of what is released; its payload must have come along."""
    found = []
    for ordered in order.release(watermark):
        for packet in ordered.packets:
            at = int(packet["payload_at"])
            assert ordered.data[at : at + 2].tolist() == [int(packet["number"]) & 255, int(packet["input"])]
            found.append((int(packet["ts_ns"]), int(packet["input"]), int(packet["number"])))
    return found


def test_nothing_leaves_within_the_horizon() -> None:
    order = Order(horizon_ns=50)
    order.push(*packets((100, 0, 1), (150, 0, 2), (200, 0, 3)))
    assert left(order, 200) == [(100, 0, 1)]  # older than 200 - 50, and 150 is not
    assert left(order, 201) == [(150, 0, 2)]
    assert left(order, 201) == []
    assert left(order, None) == [(200, 0, 3)]
    assert left(order, None) == []


def test_disorder_within_a_batch_is_put_right() -> None:
    order = Order(horizon_ns=50)
    order.push(*packets((130, 0, 1), (100, 0, 2), (120, 0, 3)))
    order.push(*packets((110, 0, 4), (160, 0, 5)))
    assert left(order, 160) == [(100, 0, 2)]
    assert left(order, None) == [(110, 0, 4), (120, 0, 3), (130, 0, 1), (160, 0, 5)]


def test_two_inputs_are_merged() -> None:
    order = Order(horizon_ns=0)
    order.push(*packets((10, 1, 1), (30, 1, 2)))
    order.push(*packets((20, 0, 1), (40, 0, 2)))
    assert left(order, 31) == [(10, 1, 1), (20, 0, 1), (30, 1, 2)]
    assert left(order, None) == [(40, 0, 2)]


def test_equal_times_follow_input_and_frame() -> None:
    order = Order()
    order.push(*packets((10, 1, 1), (10, 1, 2)))
    order.push(*packets((9, 0, 1), (10, 0, 2)))
    assert left(order, None) == [(9, 0, 1), (10, 0, 2), (10, 1, 1), (10, 1, 2)]


def test_equal_times_at_the_seam_of_batches_too() -> None:
    order = Order()
    order.push(*packets((10, 0, 1)))
    order.push(*packets((10, 1, 1)))
    order.push(*packets((10, 0, 2)))
    assert left(order, None) == [(10, 0, 1), (10, 0, 2), (10, 1, 1)]


def test_an_empty_batch_holds_nothing_up() -> None:
    order = Order()
    order.push(*packets())
    assert left(order, 1000) == []
    order.push(*packets((5, 0, 1)))
    order.push(*packets())
    assert left(order, None) == [(5, 0, 1)]


@settings(deadline=None)
@given(
    times=st.lists(st.integers(0, 1000), min_size=1, max_size=60, unique=True),
    cuts=st.lists(st.integers(0, 60), max_size=6),
    disorder=st.integers(0, 50),
    seed=st.randoms(use_true_random=False),
)
def test_any_batches_of_any_inputs(times: list[int], cuts: list[int], disorder: int, seed: object) -> None:
    rng = seed
    listed = sorted(times, key=lambda t: t + rng.randint(0, disorder))  # type: ignore[attr-defined]
    rows = [(t, rng.randint(0, 2), at) for at, t in enumerate(listed)]  # type: ignore[attr-defined]
    order, out, newest = Order(horizon_ns=50), [], 0
    edges = sorted({0, len(rows), *(c for c in cuts if c < len(rows))})
    for start, end in pairwise(edges):
        order.push(*packets(*rows[start:end]))
        newest = max([newest, *(t for t, _, _ in rows[start:end])])
        part = left(order, newest)
        assert all(t < newest - 50 for t, _, _ in part)
        out += part
    assert out + left(order, None) == sorted(rows)


def test_what_is_held_back_says_what_it_still_needs_and_moves_out() -> None:
    order = Order(horizon_ns=50)
    ring, other = packets((100, 0, 4), (160, 0, 5), (170, 0, 6)), packets((155, 1, 1))
    order.push(*ring)
    order.push(*other)
    assert order.oldest_in(ring[1]) == 4
    assert left(order, 200) == [(100, 0, 4)]
    # Of two inputs: what is held is merged, and has bytes of its own.
    assert order.oldest_in(ring[1]) is None
    single, kept = Order(horizon_ns=50), packets((100, 0, 4), (160, 0, 5), (170, 0, 6))
    single.push(*kept)
    assert left(single, 200) == [(100, 0, 4)]
    assert single.oldest_in(kept[1]) == 5
    single.move_out_of(kept[1])
    assert single.oldest_in(kept[1]) is None
    kept[1][:] = 255
    assert left(single, None) == [(160, 0, 5), (170, 0, 6)]
