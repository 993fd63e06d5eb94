"""The event clock: it follows the wall clock forward, and never goes back."""

from __future__ import annotations

import time

import numpy as np

from sensor.live import EventClock, _offset_ns
from sensor.schema import Frames

SECOND = 1_000_000_000
HOUR = 3600 * SECOND


def test_slewing_is_no_step() -> None:
    clock = EventClock(0)
    assert [clock.check(at) for at in (SECOND // 2, SECOND, SECOND // 4)] == ["", "", ""]
    assert clock.ahead_ns == 0


def test_a_step_forward_is_followed() -> None:
    offset = _offset_ns()
    clock = EventClock(offset)
    assert clock.check(offset + HOUR) == "the clock was set forward by 3,600 s; times of events follow it"
    assert abs(clock.now_ns() - time.time_ns() - HOUR) < SECOND


def test_time_runs_on_through_a_step_back() -> None:
    offset = _offset_ns()
    clock = EventClock(offset)
    told = clock.check(offset - HOUR)
    assert told == "the clock was set back by 3,600 s; times of events run on, 3,600 s ahead of it"
    assert abs(clock.now_ns() - time.time_ns()) < SECOND  # as if nothing had happened
    assert clock.check(offset).endswith("times of events follow it")
    assert clock.ahead_ns == 0
    assert abs(clock.now_ns() - time.time_ns()) < SECOND


def test_packets_stamped_before_and_after_a_step_back_stay_in_order() -> None:
    offset = _offset_ns()
    clock = EventClock(offset)
    now = clock.now_ns()
    clock.check(offset - HOUR)
    frames = Frames.empty(3)
    frames["ts_ns"] = (now - 5, now - HOUR, now - HOUR + 7)
    clock.correct(frames)
    assert frames["ts_ns"].tolist() == [now - 5, now, now + 7]
    assert np.all(np.diff(frames["ts_ns"]) > 0)
