"""Alertmanager's syntax: what is read, what is refused, and patch Tuesdays against the calendar."""

from __future__ import annotations

import calendar
import subprocess
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sensor.intervals import (
    check_times,
    expand_patch_tuesday,
    read_days,
    read_hours,
    read_months,
    read_patch_days,
    read_start,
    read_time,
    read_weekdays,
    read_years,
    write_interval,
    write_time,
)
from sensor.policy import TimeInterval
from sensor.schedule import evaluate
from sensor.values import UnreadableError

if TYPE_CHECKING:
    from pathlib import Path

READ = [
    (read_time, {"00:00": 0, "09:05": 545, "23:59": 1439, "24:00": 1440}),
    (read_weekdays, {"sunday": (0, 0), "Tuesday": (2, 2), "monday:friday": (1, 5), "sunday:saturday": (0, 6)}),
    (read_days, {"1": (1, 1), "8:14": (8, 14), "-1": (-1, -1), "-3:-1": (-3, -1), "25:-1": (25, -1), "29:31": (29, 31),
                 "27:-1": (27, -1), "-31:-1": (-31, -1), "1:-28": None}),
    (read_months, {"1": (1, 1), "march": (3, 3), "March:5": (3, 5), "january:december": (1, 12)}),
    (read_years, {"2026": (2026, 2026), "2026:2030": (2026, 2030)}),
    (read_patch_days, {"0": (0, 0), "0:2": (0, 2), "14": (14, 14), "3:3": (3, 3)}),
    (read_hours, {"1": 1, "10": 10, "24": 24}),
    (read_start, {"00:00": 0, "23:59": 1439}),
]  # fmt: skip
REFUSED = [
    (read_time, ["9:00", "24:01", "25:00", "12:60", "1200", "", "12:00 ", "12:00:00", "1٢:00"]),
    (
        read_weekdays,
        ["", "tue", "2", "saturday:monday", "monday:", ":monday", "monday:tuesday:friday", "monday-friday"],
    ),
    (read_days, ["0", "32", "-32", "-1:1", "14:8", "28:-1", "-1:-3", "1.5", "1:0", "", "a", "1:-28"]),
    (read_months, ["0", "13", "jan", "november:february", "", "-1"]),
    (read_years, ["0", "2030:2026", "26a", "", "10000"]),
    (read_patch_days, ["", "-1", "15", "2:1", "0:15", "a", "0:", ":2"]),
    (read_hours, ["0", "25", "10h", "", "1.5"]),
    (read_start, ["24:00", "8"]),
]


@pytest.mark.parametrize(
    ("read", "text", "meaning"),
    [(read, text, meaning) for read, texts in READ for text, meaning in texts.items() if meaning is not None],
)
def test_read(read, text: str, meaning: object) -> None:  # noqa: ANN001
    assert read(text) == meaning


@pytest.mark.parametrize(("read", "text"), [(read, text) for read, texts in REFUSED for text in texts])
def test_refused(read, text: str) -> None:  # noqa: ANN001
    with pytest.raises(UnreadableError) as caught:
        read(text)
    assert caught.value.read


def accepted(read, text: str) -> bool:  # noqa: ANN001
    try:
        read(text)
    except UnreadableError:
        return False
    return True


@pytest.mark.needs("amtool")
def test_ranges_are_accepted_and_refused_as_by_alertmanager(tmp_path: Path) -> None:
    days = [f"{a}:{b}" for a in (-31, -28, -27, -2, -1, 1, 2, 26, 27, 28, 29, 31) for b in (-28, -27, -1, 1, 28, 31)]
    texts = [(read, text) for read, some in (*READ, *REFUSED) for text in some] + [(read_days, text) for text in days]
    fields = {read_weekdays: "weekdays", read_days: "days_of_month", read_months: "months", read_years: "years"}
    # amtool 0.25 takes any number as a month or a year.
    lax = {(read_months, "0"), (read_months, "13"), (read_months, "-1"), (read_years, "0"), (read_years, "10000")}
    config = tmp_path / "alertmanager.yml"
    for read, text in texts:
        if read in fields and (read, text) not in lax:
            item = f"{{name: a, time_intervals: [{{{fields[read]}: ['{text}']}}]}}"
            config.write_text(f"route: {{receiver: a}}\nreceivers: [{{name: a}}]\ntime_intervals: [{item}]\n")
            told = subprocess.run(["amtool", "check-config", str(config)], capture_output=True, text=True, check=False)
            assert accepted(read, text) == (told.returncode == 0), (fields[read], text, told.stderr)


@pytest.mark.needs("amtool")
def test_what_is_written_is_read_by_alertmanager(tmp_path: Path) -> None:
    items = [write_interval(one) for one in (TimeInterval(), *expand_patch_tuesday((0, 13), 1200, 10, "Asia/Tokyo"))]
    config = tmp_path / "alertmanager.yml"
    text = "route: {receiver: a}\nreceivers: [{name: a}]\ntime_intervals:\n  - name: a\n    time_intervals:\n"
    config.write_text(text + "".join(f"      - {item}\n" for item in items))
    subprocess.run(["amtool", "check-config", str(config)], capture_output=True, check=True)


def test_hints_that_say_how_to_write_it() -> None:
    with pytest.raises(UnreadableError, match="write 28:31, it stops at the month's end"):
        read_days("28:-1")
    with pytest.raises(UnreadableError, match="two items: 22:00 to 24:00, and on the next day 00:00 to 06:00"):
        check_times(1320, 360)
    with pytest.raises(UnreadableError, match=r"times 20:00 to 00:00 are empty; .*midnight at the end is 24:00"):
        check_times(1200, 0)
    with pytest.raises(UnreadableError, match="times 20:00 to 20:00 are empty"):
        check_times(1200, 1200)
    check_times(0, 1440)


def second_tuesday(year: int, month: int) -> date:
    tuesdays = [week[calendar.TUESDAY] for week in calendar.monthcalendar(year, month) if week[calendar.TUESDAY]]
    return date(year, month, tuesdays[1])


@pytest.mark.parametrize(("start", "hours"), [(0, 24), (1200, 4), (1200, 10), (1439, 24), (600, 1)])
@pytest.mark.parametrize("day", range(15))
def test_days_after_patch_tuesday_are_exact_for_twenty_years(day: int, start: int, hours: int) -> None:
    if day == 14 and start + hours * 60 > 1440:
        with pytest.raises(UnreadableError, match="that can leave February"):
            expand_patch_tuesday((day, day), start, hours)
        return
    intervals = expand_patch_tuesday((day, day), start, hours)
    assert len(intervals) == (2 if start + hours * 60 > 1440 else 1)
    expected = []
    for year in range(2020, 2041):
        for month in range(1, 13):
            begin = datetime.combine(second_tuesday(year, month), datetime.min.time(), UTC)
            begin += timedelta(days=day, minutes=start)
            expected.append([int(begin.timestamp()), int((begin + timedelta(hours=hours)).timestamp())])
    found = evaluate(intervals, "UTC", expected[0][0] * 10**9 - 1, expected[-1][1] * 10**9 + 1)
    assert (found // 10**9).tolist() == expected


def test_several_days_and_a_location() -> None:
    found = expand_patch_tuesday((5, 6), 1380, 2, "Asia/Tokyo")
    assert found == (
        TimeInterval(((1380, 1440),), ((0, 0),), ((13, 19),), location="Asia/Tokyo"),
        TimeInterval(((0, 60),), ((1, 1),), ((14, 20),), location="Asia/Tokyo"),
        TimeInterval(((1380, 1440),), ((1, 1),), ((14, 20),), location="Asia/Tokyo"),
        TimeInterval(((0, 60),), ((2, 2),), ((15, 21),), location="Asia/Tokyo"),
    )


@pytest.mark.parametrize(("start", "hours"), [(1440, 1), (0, 0), (0, 25)])
def test_a_window_lasts_one_to_twenty_four_hours(start: int, hours: int) -> None:
    with pytest.raises(UnreadableError, match="lasts 1 to 24 hours"):
        expand_patch_tuesday((0, 0), start, hours)


def test_write() -> None:
    whole = TimeInterval(
        times=((0, 60), (1320, 1440)),
        weekdays=((0, 0), (1, 5)),
        days_of_month=((8, 14), (-1, -1)),
        months=((2, 2), (11, 12)),
        years=((2026, 2028),),
        location="Europe/Berlin",
    )
    assert write_interval(whole) == (
        "{times: [{start_time: '00:00', end_time: '01:00'}, {start_time: '22:00', end_time: '24:00'}], "
        "weekdays: ['sunday', 'monday:friday'], days_of_month: ['8:14', '-1'], "
        "months: ['february', 'november:december'], "
        "years: ['2026:2028'], location: 'Europe/Berlin'}"
    )
    assert write_interval(TimeInterval()) == "{}"


@given(st.integers(0, 1440))
def test_times_are_read_as_written(minutes: int) -> None:
    assert read_time(write_time(minutes)) == minutes
