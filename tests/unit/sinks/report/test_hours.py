"""The window calendar: the right hour of the right day in local time, and slots where the wall clock has them."""

from __future__ import annotations

import re

import numpy as np

from sensor.policy import Policy, Site
from sensor.sinks.report import hours
from sensor.sinks.report.marks import Beside
from tests import cases
from tests.cases import NOON, SECOND

HOUR = 3600 * SECOND
BERLIN = Policy(sites=(Site("hq", (), timezone="Europe/Berlin"), Site("ber", ())))


def slots(*pairs: tuple[int, int]) -> Beside:
    return Beside(slots={"hq": np.array(pairs, dtype=np.int64).reshape(-1, 2)})


def test_cell_per_hour_with_payload_in_local_time() -> None:
    activity = cases.activity(
        {"window_start_ns": NOON, "payload_bytes": 1000},
        {"window_start_ns": NOON + 10 * SECOND, "payload_bytes": 2000},
        {"window_start_ns": NOON + HOUR, "payload_bytes": 0},
        {"window_start_ns": NOON + 13 * HOUR, "payload_bytes": 5_000_000, "off_window_payload_bytes": 4_000_000},
    )
    case = cases.case(activity=activity, policy=BERLIN, last_packet_ns=NOON + 13 * HOUR)
    made = hours.calendar(case, Beside())
    assert re.findall(r'<g(?: class="(\w+)")?><title>(.*?)</title>', made) == [
        ("in", "Tue 2026-03-10 13:00: 3.0 kB in 1 flow"),
        ("", "Tue 2026-03-10 14:00: 1 flow without payload"),
        ("off", "Wed 2026-03-11 02:00: 5.0 MB in 1 flow, 4.0 MB of it off schedule"),
    ]
    assert re.findall(r"(\d\d)-(\d\d)</text>", made) == [("03", "10"), ("03", "11")]
    assert "hq: scheduled; hours in Europe/Berlin" in made


def outlines(made: str) -> list[tuple[str, ...]]:
    return re.findall(r'class="outline" x="([\d.]+)" y="(\d+)" width="([\d.]+)"', made)


def test_slots_lie_on_the_local_clock_and_are_cut_at_midnight() -> None:
    activity = cases.activity({"payload_bytes": 1})
    case = cases.case(activity=activity, policy=BERLIN, last_packet_ns=NOON + 13 * HOUR)
    # 21:30 to 02:00 of the next day in Berlin, which is UTC+1 in March; an hour is 25 wide, and begins at 96.
    made = hours.calendar(case, slots((NOON + 8 * HOUR + HOUR // 2, NOON + 13 * HOUR)))
    assert outlines(made) == [("633.5", "20", "62.5"), ("96", "54", "50")]


def test_day_that_the_clock_cuts_short() -> None:
    # 2026-03-29 in Berlin has no 02:00 to 03:00; open from midnight to 04:00 is three hours long and four wide.
    start = NOON + 18 * 24 * HOUR + 11 * HOUR  # 2026-03-28T23:00Z
    case = cases.case(
        activity=cases.activity({"window_start_ns": start, "payload_bytes": 1}),
        policy=BERLIN, first_packet_ns=start, last_packet_ns=start + HOUR,
    )  # fmt: skip
    assert outlines(hours.calendar(case, slots((start, start + 3 * HOUR)))) == [("96", "20", "100")]


def test_site_with_most_off_schedule_comes_first() -> None:
    activity = cases.activity(
        {"payload_bytes": 900}, {"site": "ber", "payload_bytes": 10, "off_window_payload_bytes": 10},
        {"site": "unknown", "payload_bytes": 5},
    )  # fmt: skip
    made = hours.calendar(cases.case(activity=activity), Beside())
    assert re.findall(r'aria-selected="(\w+)"[^>]*>(\w+)<', made) == [
        ("true", "ber"), ("false", "hq"), ("false", "unknown"),
    ]  # fmt: skip
    assert made.count('class="later"') == 2
    assert "unknown: in no site; hours in UTC" in made


def test_map_is_bounded() -> None:
    days = cases.activity(*({"window_start_ns": NOON + day * 24 * HOUR, "payload_bytes": 1} for day in range(70)))
    case = cases.case(activity=days, last_packet_ns=NOON + 70 * 24 * HOUR)
    assert hours.calendar(case, Beside()).count('class="empty"') == 62


def test_nothing_seen() -> None:
    assert hours.calendar(cases.case(activity=cases.activity()), Beside()) == ""
