"""Slots against Alertmanager's own package, instant by instant; whole policies against amtool.

The package (0.25, as Debian ships it) counts a month in which the clocks go forward one day too short. That is a
mistake, mended upstream since; wherever we differ from it, it must be this one, and nothing else.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
from calendar import monthrange
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

import numpy as np
import pytest

from sensor.errors import OperatorError
from sensor.intervals import write_interval
from sensor.policy import TimeInterval
from sensor.schedule import evaluate
from sensor.settings import load_policy

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    Oracle = Callable[[list[dict[str, Any]]], list[dict[str, Any]]]

ZONES = (
    "Europe/Berlin", "Europe/London", "America/New_York", "America/Chicago", "America/St_Johns", "America/Sao_Paulo",
    "Africa/Casablanca", "Asia/Kolkata", "Asia/Tehran", "Australia/Lord_Howe", "Pacific/Auckland", "Antarctica/Troll",
)  # fmt: skip
YEARS = range(2012, 2037)
LISTS = int(os.environ.get("SWARMTAP_ORACLE_LISTS", "480"))
INSTANTS = 240
S = 1_000_000_000
HOUR = 3600
DAY = 24 * HOUR


@pytest.fixture(scope="module")
def oracle(tmp_path_factory: pytest.TempPathFactory) -> Oracle:
    """Build the oracle from the distribution's sources, without any module proxy."""
    folder = tmp_path_factory.mktemp("go")
    paths = {"GOPATH": f"{folder / 'path'}:/usr/share/gocode", "GOCACHE": str(folder / "cache"), "GO111MODULE": "off"}
    source = Path(__file__).with_name("timeinterval.go")
    subprocess.run(["go", "build", "-o", folder / "oracle", source], env=os.environ | paths, check=True)

    def ask(tasks: list[dict[str, Any]]) -> list[dict[str, Any]]:
        lines = "".join(json.dumps(task) + "\n" for task in tasks)
        told = subprocess.run([folder / "oracle"], input=lines, capture_output=True, text=True, check=True).stdout
        return [json.loads(line) for line in told.splitlines()]

    return ask


@dataclass(frozen=True)
class Local:
    """The wall clock at an instant, and how long the package thinks that month is."""

    minute: int
    weekday: int
    day: int
    month: int
    year: int
    days: int
    days_told: int

    @classmethod
    def at(cls, second: int, zone: str) -> Local:
        here = datetime.fromtimestamp(second, ZoneInfo(zone))
        days = monthrange(here.year, here.month)[1]
        first = here.replace(day=1, hour=0, minute=0, second=0, microsecond=0, fold=0)
        beyond = (first + timedelta(days=days)).replace(hour=0)
        hours = (beyond.astimezone(UTC) - first.astimezone(UTC)) / timedelta(hours=1)
        weekday = (here.weekday() + 1) % 7
        return cls(here.hour * 60 + here.minute, weekday, here.day, here.month, here.year, days, int(hours / 24))


def holds(one: TimeInterval, at: Local, days: int) -> bool:
    """Say whether an interval holds when the month is `days` long, field by field as the package's page has it."""
    return (
        (not one.times or any(a <= at.minute < b for a, b in one.times))
        and (not one.weekdays or any(a <= at.weekday <= b for a, b in one.weekdays))
        and (not one.months or any(a <= at.month <= b for a, b in one.months))
        and (not one.years or any(a <= at.year <= b for a, b in one.years))
        and (not one.days_of_month or any(_in_days(a, b, at.day, days) for a, b in one.days_of_month))
    )


def _in_days(first: int, last: int, day: int, days: int) -> bool:
    begin = first if first > 0 else days + first + 1
    end = last if last > 0 else days + last + 1
    return begin <= days and begin <= day <= min(end, days)


def changes(zone: str) -> list[int]:
    """Return when the offset of a zone changes, found hour by hour."""
    tz = ZoneInfo(zone)
    start = int(datetime(YEARS[0], 1, 1, tzinfo=UTC).timestamp())
    found = []
    before = None
    for second in range(start, start + len(YEARS) * 366 * DAY, HOUR):
        offset = datetime.fromtimestamp(second, tz).utcoffset()
        if before is not None and offset != before:
            found.append(second)
        before = offset
    return found


def _range(rng: random.Random, low: int, high: int) -> tuple[int, int]:
    first = rng.randint(low, high)
    return first, rng.randint(first, high) if rng.random() < 0.6 else first


def _days(rng: random.Random) -> tuple[int, int]:
    """Draw a range of days that is accepted: from the start, from the end, or from one to the other."""
    kind = rng.random()
    if kind < 0.4:
        return _range(rng, 1, 31)
    if kind < 0.8:
        return _range(rng, -31, -1)
    first = rng.randint(1, 25)
    return first, rng.randint(first - 28, -1)


def draw(rng: random.Random, zone: str) -> tuple[TimeInterval, ...]:
    """Draw a list of intervals; most fields are left out, so that many of them hold at all."""

    def some(chance: float, one: Callable[[], tuple[int, int]]) -> tuple[tuple[int, int], ...]:
        return tuple(one() for _ in range(rng.randint(1, 3))) if rng.random() < chance else ()

    def times() -> tuple[int, int]:
        first = rng.choice((0, 60, 90, 120, 150, 180, rng.randint(0, 1439)))
        return first, min(1440, first + rng.choice((1, 30, 60, 90, 600, 1440)))

    return tuple(
        TimeInterval(
            times=some(0.7, times),
            weekdays=some(0.3, lambda: _range(rng, 0, 6)),
            days_of_month=some(0.5, lambda: _days(rng)),
            months=some(0.15, lambda: _range(rng, 1, 12)),
            years=some(0.1, lambda: _range(rng, YEARS[0], YEARS[-1])),
            location=zone if rng.random() < 0.9 else rng.choice(ZONES),
        )
        for _ in range(rng.randint(1, 3))
    )


def instants(rng: random.Random, at: Sequence[int]) -> list[int]:
    """Draw instants dense around changes of the clock, around the ends of months, and anywhere."""
    start = int(datetime(YEARS[0], 1, 2, tzinfo=UTC).timestamp())
    end = int(datetime(YEARS[-1], 12, 30, tzinfo=UTC).timestamp())
    found = []
    for _ in range(INSTANTS):
        kind = rng.random()
        if at and kind < 0.5:
            found.append(rng.choice(at) + rng.randint(-3 * HOUR, 3 * HOUR))
        elif at and kind < 0.8:
            found.append(rng.choice(at) + rng.randint(-31 * DAY, 31 * DAY))
        elif kind < 0.9:
            month_end = datetime(rng.choice(YEARS[:-1]), rng.randint(1, 12), 1, tzinfo=UTC).timestamp()
            found.append(max(start, int(month_end) + rng.randint(-2 * DAY, DAY)))
        else:
            found.append(rng.randint(start, end))
    return [second if rng.random() < 0.5 else second // 60 * 60 for second in found]


def written(intervals: Sequence[TimeInterval]) -> str:
    return "".join(f"- {write_interval(one)}\n" for one in intervals)


def drawn() -> Iterator[tuple[str, tuple[TimeInterval, ...], list[int]]]:
    rng = random.Random(7680)  # noqa: S311 - the same draw each time
    at = {zone: changes(zone) for zone in ZONES}
    for turn in range(LISTS):
        zone = ZONES[turn % len(ZONES)]
        yield zone, draw(rng, zone), instants(rng, at[zone])


def ours(intervals: Sequence[TimeInterval], at: Sequence[int]) -> np.ndarray:
    slots = evaluate(intervals, "UTC", (min(at) - DAY) * S, (max(at) + DAY) * S)
    return np.searchsorted(slots.ravel(), np.array(at, dtype=np.int64) * S, side="right") % 2 == 1


def explained(intervals: Sequence[TimeInterval], second: int) -> bool:
    """Say whether the package's mistake about a month's length explains what it answers here."""
    told = right = short = False
    for one in intervals:
        local = Local.at(second, one.location or "UTC")
        told |= holds(one, local, local.days_told)
        right |= holds(one, local, local.days)
        short |= local.days_told < local.days and bool(one.days_of_month)
    return short and told != right


@pytest.mark.needs("go")
def test_every_instant_is_judged_as_by_alertmanager(oracle: Oracle) -> None:
    tasks = list(drawn())
    answers = oracle([{"intervals": written(intervals), "at": at} for _, intervals, at in tasks])
    checked = held = mistaken = 0
    for (_, intervals, at), answer in zip(tasks, answers, strict=True):
        assert answer["error"] == "", written(intervals)
        theirs = np.frombuffer(answer["held"].encode(), dtype=np.uint8) == ord("1")
        differing = np.flatnonzero(theirs != ours(intervals, at))
        for index in differing.tolist():
            assert explained(intervals, at[index]), f"{written(intervals)} at {datetime.fromtimestamp(at[index], UTC)}"
        checked, held, mistaken = checked + len(at), held + int(theirs.sum()), mistaken + len(differing)
    assert checked == LISTS * INSTANTS >= 100_000
    assert checked // 10 < held < checked * 9 // 10, "open and closed are both asked for"
    assert 0 < mistaken < checked // 50, "the month that is told short is among what was asked"


@pytest.mark.needs("go")
def test_every_next_change_is_alertmanagers(oracle: Oracle) -> None:
    rng = random.Random(1768)  # noqa: S311 - the same draw each time
    tasks = []
    for turn, zone in enumerate(zone for zone in ZONES for _ in range(4)):
        at = changes(zone)
        around = rng.choice(at) if at else int(datetime(2026, 1, 1, tzinfo=UTC).timestamp()) + turn * 31 * DAY
        intervals = draw(rng, zone)
        # Of a month that is told short, every edge would differ; instants are compared above.
        intervals = tuple(
            TimeInterval(one.times, one.weekdays, (), one.months, one.years, one.location) for one in intervals
        )
        tasks.append((intervals, (around - 9 * DAY) // 60 * 60, (around + 9 * DAY) // 60 * 60))
    answers = oracle([{"intervals": written(i), "from": start, "until": end} for i, start, end in tasks])
    seen = 0
    for (intervals, start, end), answer in zip(tasks, answers, strict=True):
        slots = evaluate(intervals, "UTC", (start - DAY) * S, (end + DAY) * S) // S
        edges = [edge for edge in slots.ravel().tolist() if start < edge < end]
        assert edges == answer["changes"], written(intervals)
        seen += len(edges)
    assert seen > 480


# --- what is accepted ------------------------------------------------------------------------------------------------
RIGHT = (
    "[{}]",
    "[{times: [{start_time: '00:00', end_time: '24:00'}]}]",
    "[{times: [{start_time: '20:00', end_time: '23:59'}, {start_time: '00:00', end_time: '06:00'}]}]",
    "[{weekdays: ['monday:friday', sunday], months: [may, '9:december'], years: ['2026:2030', '2035']}]",
    "[{weekdays: [Saturday], months: [MAY], location: Europe/Berlin}]",
    "[{days_of_month: ['8:14', '-1', '25:-1', '-7:-1', '31']}]",
    "[{location: America/Argentina/ComodRivadavia}, {location: UTC}]",
)
WRONG = (
    "[{times: [{start_time: '22:00', end_time: '06:00'}]}]",
    "[{times: [{start_time: '06:00', end_time: '06:00'}]}]",
    "[{times: [{start_time: '9:00', end_time: '10:00'}]}]",
    "[{times: [{start_time: '20:00', end_time: '24:01'}]}]",
    "[{times: [{start_time: '20:00'}]}]",
    "[{times: [{start_time: '20:00', end_time: '21:00', day: monday}]}]",
    "[{weekdays: ['saturday:monday']}]",
    "[{weekdays: ['tue']}]",
    "[{weekday: ['tuesday']}]",
    "[{months: ['november:february']}]",
    "[{months: ['smarch']}]",
    "[{years: ['2030:2026']}]",
    "[{years: ['next']}]",
    "[{days_of_month: ['-1:1']}]",
    "[{days_of_month: ['0']}]",
    "[{days_of_month: ['32']}]",
    "[{days_of_month: ['14:8']}]",
    "[{location: Mars/Base}]",
    "[times]",
)
# What we refuse and Alertmanager 0.25 takes, each for a reason that docs/policy.md gives.
STRICTER = (
    "[{months: ['13']}]",
    "[{years: ['0']}]",
    "[{location: Local}]",
    "[]",
    "[{times: []}]",
    "[{weekdays: []}]",
)


def reads(text: str, folder: Path) -> bool:
    path = folder / "policy.yaml"
    interval = f"time_intervals: [{{name: w, time_intervals: {text}}}]\n"
    site = "sites: [{name: hq, subnets: [10.0.0.0/8], timezone: UTC, update_windows: [w]}]\n"
    path.write_text(f"version: 1\n{interval}{site}")
    try:
        load_policy(path)
    except OperatorError:
        return False
    return True


def amtool_reads(text: str, folder: Path) -> bool:
    path = folder / "alertmanager.yml"
    interval = f"time_intervals: [{{name: w, time_intervals: {text}}}]\n"
    path.write_text(f"route: {{receiver: a}}\nreceivers: [{{name: a}}]\n{interval}")
    return subprocess.run(["amtool", "check-config", str(path)], capture_output=True, check=False).returncode == 0


@pytest.mark.needs("amtool")
@pytest.mark.parametrize("text", [*RIGHT, *WRONG])
def test_amtool_and_we_agree(text: str, tmp_path: Path) -> None:
    assert (reads(text, tmp_path), amtool_reads(text, tmp_path)) == ((text in RIGHT,) * 2)


@pytest.mark.needs("amtool")
@pytest.mark.parametrize("text", STRICTER)
def test_where_we_are_stricter(text: str, tmp_path: Path) -> None:
    assert (reads(text, tmp_path), amtool_reads(text, tmp_path)) == (False, True)


@pytest.mark.needs("go")
def test_random_texts_are_accepted_and_refused_as_by_alertmanager(oracle: Oracle, tmp_path: Path) -> None:
    rng = random.Random(25)  # noqa: S311 - the same draw each time
    bounds = {
        "days_of_month": ("0", "1", "9", "28", "29", "31", "32", "-1", "-5", "-28", "-31", "-32", "x", ""),
        "weekdays": ("sunday", "monday", "friday", "saturday", "fri", "1", ""),
        "months": ("january", "3", "12", "december", "june", "jan", ""),
        "years": ("2025", "2026", "2040", "soon", ""),
    }
    texts = []
    for _ in range(400):
        field = rng.choice(list(bounds))
        text = ":".join(rng.choice(bounds[field]) for _ in range(rng.choice((1, 1, 2, 2, 2, 3))))
        texts.append(f"[{{{field}: ['{text}']}}]")
    theirs = [answer["error"] == "" for answer in oracle([{"intervals": text} for text in texts])]
    assert [text for text, taken in zip(texts, theirs, strict=True) if reads(text, tmp_path) != taken] == []
    assert 50 < sum(theirs) < 350
