"""Hours and slots of a small made-up site, counted by hand, however its windows are cut."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from sensor.policy import Policy, Site
from sensor.schema import SpanFrame
from sensor.spans import Spans
from tests import cases

SECOND = cases.SECOND
HOUR, WEEK = 3600 * SECOND, 7 * 86_400 * SECOND
START = cases.NOON  # a full hour
POLICY = Policy((Site("hq", (), hourly_bytes=1000), Site("ber", (), peering="allowed")))


class Weekly:
    """Slots of the first site: each week, the hour that begins half an hour after START."""

    def slots(self, site: str, start_ns: int, end_ns: int) -> np.ndarray:
        if site != "hq":
            return np.zeros((0, 2), np.int64)
        starts = np.arange(START + HOUR // 2 - 60 * WEEK, end_ns, WEEK, dtype=np.int64)
        slots = np.column_stack((starts, starts + HOUR))
        return slots[(slots[:, 1] > start_ns) & (slots[:, 0] < end_ns)]


def rows(*seen: tuple[int, str, int]) -> pd.DataFrame:
    made = [
        {"window_start_ns": at, "site": site, "payload_bytes": size, "orig_packets": 1, "resp_packets": 1}
        for at, site, size in seen
    ]
    return cases.activity(*made)


def shown(frame: pd.DataFrame, *columns: str) -> list[tuple[Any, ...]]:
    return list(frame[list(columns)].itertuples(index=False, name=None))


def test_an_hour_is_told_when_it_is_over_with_what_is_usual() -> None:
    spans = Spans(POLICY, Weekly())
    weeks = [rows((START + week * WEEK, "hq", size)) for week, size in enumerate((100, 300, 200, 200, 900))]
    told = pd.concat([spans.push(each, START + at * WEEK + 10 * SECOND) for at, each in enumerate(weeks)])
    told = pd.concat([told, spans.push(rows().iloc[:0], START + 4 * WEEK + HOUR)])
    mine = told[(told["span"] == "hour") & (told["site"] == "hq")]
    assert list(told.columns) == SpanFrame.names()
    assert shown(mine, "payload_bytes", "usual_bytes", "history") == [
        (100, 0, 0), (300, 100, 1), (200, 200, 2), (200, 200, 3), (900, 200, 4),
    ]  # fmt: skip
    last = mine.iloc[-1]
    assert (last["window_start_ns"], last["window_s"]) == (START + 4 * WEEK, 3600)
    # |100|, |100|, 0, 0 around the median of 200: a spread of 50.
    assert last["deviation"] == pytest.approx(700 / 50)
    assert (last["share_of_usual"], last["limit_share"]) == (4.5, 0.9)


def test_a_silent_hour_is_told_where_something_is_usual_and_nothing_else_is() -> None:
    spans = Spans(POLICY, Weekly())
    for week in range(5):
        spans.push(rows((START + week * WEEK, "hq", 100)), START + week * WEEK + 10 * SECOND)
    told = spans.push(rows((START + 5 * WEEK + 5 * HOUR, "ber", 7)), START + 5 * WEEK + 6 * HOUR)
    hours = told[told["window_start_ns"] >= START + 5 * WEEK]
    assert shown(hours[hours["span"] == "hour"], "window_start_ns", "site", "payload_bytes") == [
        (START + 5 * WEEK, "hq", 0), (START + 5 * WEEK + 5 * HOUR, "ber", 7),
    ]  # fmt: skip
    sensor = hours[hours["span"] == "sensor"]
    assert shown(sensor, "packets", "usual_packets", "history") == [(0, 2, 5), (2, 0, 5)]


def test_a_slot_that_was_seen_whole_is_told_and_says_who_else_was_heard() -> None:
    spans = Spans(POLICY, Weekly())
    slot = START + HOUR // 2
    told = [spans.push(rows((slot + 60 * SECOND, "hq", 50)), START + HOUR)]  # its beginning was not seen
    for week in range(1, 6):
        seen = [(slot + week * WEEK, "hq", 50), (slot + week * WEEK + HOUR - 10 * SECOND, "hq", 10)]
        seen = [(slot + 5 * WEEK + HOUR // 2, "ber", 9)] if week == 5 else seen
        told.append(spans.push(rows(*seen), START + week * WEEK + 2 * HOUR))
    slots = pd.concat(told)
    slots = slots[slots["span"] == "slot"]
    assert shown(slots, "payload_bytes", "usual_bytes", "history", "sensor_packets") == [
        (60, 0, 0, 4), (60, 60, 1, 4), (60, 60, 2, 4), (60, 60, 3, 4), (0, 60, 4, 2),
    ]  # fmt: skip
    assert slots["window_start_ns"].tolist() == [slot + week * WEEK for week in range(1, 6)]
    assert slots["window_s"].unique().tolist() == [3600]


def test_spans_do_not_depend_on_how_windows_are_cut() -> None:
    rng = np.random.default_rng(5)
    seen = [
        (START + int(at) * 10 * SECOND, "hq" if site else "ber", int(size))
        for at, site, size in zip(
            np.sort(rng.integers(0, 3 * 60_480, 400)), rng.integers(0, 2, 400), rng.integers(0, 999, 400), strict=True
        )
    ]
    end = START + 3 * WEEK
    whole = Spans(POLICY, Weekly()).push(rows(*seen), end)
    spans = Spans(POLICY, Weekly())
    parts = [
        spans.push(rows(*(each for each in seen if begin <= each[0] < until)) if any(
            begin <= each[0] < until for each in seen) else rows().iloc[:0], until)
        for begin, until in ((START, START + WEEK // 3 // 10**10 * 10**10), (START + WEEK // 3 // 10**10 * 10**10, end))
    ]  # fmt: skip
    pd.testing.assert_frame_equal(whole, pd.concat(parts, ignore_index=True))


def test_after_a_long_silence_all_begins_anew() -> None:
    spans = Spans(POLICY, Weekly())
    spans.push(rows((START, "hq", 100)), START + 2 * HOUR)
    told = spans.push(rows((START + 500 * WEEK, "hq", 100)), START + 500 * WEEK + HOUR)
    assert len(told) < 10
    assert told["history"].max() == 0


def test_a_day_says_who_gave_most_and_how_much_of_the_limit_it_was() -> None:
    policy = Policy((Site("hq", (), daily_bytes=1000), Site("ber", (), peering="allowed")))
    spans = Spans(policy, Weekly())
    one = {"orig_packets": 1}
    seen = cases.activity(
        {"window_start_ns": START, "resp_ip": "10.1.0.6", "resp_piece_bytes": 90, "payload_bytes": 100, **one},
        {"window_start_ns": START + HOUR, "resp_ip": "10.1.0.7", "resp_piece_bytes": 10, "payload_bytes": 400, **one},
    )
    told = spans.push(seen, START + 24 * HOUR)
    day = told[told["span"] == "day"]
    columns = ("site", "window_s", "payload_bytes", "host", "host_bytes", "host_share", "hosts", "limit_share")
    assert shown(day, *columns) == [("hq", 86_400, 500, "10.1.0.6", 90, 0.9, 3, 0.5)]
    assert day["window_start_ns"].item() == START - 12 * HOUR


def test_a_span_says_what_its_flows_lost() -> None:
    spans = Spans(POLICY, Weekly())
    lossy = pd.DataFrame({"window_start_ns": [START, START + HOUR], "gap_bytes": [30, 7], "payload_bytes": [70, 0]})
    told = spans.push(rows((START, "hq", 5)), START + HOUR, lossy)
    assert set(shown(told, "lost_share")) == {(0.3,)}
