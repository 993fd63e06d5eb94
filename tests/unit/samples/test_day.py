"""The day is one day, always the same, and its twenty causes are of fifteen rules."""

from __future__ import annotations

import struct

from sensor.samples import day

DAY_S = 86_400


def test_it_is_the_same_each_time() -> None:
    assert day.build() == day.build()


def test_it_is_one_day() -> None:
    data = day.build()
    at, times = 24, []
    while at < len(data):
        seconds, _, size, _ = struct.unpack_from("<IIII", data, at)
        times.append(seconds)
        at += 16 + size
    assert day.START // 10**9 <= min(times) < max(times) < day.START // 10**9 + DAY_S
    assert times == sorted(times)


def test_its_causes_are_twenty_and_all_different() -> None:
    assert len(set(day.CAUSES)) == len(day.CAUSES) == 20
    assert len({cause.rule for cause in day.CAUSES}) == 15
