"""Time intervals to slots, against a walk through every minute; and slots to answers, against hand-made calendars."""

from __future__ import annotations

import calendar
import dataclasses
from datetime import UTC, datetime, timedelta
from ipaddress import ip_network
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from sensor.policy import Policy, Site, TimeInterval
from sensor.schedule import (
    ALWAYS_NS,
    NEVER_NS,
    Schedules,
    clip,
    evaluate,
    explain,
    intersect,
    no_slots,
    subtract,
    union,
)
from sensor.schema import SCHEDULES

S = 1_000_000_000
MINUTE = 60 * S
HOUR = 60 * MINUTE
DAY = 24 * HOUR
TUESDAY = (2, 2)


def ns(text: str) -> int:
    return int(datetime.fromisoformat(text + "+00:00").timestamp()) * S


def shown(slots: np.ndarray) -> list[tuple[str, str]]:
    return [(str(a)[:16], str(b)[:16]) for a, b in slots.astype("datetime64[ns]").astype("datetime64[m]")]


# --- slots ---------------------------------------------------------------------------------------------------------
def slots_of(*pairs: tuple[int, int]) -> np.ndarray:
    return np.array(pairs, dtype=np.int64).reshape(-1, 2)


PIECES = st.lists(st.tuples(st.integers(0, 30), st.integers(0, 30)), max_size=6).map(lambda pairs: slots_of(*pairs))


def covered(slots: np.ndarray) -> set[int]:
    return {at for start, end in slots.tolist() for at in range(start, end)}


def tidy(slots: np.ndarray) -> bool:
    edges = slots.ravel()
    return slots.dtype == np.int64 and slots.shape[1:] == (2,) and bool((edges[1:] > edges[:-1]).all())


def test_union_joins_what_touches() -> None:
    assert union(slots_of((5, 7), (1, 3)), slots_of((3, 4), (6, 9), (8, 8))).tolist() == [[1, 4], [5, 9]]


@given(PIECES, PIECES)
def test_slots_are_sets_of_instants(one: np.ndarray, other: np.ndarray) -> None:
    a, b = union(one), union(other)
    both = {
        "union": (union(one, other), covered(a) | covered(b)),
        "intersect": (intersect(a, b), covered(a) & covered(b)),
        "subtract": (subtract(a, b), covered(a) - covered(b)),
        "clip": (clip(a, 4, 20), covered(a) & set(range(4, 20))),
    }
    for name, (found, expected) in both.items():
        assert tidy(found), name
        assert covered(found) == expected, name


# --- intervals -----------------------------------------------------------------------------------------------------
def test_a_night_of_patches() -> None:
    night = (
        TimeInterval(weekdays=(TUESDAY,), days_of_month=((8, 14),), times=((1200, 1440),)),
        TimeInterval(weekdays=((3, 3),), days_of_month=((9, 15),), times=((0, 360),)),
    )
    found = evaluate(night, "Europe/Berlin", ns("2026-01-01"), ns("2026-05-01"))
    assert shown(found) == [
        ("2026-01-13T19:00", "2026-01-14T05:00"),
        ("2026-02-10T19:00", "2026-02-11T05:00"),
        ("2026-03-10T19:00", "2026-03-11T05:00"),
        ("2026-04-14T18:00", "2026-04-15T04:00"),
    ]


def test_a_skipped_hour_does_not_exist_and_a_repeated_one_counts_twice() -> None:
    hour = (TimeInterval(times=((120, 180),)),)
    spring = evaluate(hour, "Europe/Berlin", ns("2026-03-28"), ns("2026-03-31"))
    assert shown(spring) == [("2026-03-28T01:00", "2026-03-28T02:00"), ("2026-03-30T00:00", "2026-03-30T01:00")]
    autumn = evaluate(hour, "Europe/Berlin", ns("2026-10-25"), ns("2026-10-26"))
    assert shown(autumn) == [("2026-10-25T00:00", "2026-10-25T02:00")]


def test_a_range_that_begins_or_ends_in_a_gap_or_a_fold() -> None:
    # Berlin, 2026-03-29: 01:59:59 is followed by 03:00:00, at 01:00 UTC.
    day = ns("2026-03-29"), ns("2026-03-29T22:00")
    assert shown(evaluate((TimeInterval(times=((150, 240),)),), "Europe/Berlin", *day)) == [
        ("2026-03-29T01:00", "2026-03-29T02:00")
    ]
    assert shown(evaluate((TimeInterval(times=((60, 150),)),), "Europe/Berlin", *day)) == [
        ("2026-03-29T00:00", "2026-03-29T01:00")
    ]
    # Berlin, 2026-10-25: 02:59:59 is followed by 02:00:00, at 01:00 UTC. 02:30 to 03:30 holds, stops, and holds again.
    day = ns("2026-10-25"), ns("2026-10-26")
    assert shown(evaluate((TimeInterval(times=((150, 210),)),), "Europe/Berlin", *day)) == [
        ("2026-10-25T00:30", "2026-10-25T01:00"),
        ("2026-10-25T01:30", "2026-10-25T02:30"),
    ]


def test_the_last_day_of_a_month_with_a_clock_change_is_its_last() -> None:
    last = (TimeInterval(days_of_month=((-1, -1),)),)
    assert shown(evaluate(last, "Europe/Berlin", ns("2026-03-20"), ns("2026-04-10"))) == [
        ("2026-03-30T22:00", "2026-03-31T22:00")
    ]


def test_days_of_the_month_stop_at_its_end() -> None:
    february = ns("2026-02-01"), ns("2026-03-02")
    assert shown(evaluate((TimeInterval(days_of_month=((27, 31),)),), "UTC", *february)) == [
        ("2026-02-27T00:00", "2026-03-01T00:00")
    ]
    assert len(evaluate((TimeInterval(days_of_month=((29, 31),)),), "UTC", *february)) == 0
    assert shown(evaluate((TimeInterval(days_of_month=((-31, -27),)),), "UTC", *february)) == [
        ("2026-02-01T00:00", "2026-02-03T00:00"),
        ("2026-03-01T00:00", "2026-03-02T00:00"),
    ]


def test_an_interval_without_fields_is_always_and_no_intervals_are_never() -> None:
    assert evaluate((TimeInterval(),), "Asia/Tokyo", 5, 17).tolist() == [[5, 17]]
    assert len(evaluate((), "Asia/Tokyo", 5, 17)) == 0
    assert len(evaluate((TimeInterval(),), "UTC", 17, 17)) == 0


def test_a_location_of_its_own_beats_the_sites_timezone() -> None:
    noon = TimeInterval(times=((720, 780),), location="Asia/Kolkata")
    assert shown(evaluate((noon,), "Europe/Berlin", ns("2026-01-01"), ns("2026-01-02"))) == [
        ("2026-01-01T06:30", "2026-01-01T07:30")
    ]


def holds(interval: TimeInterval, zone: ZoneInfo, at: datetime) -> bool:
    """Say what Alertmanager says of one instant, field by field."""
    local = at.astimezone(zone)
    length = calendar.monthrange(local.year, local.month)[1]
    minute = local.hour * 60 + local.minute
    weekday = local.isoweekday() % 7

    def from_end(day: int) -> int:
        return day if day > 0 else length + day + 1

    return (
        (not interval.times or any(a <= minute < b for a, b in interval.times))
        and (not interval.weekdays or any(a <= weekday <= b for a, b in interval.weekdays))
        and (
            not interval.days_of_month
            or any(from_end(a) <= local.day <= from_end(b) for a, b in interval.days_of_month)
        )
        and (not interval.months or any(a <= local.month <= b for a, b in interval.months))
        and (not interval.years or any(a <= local.year <= b for a, b in interval.years))
    )


def minutes_held(intervals: tuple[TimeInterval, ...], zone: str, start: datetime, minutes: int) -> np.ndarray:
    places = [ZoneInfo(interval.location or zone) for interval in intervals]
    return np.array(
        [
            any(holds(one, place, start + timedelta(minutes=at)) for one, place in zip(intervals, places, strict=True))
            for at in range(minutes)
        ]
    )


def minutes_in(slots: np.ndarray, start: datetime, minutes: int) -> np.ndarray:
    first = int(start.timestamp()) * S
    held = np.zeros(minutes, dtype=bool)
    for a, b in slots.tolist():
        assert (a - first) % MINUTE == 0
        assert (b - first) % MINUTE == 0
        held[(a - first) // MINUTE : (b - first) // MINUTE] = True
    return held


# Days on which clocks change, in zones that do it each in their own way.
CHANGES = [
    ("Europe/Berlin", "2026-03-29"), ("Europe/Berlin", "2026-10-25"),
    ("America/New_York", "2026-03-08"), ("America/New_York", "2026-11-01"),
    ("America/St_Johns", "2026-03-08"), ("America/St_Johns", "2026-11-01"),  # half-hour offset
    ("Australia/Lord_Howe", "2026-04-05"), ("Australia/Lord_Howe", "2026-10-04"),  # by half an hour
    ("America/Havana", "2026-03-08"), ("Africa/Cairo", "2026-10-29"),  # at midnight: the day has no 00:00, or two 23:xx
    ("Asia/Beirut", "2026-03-29"), ("America/Asuncion", "2023-10-01"),
    ("Pacific/Apia", "2011-12-30"),  # a day that never was
    ("Africa/Casablanca", "2026-02-15"), ("Pacific/Chatham", "2026-04-05"),  # quarter-hour offset
    ("Asia/Kolkata", "2026-01-01"), ("UTC", "2028-02-29"), ("Antarctica/Troll", "2026-03-29"),  # by two hours
]  # fmt: skip


@st.composite
def ranges(draw: st.DrawFn, low: int, high: int) -> tuple[tuple[int, int], ...]:
    pairs = draw(st.lists(st.tuples(st.integers(low, high), st.integers(low, high)), max_size=2))
    return tuple((min(pair), max(pair)) for pair in pairs)


@st.composite
def time_ranges(draw: st.DrawFn) -> tuple[tuple[int, int], ...]:
    edge = st.one_of(st.integers(0, 1440), st.sampled_from([0, 30, 60, 90, 119, 120, 121, 150, 180, 1380, 1439, 1440]))
    pairs = draw(st.lists(st.tuples(edge, edge), max_size=3))
    return tuple((min(pair), max(pair)) for pair in pairs if pair[0] != pair[1])


DAYS = ranges(1, 31) | ranges(-31, -1) | st.sampled_from([((25, -1),), ((1, -2),), ((28, 31),), ((-1, -1),)])
INTERVALS = st.builds(
    TimeInterval,
    times=time_ranges(),
    weekdays=ranges(0, 6),
    days_of_month=DAYS,
    months=ranges(1, 12) | st.just(()),
    years=st.sampled_from([(), (), ((2026, 2026),), ((2011, 2027),)]),
    location=st.sampled_from([None, None, None, "America/St_Johns", "Asia/Kolkata"]),
)


@pytest.mark.parametrize(("zone", "day"), CHANGES)
@settings(max_examples=12, deadline=None)
@given(intervals=st.lists(INTERVALS, min_size=1, max_size=3).map(tuple))
@example(intervals=(TimeInterval(),))
@example(intervals=(TimeInterval(times=((0, 30), (90, 150))), TimeInterval(times=((1410, 1440),))))
def test_as_a_walk_through_every_minute(zone: str, day: str, intervals: tuple[TimeInterval, ...]) -> None:
    start = datetime.fromisoformat(day + "T00:00+00:00") - timedelta(hours=24)
    minutes = 72 * 60
    span = int(start.timestamp()) * S, (int(start.timestamp()) + minutes * 60) * S
    slots = evaluate(intervals, zone, *span)
    assert tidy(slots)
    assert slots.tolist() == clip(evaluate(intervals, zone, span[0] - 700 * DAY, span[1] + 400 * DAY), *span).tolist()
    assert (minutes_in(slots, start, minutes) == minutes_held(intervals, zone, start, minutes)).all()


@settings(max_examples=25, deadline=None)
@given(
    interval=INTERVALS,
    zone=st.sampled_from([zone for zone, _ in CHANGES]),
    instants=st.lists(st.integers(0, 4 * 366 * 86400), min_size=30, max_size=30),
)
def test_as_alertmanager_at_any_second_of_four_years(interval: TimeInterval, zone: str, instants: list[int]) -> None:
    first = datetime(2024, 1, 1, tzinfo=UTC)
    slots = evaluate((interval,), zone, ns("2024-01-01"), ns("2028-01-10"))
    place = ZoneInfo(interval.location or zone)
    for second in instants:
        at = first + timedelta(seconds=second)
        inside = bool(((slots[:, 0] <= int(at.timestamp()) * S) & (int(at.timestamp()) * S < slots[:, 1])).any())
        assert inside == holds(interval, place, at), at


def test_the_part_of_an_evaluation_is_the_evaluation_of_the_part() -> None:
    interval = (TimeInterval(times=((1300, 1440),), weekdays=((5, 6),)),)
    whole = evaluate(interval, "America/New_York", ns("2020-01-01"), ns("2030-01-01"))
    part = ns("2026-03-07") + 7 * S + 1, ns("2026-11-07") + 3
    assert evaluate(interval, "America/New_York", *part).tolist() == clip(whole, *part).tolist()


# --- sites ---------------------------------------------------------------------------------------------------------
WEEK = {
    "nights": (TimeInterval(times=((1320, 1440),)), TimeInterval(times=((0, 240),))),
    "evenings": (TimeInterval(times=((1200, 1380),)),),
    "freeze": (TimeInterval(days_of_month=((10, 11),), months=((6, 6),), years=((2026, 2026),)),),
    "always": (TimeInterval(),),
    "new-year-2030": (TimeInterval(years=((2030, 2030),), months=((1, 1),), days_of_month=((1, 1),)),),
    "leap-days": (TimeInterval(months=((2, 2),), days_of_month=((29, 29),)),),
}


def site(name: str, **changes: object) -> Site:
    return Site(name, (ip_network("10.0.0.0/8"),), **changes)  # type: ignore[arg-type]


OFFICE = Policy(
    sites=(
        site("hq", update_windows=("nights",), exclude=("freeze",), timezone="UTC", grace_after_s=300),
        site("branch", update_windows=("evenings",), timezone="UTC"),
        site("desks", peering="disabled", update_windows=("nights",)),
        site("open", peering="allowed"),
        site("shut"),
        site("whenever", update_windows=("always",)),
        site("far", update_windows=("new-year-2030",)),
        site("leap", update_windows=("leap-days",)),
    ),
    time_intervals=WEEK,
)
HQ, BRANCH, DESKS, OPEN, SHUT, WHENEVER, FAR, LEAP, UNKNOWN = range(9)
START = ns("2026-06-01")


def judge(one: int, other: int, at: str | int, schedules: Schedules | None = None) -> tuple[str, int, int]:
    schedules = schedules or Schedules(OFFICE, START, START + 7 * DAY)
    at_ns = ns(at) if isinstance(at, str) else at
    answers = []
    for pair in ((one, other), (other, one)):
        columns = [np.array([which], dtype=np.int32) for which in pair]
        state, since_ns, next_ns = schedules.judge(*columns, np.array([at_ns], dtype=np.int64))
        assert (state.dtype, since_ns.dtype, next_ns.dtype) == (np.int8, np.int64, np.int64)
        answers.append((SCHEDULES[state[0]], int(since_ns[0]), int(next_ns[0])))
    assert answers[0] == answers[1]
    return answers[0]


def test_a_site_by_itself() -> None:
    assert judge(HQ, HQ, "2026-06-02T21:59:59") == ("closed", ns("2026-06-02T04:05"), ns("2026-06-02T22:00"))
    assert judge(HQ, HQ, "2026-06-02T22:00") == ("open", ns("2026-06-02T22:00"), ns("2026-06-03T04:05"))
    assert judge(HQ, HQ, "2026-06-03T04:04:59") == ("open", ns("2026-06-02T22:00"), ns("2026-06-03T04:05"))
    assert judge(HQ, HQ, "2026-06-03T04:05") == ("closed", ns("2026-06-03T04:05"), ns("2026-06-03T22:00"))


def test_two_sites_are_open_to_each_other_when_both_are() -> None:
    assert judge(HQ, BRANCH, "2026-06-02T22:30") == ("open", ns("2026-06-02T22:00"), ns("2026-06-02T23:00"))
    assert judge(HQ, BRANCH, "2026-06-02T23:00") == ("closed", ns("2026-06-02T23:00"), ns("2026-06-03T22:00"))
    assert judge(HQ, OPEN, "2026-06-02T22:30") == ("open", ns("2026-06-02T22:00"), ns("2026-06-03T04:05"))


def test_disabled_allowed_and_unknown() -> None:
    for other in (HQ, OPEN, DESKS, UNKNOWN, SHUT):
        assert judge(DESKS, other, "2026-06-02T23:00") == ("disabled", ALWAYS_NS, NEVER_NS)
    assert judge(OPEN, OPEN, "2026-06-02T12:00") == ("allowed", ALWAYS_NS, NEVER_NS)
    for other in (HQ, OPEN, WHENEVER, UNKNOWN):
        assert judge(UNKNOWN, other, "2026-06-02T23:00") == ("closed", ALWAYS_NS, NEVER_NS)


def test_scheduled_without_slots_is_never_open_and_with_all_time_always() -> None:
    assert judge(SHUT, SHUT, "2026-06-02T23:00") == ("closed", ALWAYS_NS, NEVER_NS)
    assert judge(SHUT, OPEN, "2026-06-02T23:00") == ("closed", ALWAYS_NS, NEVER_NS)
    assert judge(WHENEVER, OPEN, "2026-06-02T23:00") == ("open", ALWAYS_NS, NEVER_NS)
    assert judge(WHENEVER, HQ, "2026-06-02T23:00") == ("open", ns("2026-06-02T22:00"), ns("2026-06-03T04:05"))


def test_grace_does_not_reach_into_an_exclusion() -> None:
    # The night of the 9th ends with the day; the freeze is the 10th and 11th.
    assert judge(HQ, HQ, "2026-06-09T23:00") == ("open", ns("2026-06-09T22:00"), ns("2026-06-10"))
    assert judge(HQ, HQ, "2026-06-10T00:01") == ("closed", ns("2026-06-10"), ns("2026-06-12"))
    # The slot of the 11th to 12th is cut, so it opens when the freeze ends, without grace before.
    assert judge(HQ, HQ, "2026-06-12T00:00") == ("open", ns("2026-06-12"), ns("2026-06-12T04:05"))


def test_grace_before_and_after_join_slots() -> None:
    breaks = {"halves": (TimeInterval(times=((600, 660),)), TimeInterval(times=((670, 720),)))}
    policy = Policy((site("a", update_windows=("halves",), grace_before_s=300, grace_after_s=300),), breaks)
    schedules = Schedules(policy, START, START + DAY)
    assert shown(schedules.slots("a", START, START + DAY)) == [("2026-06-01T09:55", "2026-06-01T12:05")]


def test_grace_of_a_slot_outside_the_horizon_reaches_in() -> None:
    policy = Policy((site("a", update_windows=("evenings",), grace_before_s=4 * 3600, grace_after_s=2 * 3600),), WEEK)
    schedules = Schedules(policy, START, START + DAY)
    assert shown(schedules.slots("a", ns("2026-06-01T23:30"), ns("2026-06-02T17:00"))) == [
        ("2026-06-01T23:30", "2026-06-02T01:00"),
        ("2026-06-02T16:00", "2026-06-02T17:00"),
    ]


def test_changes_far_away_are_found() -> None:
    assert judge(FAR, FAR, "2026-06-02") == ("closed", ALWAYS_NS, ns("2030-01-01"))
    assert judge(FAR, OPEN, "2030-01-01T12:00") == ("open", ns("2030-01-01"), ns("2030-01-02"))
    assert judge(FAR, FAR, "2031-06-02") == ("closed", ns("2030-01-02"), NEVER_NS)
    assert judge(LEAP, LEAP, "2026-06-02") == ("closed", ns("2024-03-01"), ns("2028-02-29"))
    assert judge(LEAP, LEAP, "1999-06-02") == ("closed", ns("1996-03-01"), ns("2000-02-29"))


def test_any_year_is_within_reach_and_answers_do_not_depend_on_the_horizon() -> None:
    moments = ["1970-01-01T00:00", "1999-12-31T22:30", "2026-06-02T22:30", "2038-01-19T03:14", "2106-02-07T23:00"]
    one = Schedules(OFFICE, START, START + 7 * DAY)
    for moment in moments:
        there = Schedules(OFFICE, ns(moment), ns(moment) + 1)
        assert judge(HQ, HQ, moment, one) == judge(HQ, HQ, moment, there), moment
        assert judge(LEAP, HQ, moment, one) == judge(LEAP, HQ, moment, there), moment
    assert judge(HQ, HQ, "1999-12-31T22:30") == ("open", ns("1999-12-31T22:00"), ns("2000-01-01T04:05"))


def test_impossible_instants_still_have_an_answer() -> None:
    for at_ns in (ALWAYS_NS, ALWAYS_NS + 1, -1, 0, NEVER_NS - 1, NEVER_NS):
        assert judge(HQ, HQ, at_ns)[0] in {"open", "closed"}
        assert judge(WHENEVER, OPEN, at_ns) == ("open", ALWAYS_NS, NEVER_NS)
    Schedules(OFFICE, ALWAYS_NS, NEVER_NS)


def test_rows_in_any_order_are_judged_as_one_by_one() -> None:
    random = np.random.default_rng(7680)
    rows = 500
    one = random.integers(0, 9, rows).astype(np.int32)
    other = random.integers(0, 9, rows).astype(np.int32)
    at = random.integers(ns("2026-05-01"), ns("2026-08-01"), rows)
    state, since_ns, next_ns = Schedules(OFFICE, START, START + DAY).judge(one, other, at)
    schedules = Schedules(OFFICE, START, START + DAY)
    for row in range(rows):
        alone = judge(int(one[row]), int(other[row]), int(at[row]), schedules)
        assert (SCHEDULES[state[row]], since_ns[row], next_ns[row]) == alone
        assert since_ns[row] <= at[row] < next_ns[row]


def test_no_rows() -> None:
    none = np.empty(0, dtype=np.int32)
    state, since_ns, next_ns = Schedules(OFFICE, START, START).judge(none, none, np.empty(0, dtype=np.int64))
    assert (len(state), len(since_ns), len(next_ns)) == (0, 0, 0)


def test_states_of_all_sites() -> None:
    states = Schedules(OFFICE, START, START + DAY).states(ns("2026-06-02T22:30"))
    assert [(one.site, one.schedule) for one in states] == [
        ("hq", "open"), ("branch", "open"), ("desks", "disabled"), ("open", "allowed"),
        ("shut", "closed"), ("whenever", "open"), ("far", "closed"), ("leap", "closed"),
    ]  # fmt: skip
    assert dataclasses.astuple(states[0]) == (
        "hq", "scheduled", "UTC", "open", ns("2026-06-02T22:00"), ns("2026-06-03T04:05"),
    )  # fmt: skip


def test_slots_and_overlap() -> None:
    schedules = Schedules(OFFICE, START, START + DAY)
    span = ns("2026-06-02T12:00"), ns("2026-06-03T12:00")
    assert shown(schedules.slots("hq", *span)) == [("2026-06-02T22:00", "2026-06-03T04:05")]
    assert shown(schedules.overlap("branch", "hq", *span)) == [("2026-06-02T22:00", "2026-06-02T23:00")]
    assert schedules.overlap("open", "whenever", *span).tolist() == [list(span)]
    assert schedules.slots("open", *span).tolist() == [list(span)]
    for shut in ("desks", "shut", "unknown"):
        assert len(schedules.slots(shut, *span)) == 0
        assert len(schedules.overlap("hq", shut, *span)) == 0
    assert len(no_slots()) == 0


def test_explain_writes_plain_intervals() -> None:
    assert explain(Policy((), {"o'clock": WEEK["freeze"], "always": WEEK["always"]})) == (
        "time_intervals:\n"
        "  - name: 'o''clock'\n"
        "    time_intervals:\n"
        "      - {days_of_month: ['10:11'], months: ['june'], years: ['2026']}\n"
        "  - name: 'always'\n"
        "    time_intervals:\n"
        "      - {}\n"
    )
    assert explain(Policy(())) == "time_intervals: []\n"
