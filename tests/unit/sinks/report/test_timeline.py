"""Throughput: bars of the right length at the right time, and lanes with slots."""

from __future__ import annotations

import re

import numpy as np

from sensor.sinks.report import timeline
from sensor.sinks.report.marks import Beside
from tests import cases
from tests.cases import NOON, SECOND


def test_bars_say_what_moved_and_how() -> None:
    activity = cases.activity(
        {"payload_bytes": 1_000_000, "last_ts_ns": NOON},
        {"window_start_ns": NOON + 600 * SECOND, "last_ts_ns": NOON + 1199 * SECOND, "payload_bytes": 2_000_000,
         "off_window_payload_bytes": 500_000, "exempt_payload_bytes": 500_000},
    )  # fmt: skip
    made = timeline.timeline(cases.case(activity=activity), Beside())
    assert re.findall(r"<title>(.*?)</title>", made) == [
        "Tue 2026-03-10 12:00 UTC: 1.0 MB, 800 kbit/s",
        "Tue 2026-03-10 12:10 UTC: 2.0 MB, 1.6 Mbit/s; 500 kB off schedule; 500 kB under an exception",
    ]
    bars = re.findall(r'<rect class="(\w+)" x="([\d.]+)" y="([\d.]+)" width="[\d.]+" height="([\d.]+)"/></?g', made)
    assert bars == [("in", "96.0", "91.0", "75.0"), ("off", "576.0", "16.0", "37.5")]
    assert "10 s a bar" in made


def test_lanes_have_slots_and_what_was_only_tried() -> None:
    activity = cases.activity(
        {"payload_bytes": 10}, {"window_start_ns": NOON + 90 * SECOND, "last_ts_ns": NOON + 99 * SECOND, "site": "ber"}
    )
    slots = {"hq": np.array([[NOON - SECOND, NOON + 50 * SECOND]], dtype=np.int64)}
    made = timeline.timeline(cases.case(activity=activity), Beside(slots=slots))
    assert re.findall(r'<rect class="slot" x="([\d.]+)" y="(\d+)" width="([\d.]+)"', made) == [("96.0", "176", "480.0")]
    assert re.findall(r'<rect class="(\w+)" x="([\d.]+)" y="(\d+)" [^>]*height="11"', made) == [
        ("in", "96.0", "179"), ("try", "960.0", "201"),
    ]  # fmt: skip


def test_without_payload_and_without_rows() -> None:
    assert "no payload" in timeline.timeline(cases.case(activity=cases.activity({})), Beside())
    assert timeline.timeline(cases.case(activity=cases.activity()), Beside()) == ""
